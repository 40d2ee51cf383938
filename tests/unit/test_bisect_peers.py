"""The searches that ours is compared with: right where nothing is left to chance, no dearer than known."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import pytest

from benchmarks.bisect import BENCH_PYTHON, ROOT
from benchmarks.bisect_peers.halving import steps
from benchmarks.bisect_peers.meter import Meter, Told
from benchmarks.bisect_peers.predicates import repeats, some, sprt
from benchmarks.bisect_peers.slicing import minimal
from benchmarks.bisect_run import OF_PAIRS, PEERS, peer, peer_runs
from benchmarks.bisect_scenarios import Cell, scenario
from lab.bisect.belief import PAIR_PRIOR
from lab.bisect.hypotheses import Hypothesis, Kind

NAMES = tuple(f"unit{at}" for at in range(13))
PACKAGES = ("ddmin (picire)", "git-bayesect", "git-bayesect, tuned", "git-bayesect, tuned, to 99 %")
OWN = tuple(name for name in PEERS if name not in PACKAGES)
needs_packages = pytest.mark.skipif(
    not BENCH_PYTHON.exists(), reason="no .venv-bench: benchmarks/install.sh makes it"
)


@dataclass
class Sure:
    """Crashes after a second when the culprits are on, and never else."""

    culprits: frozenset[str]
    sets: list[frozenset[str]] = field(default_factory=list)

    def run(self, on: frozenset[str], seconds: float, host: int) -> tuple[bool, float]:
        self.sets.append(on)
        return (True, 1.0) if self.culprits <= on else (False, seconds)


@dataclass
class Script:
    """Tells the outcomes it was given, in turn."""

    outcomes: list[tuple[bool, float]]

    def run(self, on: frozenset[str], seconds: float, host: int) -> tuple[bool, float]:
        return self.outcomes.pop(0)


def certain(size: int = 1, hosts: int = 1) -> Told:
    return Told(NAMES, 0.999, 0.0, size, hosts=hosts)


@pytest.mark.parametrize("hosts", [1, 4])
@pytest.mark.parametrize("name", OWN)
def test_every_search_finds_each_culprit_that_always_crashes(name: str, hosts: int) -> None:
    for unit in NAMES:
        found = peer(name)(Sure(frozenset({unit})), certain(hosts=hosts))
        assert found.answer == Hypothesis(Kind.SINGLE, (unit,))
        assert found.machine >= found.wall > 0


def test_bisection_needs_as_many_trials_as_there_are_halves() -> None:
    trials = [peer("git bisect")(Sure(frozenset({unit})), certain()).trials for unit in NAMES]
    assert set(trials) == {3, 4}


def test_slices_find_every_set_that_always_crashes() -> None:
    for size in (1, 2, 3):
        for culprits in combinations(NAMES, size):
            world = Sure(frozenset(culprits))
            meter = Meter(world, certain(size))
            assert sorted(minimal(NAMES, meter.once)) == sorted(culprits)
            assert meter.trials <= 3 + 2 * size * steps(len(NAMES))


def test_slices_do_not_ask_what_is_known() -> None:
    """The last chunk of a needed one, when no other part of it was needed."""
    world = Sure(frozenset({NAMES[-1]}))
    minimal(NAMES[:2] + NAMES[-1:], Meter(world, certain()).once)
    assert len(world.sets) == 3  # three chunks of one unit, each left out once, and nothing to split
    minimal(tuple("abcdef"), Meter(world := Sure(frozenset("f")), certain()).once)
    assert world.sets == [frozenset(s) for s in ("cdef", "ef", "", "f")]


def test_syzkaller_starts_with_twenty_runs_and_then_takes_ten_a_step() -> None:
    found = peer("syzkaller's rule")(Sure(frozenset({NAMES[0]})), certain())
    assert found.trials == 20 + 10 * 3  # 13, 6, 3, 1


def test_a_lone_crash_is_asked_again() -> None:
    quiet, crash = (False, 600.0), (True, 5.0)
    first = [crash] * 20
    lone = [crash] + [quiet] * 9
    world = Script([*first, *lone, *[quiet] * 10])
    found = peer("syzkaller's rule")(world, replace(certain(), names=("a", "b")))
    assert found.trials == 40
    assert found.answer == Hypothesis(Kind.SINGLE, ("b",))


def test_a_flaky_revision_makes_all_later_ones_take_twenty() -> None:
    quiet, crash = (False, 600.0), (True, 5.0)
    world = Script([*[crash] * 9, *[quiet] * 11, *[quiet] * 20])
    found = peer("syzkaller's rule")(world, replace(certain(), names=("a", "b")))
    assert found.trials == 40


@pytest.mark.parametrize(("p", "expected"), [(0.999, 1), (0.8, 3), (0.5, 7), (0.2, 22)])
def test_repeats_make_six_steps_right_in_95_of_100(p: float, expected: int) -> None:
    assert repeats(p, 6, 0.05) == expected
    assert (1 - (1 - p) ** expected) ** 6 >= 0.95
    assert expected == 1 or (1 - (1 - p) ** (expected - 1)) ** 6 < 0.95


def test_the_first_crash_of_repeats_stops_them_and_the_other_hosts() -> None:
    world = Script([(False, 600.0), (True, 90.0), (True, 60.0), (False, 600.0)])
    meter = Meter(world, replace(certain(), hosts=4))
    assert some(meter, 7)(["a"])
    assert (meter.trials, meter.wall, meter.machine) == (4, 240 + 60, 4 * (240 + 60))


def test_repeats_run_as_often_as_wanted_in_volleys() -> None:
    meter = Meter(Script([(False, 600.0)] * 7), replace(certain(), hosts=4))
    assert not some(meter, 7)(["a"])
    assert (meter.trials, meter.wall, meter.machine) == (7, 2 * 840, 7 * 840)


@pytest.mark.parametrize(("q", "crashes"), [(0.0, 1), (0.02, 2)])
def test_a_sequential_test_wants_a_second_crash_where_one_can_come_by_itself(q: float, crashes: int) -> None:
    meter = Meter(Script([(True, 5.0)] * 5), Told(NAMES, 0.5, q))
    assert sprt(meter, 0.05 / 6)(["a"])
    assert meter.trials == crashes


def test_a_sequential_test_is_silent_after_as_many_runs_as_the_repeated_one() -> None:
    meter = Meter(Script([(False, 600.0)] * 9), Told(NAMES, 0.5, 0.0))
    assert not sprt(meter, 0.05 / 6)(["a"])
    assert meter.trials == repeats(0.5, 6, 0.05)


def test_binary_searches_split_where_half_of_the_suspicion_is() -> None:
    weights = dict.fromkeys(NAMES, 0.01) | {NAMES[0]: 0.88}
    found = peer("git bisect")(Sure(frozenset({NAMES[0]})), replace(certain(), weights=weights))
    assert (found.answer, found.trials) == (Hypothesis(Kind.SINGLE, (NAMES[0],)), 1)


def summary(result: dict[str, Any]) -> tuple[float, float, float]:
    """Median trials, median machine minutes, percent wrong."""
    runs = [dict(zip(result["columns"], run, strict=True)) for run in result["runs"]]
    wrong = 100 * sum(not run["right"] for run in runs) / len(runs)
    minutes = statistics.median(run["machine"] for run in runs) / 60
    return statistics.median(run["trials"] for run in runs), minutes, wrong


MEASURED = [
    # who, kind, p, q: median trials, minutes, percent wrong, of 2000 of an implementation apart from this one
    ("git bisect", "single", 0.5, 0.0, 6, 84, 80.3),
    ("bisection, repeated", "single", 0.5, 0.0, 27, 364, 1.5),
    ("bisection, repeated", "single", 0.5, 0.02, 28, 368, 34.8),
    ("bisection, SPRT", "single", 0.5, 0.02, 36, 469, 2.9),
    ("bisection, SPRT", "single", 0.2, 0.02, 134, 1818, 3.4),
    ("syzkaller's rule", "single", 0.5, 0.0, 130, 1552, 0.0),
    ("syzkaller's Slice, SPRT", "pair", 0.5, 0.0, 78, 1035, 1.8),
    ("syzkaller's Slice, SPRT", "pair", 1.0, 0.02, 26, 195, 1.5),
]
PACKAGED = [
    ("ddmin (picire)", "single", 0.5, 0.0, 33, 432, 0.7),
    ("git-bayesect, tuned, to 99 %", "single", 0.5, 0.0, 33, 436, 0.5),
]


def near(found: tuple[float, float, float], trials: float, minutes: float, wrong: float) -> None:
    assert found[0] == pytest.approx(trials, rel=0.1)
    assert found[1] == pytest.approx(minutes, rel=0.1)
    assert found[2] == pytest.approx(wrong, abs=6)


@pytest.mark.parametrize(("who", "kind", "p", "q", "trials", "minutes", "wrong"), MEASURED)
def test_a_search_costs_what_it_was_measured_to_cost(
    who: str, kind: str, p: float, q: float, trials: float, minutes: float, wrong: float
) -> None:
    near(summary(peer_runs(Cell(64, kind, p, q), who, range(200))), trials, minutes, wrong)


def apart(cell: dict[str, Any], who: str, count: int) -> dict[str, Any]:
    job = json.dumps({"cell": cell, "who": who, "first": 0, "count": count})
    command = [str(BENCH_PYTHON), "-W", "ignore", "-m", "benchmarks.bisect_run"]
    ran = subprocess.run(
        command, input=job, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


@needs_packages
@pytest.mark.parametrize(("who", "kind", "p", "q", "trials", "minutes", "wrong"), PACKAGED)
def test_the_packages_cost_what_they_were_measured_to_cost(
    who: str, kind: str, p: float, q: float, trials: float, minutes: float, wrong: float
) -> None:
    found = apart({"n": 64, "truth": kind, "p": p, "q": q}, who, 100)
    near(summary(found), trials, minutes, wrong)


@needs_packages
def test_ddmin_finds_pairs_unless_a_crash_can_come_by_itself() -> None:
    cell = {"n": 64, "truth": "pair", "p": 0.5, "q": 0.0}
    assert summary(apart(cell, "ddmin (picire)", 60))[2] <= 5
    assert summary(apart(cell | {"q": 0.02}, "ddmin (picire)", 60))[2] >= 80


@needs_packages
@pytest.mark.parametrize("who", PACKAGES)
def test_the_packages_on_four_hosts_are_still_right(who: str) -> None:
    """Not always faster: ddmin waits for all hosts after each round."""
    one, four = (apart({"n": 16, "truth": "single", "p": 0.8, "q": 0.0, "hosts": n}, who, 40) for n in (1, 4))
    assert summary(four)[2] <= 10
    walls = [sum(run[2] for run in found["runs"]) for found in (one, four)]
    machines = [sum(run[1] for run in found["runs"]) for found in (one, four)]
    assert walls[0] == pytest.approx(machines[0])
    assert machines[1] / 4 <= walls[1] < machines[1] * 0.9


@pytest.mark.parametrize("who", [who for who in OWN if who not in OF_PAIRS])
def test_searches_for_one_culprit_cannot_name_two(who: str) -> None:
    assert summary(peer_runs(Cell(8, "pair", 0.999, 0.0), who, range(20)))[2] == 100


def test_all_searches_get_the_same_scenarios() -> None:
    for number in range(20):
        cells: Sequence[Cell] = [Cell(64, "single", p, q) for p, q in ((0.5, 0.0), (0.2, 0.02))]
        first, again = (scenario(cell, number) for cell in cells)
        assert (first.truth, first.told.names) == (again.truth, again.told.names)
        one, two = (scenario(cells[0], number).world for _ in range(2))
        everything = frozenset(first.told.names)
        assert [one.run(everything, 600, 0) for _ in range(5)] == [
            two.run(everything, 600, 0) for _ in range(5)
        ]
    assert len({scenario(Cell(64, "single", 0.5, 0.0), number).truth for number in range(200)}) > 50


def test_evidence_is_good_as_often_as_it_says_and_misleading_when_it_is_meant_to_be() -> None:
    def suspected(evidence: str) -> float:
        cell, among = Cell(64, "single", 0.5, 0.0, evidence=evidence), 0
        for number in range(300):
            asked = scenario(cell, number)
            weights = asked.told.weights
            assert weights and sum(weights.values()) == pytest.approx(1)
            among += weights[asked.truth.units[0]] == max(weights.values())
            assert asked.told.names[0] in sorted(weights, key=lambda unit: -weights[unit])[:5]
        return among / 300

    assert suspected("misleading") == 0
    assert suspected("good") == pytest.approx(0.8, abs=0.07)


def test_hosts_that_do_not_do_as_told_run_with_everything_on() -> None:
    asked = scenario(Cell(8, "single", 0.999, 0.0, unapplied=1.0), 1)
    assert asked.world.run(frozenset(), 6000, 0)[0]
    misread = scenario(Cell(8, "single", 0.999, 0.0, misread=1.0), 1)
    crashed, after = misread.world.run(frozenset(misread.told.names), 6000, 0)
    assert not crashed
    assert after < 6000


def test_truths_of_the_prior_come_as_often_as_it_says() -> None:
    truths = [scenario(Cell(16, "prior", 0.5, 0.0), number).truth.kind for number in range(2000)]
    shares = {kind: truths.count(kind) / 2000 for kind in Kind}
    assert shares[Kind.SYSTEM] == pytest.approx(0.03, abs=0.015)
    assert shares[Kind.PAIR] == pytest.approx(PAIR_PRIOR, abs=0.03)
    assert shares[Kind.SINGLE] == pytest.approx(1 - 0.03 - PAIR_PRIOR, abs=0.03)
