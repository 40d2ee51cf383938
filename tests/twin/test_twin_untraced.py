"""Crashes that no dump explains: when they come, of what, and that nothing gives their cause away."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from random import Random
from statistics import mean

import pytest
import sushy
from twin_client import Start, until

from lab.analysis import triage
from lab.model import ConfigurationError
from lab.symbols import symbol_store
from lab.twin.catalogue import MOST, can_be_planted, drivers
from lab.twin.hidden import choose_untraced
from lab.twin.machine import Phase
from lab.twin.server import Twin, TwinSettings
from lab.twin.untraced import SOAKS_TO_UNRELATED, Fuse, Plot, Unbootable, Untraced, hide

CANDIDATES = [driver for driver in drivers(17763, MOST) if can_be_planted(driver)]
ALL = frozenset(driver.service for driver in CANDIDATES)
SOAK = 8.0


def hidden(*plots: str, seed: int = 1) -> Untraced:
    return hide(plots, seed, SOAK, CANDIDATES)


def crashes(untraced: Untraced, running: frozenset[str], boots: int = 2000) -> float:
    """Share of boots that crash within a soak."""
    random = Random(3)
    return mean(seconds(untraced, running, random) <= SOAK for _ in range(boots))


def seconds(untraced: Untraced, running: frozenset[str], random: Random) -> float:
    fuse = Fuse(untraced.rate(running, random), random.random)
    now = 0.0
    fuse.read(1, now)
    while not fuse.burnt(now) and now <= SOAK:
        now += 0.1
    return now


@pytest.mark.parametrize("plot", [Plot.SINGLE, Plot.PAIR, Plot.TRIPLE, Plot.SYSTEM])
def test_half_of_the_soaks_crash_with_all_of_the_culprits_and_none_without_one(plot: Plot) -> None:
    untraced = hidden(plot)
    culprits = frozenset(untraced.culprits)
    assert crashes(untraced, culprits) == pytest.approx(0.5, abs=0.04)
    for culprit in culprits:
        assert crashes(untraced, ALL - {culprit}, boots=200) == 0


def test_each_of_two_independent_culprits_crashes_by_itself_and_both_sooner() -> None:
    untraced = hidden(Plot.EITHER)
    one, other = untraced.culprits
    assert crashes(untraced, frozenset({one})) == pytest.approx(0.5, abs=0.04)
    assert crashes(untraced, ALL - {one}) == pytest.approx(0.5, abs=0.04)
    assert crashes(untraced, ALL) == pytest.approx(0.75, abs=0.04)
    assert crashes(untraced, ALL - {one, other}, boots=200) == 0


def test_a_lottery_is_decided_at_boot() -> None:
    untraced = hidden(Plot.LOTTERY)
    random = Random(5)
    rates = Counter(untraced.rate(ALL, random) for _ in range(1000))
    assert rates[0.0] == pytest.approx(500, abs=60) and len(rates) == 2
    assert crashes(untraced, ALL) == pytest.approx(0.5, abs=0.04)


def test_an_unrelated_crash_comes_whatever_runs_but_rarely() -> None:
    untraced = hidden(Plot.SINGLE, Plot.UNRELATED)
    assert crashes(untraced, frozenset(), boots=4000) == pytest.approx(0.02, abs=0.01)
    assert untraced.rate(ALL, Random(1)) == untraced.rate(frozenset(), Random(1)) * (SOAKS_TO_UNRELATED + 1)


def test_crash_times_are_without_memory() -> None:
    random = Random(9)
    fuses = [Fuse(0.1, random.random) for _ in range(3000)]
    for fuse in fuses:
        fuse.read(1, 100.0)
    standing = [fuse for fuse in fuses if not fuse.burnt(107.0)]
    expected = 1 - math.exp(-0.7)
    assert len(standing) / len(fuses) == pytest.approx(1 - expected, abs=0.03)
    assert sum(fuse.burnt(114.0) for fuse in standing) / len(standing) == pytest.approx(expected, abs=0.04)


def test_only_load_counts_with_its_rests() -> None:
    fuse = Fuse(1.0, lambda: 0.9)  # crashes after 2.3 s
    assert not fuse.burnt(90.0), "no load yet"
    fuse.read(1, 100.0)
    fuse.read(2, 100.5)
    fuse.read(1, 101.0)
    fuse.ended(1, 101.0)
    assert not fuse.burnt(101.5), "the other connection goes on"
    fuse.ended(2, 102.0)
    fuse.ended(3, 102.0)
    assert not fuse.burnt(200.0), "between loads nothing happens"
    fuse.read(4, 200.0)
    assert not fuse.burnt(200.2)
    assert fuse.burnt(200.4), "in a rest, too"


def test_seeds_choose_different_culprits_and_twins_of_other_seeds_share_them() -> None:
    chosen = {hidden(Plot.SINGLE, seed=seed).culprits for seed in range(60)}
    assert len(chosen) > 15
    first, second = (choose_untraced(17763, seed, ["random-pair"], 7, SOAK, MOST) for seed in range(2))
    assert first.culprits == second.culprits and first.culprits.count("+") == 1
    assert first.commitment != second.commitment
    assert not any(name in repr(first) + repr(first.defect) for name in first.culprits.split("+"))


def test_culprits_can_always_be_told_apart() -> None:
    needs = {driver.service: driver.depends_on for driver in CANDIDATES}
    for seed in range(300):
        untraced = hidden(Plot.TRIPLE, Plot.NO_BOOT, seed=seed)
        for one in untraced.culprits:
            assert not set(needs[one]) & set(untraced.culprits)
        assert untraced.unbootable is not None
        assert untraced.unbootable.driver not in untraced.culprits


def test_what_does_not_boot_boots_with_one_of_the_others() -> None:
    unbootable = Unbootable("a", ("b", "c"))
    assert unbootable.holds(frozenset("ad"))
    assert not any(unbootable.holds(frozenset(names)) for names in ("ab", "ac", "bc", "d", ""))


@pytest.mark.parametrize("plots", [["nothing"], ["unrelated"], ["random-pair", "system"]])
def test_plots_that_make_no_sense(plots: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="cannot hide"):
        hide(plots, 1, SOAK, CANDIDATES)


def test_a_culprit_is_planted_or_hidden_not_both(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="both"):
        Twin(TwinSettings(tmp_path, culprit="QmShield", hide=("random-single",)))


def test_a_customers_dump_speaks_the_same_whoever_is_hidden(tmp_path: Path) -> None:
    found = []
    for seed in range(3):
        path = tmp_path / f"{seed}.dmp"
        settings = TwinSettings(
            tmp_path / "twin", customer_dump=path, third_party=MOST, hide=("random-single",), hidden_seed=seed
        )
        twin = Twin(settings)
        try:
            twin.start()
        finally:
            twin.stop()
        seen = triage(path, symbol_store(()))
        found.append((seen.signature, seen.evidence, path.read_bytes()))
    assert found[0] == found[1] == found[2]


def test_over_the_wire_it_crashes_under_load_and_verifier_tells_nothing_of_it(start: Start) -> None:
    twin = start(third_party=MOST, hide=("random-single",), hidden_seed=2, half_life=0.3)
    twin.script("Set-LabVerifier", Flags=0x810, Driver=["*"], BootMode="persistent")
    twin.restart()
    twin.crash()
    until(lambda: (twin.state / "disk" / "Windows" / "MEMORY.DMP").exists())
    until(lambda: not (twin.state / "pagefile.sys").exists())
    seen = triage(twin.state / "disk" / "Windows" / "MEMORY.DMP", symbol_store(()))
    assert seen.bugcheck.code == 0x20
    culprit = twin.twin.reveal()["culprit"]
    (image,) = [driver.image for driver in CANDIDATES if driver.service == culprit]
    assert not any(image in evidence.points_to for evidence in seen.evidence)


def test_what_does_not_boot_stays_down_until_a_reset_takes_the_last_known_good(start: Start) -> None:
    twin = start(third_party=MOST, hide=("random-single", "no-boot"), hidden_seed=2)
    unbootable = hidden(Plot.SINGLE, Plot.NO_BOOT, seed=2).unbootable
    assert unbootable is not None
    before = {row["service"]: row["start"] for row in twin.script("Get-LabDriver")}
    boot = twin.boot()["bootId"]
    twin.script("Set-LabDriver", Service=list(unbootable.others), Start=[4, 4], ClassFilter=[])
    twin.script("Restart-LabGuest", Token="t")
    machine = twin.twin._machine
    assert machine is not None
    until(lambda: machine.phase is Phase.STUCK)
    twin.system().reset_system(sushy.ResetType.FORCE_RESTART)
    assert twin.wait_boot(boot)["bootId"] == boot + 1
    assert {row["service"]: row["start"] for row in twin.script("Get-LabDriver")} == before
