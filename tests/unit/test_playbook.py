"""The playbook climbs the article's ladder, and knows when to stop."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from playbook_world import SIGNATURE, World, driver, investigate, not_applied, some_drivers

from lab.model import (
    Case,
    Crashed,
    Invalid,
    InvalidReason,
    Origin,
    Signature,
    Survived,
    VerdictKind,
)
from lab.playbook import Abort, Conclude, RunTrial, next_step
from lab.playbook.ladders import GENERAL, LADDERS, ladder_for

DRIVERS = some_drivers()
CANDIDATES = {d.service for d in DRIVERS if not d.pinned and d.origin is not Origin.IN_BOX}


def verdict_of(world: World) -> tuple[VerdictKind, tuple[str, ...], int]:
    case, end = investigate(world)
    assert isinstance(end, Conclude)
    return end.verdict.kind, end.verdict.culprits, len(case.trials)


def test_the_article() -> None:
    """A minifilter whose calls are inlined, behind a noisy innocent: the ladder, rung by rung."""
    minifilters = ("drv00",)
    drivers = tuple(d for d in DRIVERS if not d.is_minifilter or d.service in minifilters)
    case, end = investigate(World(drivers, "drv00", "minifilter", noisy="drv01"))
    assert isinstance(end, Conclude)
    assert (end.verdict.kind, end.verdict.culprits) == (VerdictKind.DRIVER, ("drv00",))
    assert end.verdict.probability > 0.95
    rungs = [(t.recipe.purpose, t.recipe.verifier.flags, sorted(t.recipe.disabled)) for t in case.trials]
    assert rungs[:4] == [
        ("reproduce", 0, []),
        ("verifier", 0x800, []),
        ("verifier", 0x800, ["drv01"]),
        ("verifier", 0x810, ["drv01"]),
    ]
    assert {purpose for purpose, _, _ in rungs[4:]} >= {"confirm: without", "confirm: only"}
    assert len(rungs) <= 8, "the dumps have named it: next to nothing is left to search"
    assert not any(flags for _, flags, _ in rungs[4:])
    off = {t.number: t.recipe.disabled for t in case.trials if t.number in end.verdict.confirmed_by}
    assert set(off.values()) == {
        frozenset({"drv00"}),
        frozenset(CANDIDATES & {d.service for d in drivers}) - {"drv00"},
    }
    verified = case.trials[1].recipe.verifier.drivers
    assert "drv00.sys" in verified and "nic.sys" in verified and "srv2.sys" not in verified


def test_a_log_that_tells_ends_the_ladder_early() -> None:
    world = World(DRIVERS, "drv07", "callback", inlined=False)
    case, end = investigate(world)
    assert isinstance(end, Conclude) and end.verdict.culprits == ("drv07",)
    assert all(t.recipe.verifier.flags != 0x810 for t in case.trials)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", ["minifilter", "class filter", "callback"])
def test_every_kind_of_culprit_is_found(kind: str, seed: int) -> None:
    culprit = {"minifilter": "drv06", "class filter": "drv05", "callback": "drv08"}[kind]
    world = World(DRIVERS, culprit, kind, inlined=seed % 2 == 0, noisy="drv01", seed=seed)
    kind_of, culprits, trials = verdict_of(world)
    assert (kind_of, culprits) == (VerdictKind.DRIVER, (culprit,))
    assert trials <= 40


def test_a_guilty_noisy_driver_is_not_let_go() -> None:
    """With it off the crash stays away; that, not its noise, is what counts against it."""
    assert verdict_of(World(DRIVERS, "drv01", "callback", noisy="drv01"))[:2] == (
        VerdictKind.DRIVER,
        ("drv01",),
    )


def test_found_without_a_single_dump() -> None:
    assert verdict_of(World(DRIVERS, "drv08", "callback", dumps=False))[:2] == (
        VerdictKind.DRIVER,
        ("drv08",),
    )


def test_nothing_crashes() -> None:
    case, end = investigate(World(DRIVERS, None, "callback"))
    assert isinstance(end, Conclude) and end.verdict.kind is VerdictKind.NOT_REPRODUCIBLE
    assert [t.recipe.load.seconds for t in case.trials] == [8.0, 16.0, 32.0]


def test_windows_itself_is_not_blamed_on_a_driver() -> None:
    kind, culprits, _ = verdict_of(World(DRIVERS, None, "callback", system=True))
    assert (kind, culprits) == (VerdictKind.SYSTEM, ())


@pytest.mark.parametrize("seed", range(4))
def test_a_pair_is_not_called_one_driver(seed: int) -> None:
    """drv08 alone is harmless; the playbook must not name it as if it were not."""
    kind, culprits, trials = verdict_of(World(DRIVERS, "drv08", "callback", needs="drv10", seed=seed))
    assert (kind, culprits) == (VerdictKind.PAIR, ("drv08", "drv10"))
    assert trials <= 40


def test_a_driver_that_resists_is_treated_as_pinned() -> None:
    world = World(DRIVERS, "drv08", "callback", invalid=not_applied("drv03"))
    assert verdict_of(world)[:2] == (VerdictKind.DRIVER, ("drv08",))


def test_trials_that_stay_invalid_are_no_verdict() -> None:
    broken = Invalid(InvalidReason.INFRASTRUCTURE, "the network is down")
    case, end = investigate(World(DRIVERS, "drv08", "callback", invalid=lambda recipe: broken))
    assert isinstance(end, Abort)
    assert end.reason is InvalidReason.INFRASTRUCTURE and "network is down" in end.why
    assert len(case.trials) == 3


def test_a_case_can_go_on_once_the_lab_is_mended() -> None:
    """Old invalid trials abort a run once; a later run is told how many trials it found."""
    broken = Invalid(InvalidReason.INFRASTRUCTURE, "the network is down")
    case, _ = investigate(World(DRIVERS, "drv08", "callback", invalid=lambda recipe: broken))
    assert isinstance(next_step(case), Abort)
    assert isinstance(next_step(case, since=len(case.trials)), RunTrial)


def test_a_pinned_driver_that_evidence_names_is_not_kept_quiet() -> None:
    """What was never switched off cannot be cleared, and a verdict must say so."""
    world = World(DRIVERS, None, "callback", system=True)
    _, end = investigate(world)
    assert isinstance(end, Conclude) and end.verdict.kind is VerdictKind.SYSTEM
    assert any("nic.sys was never switched off" in b and "network card" in b for b in end.verdict.because)


def test_nothing_can_be_switched_off() -> None:
    only_pinned = tuple(d for d in DRIVERS if d.pinned or d.origin is Origin.IN_BOX)
    _, end = investigate(World(only_pinned, None, "callback", system=True))
    assert isinstance(end, Conclude) and end.verdict.kind is VerdictKind.UNDECIDED
    assert "no third-party driver can be switched off" in end.verdict.because
    assert any("nic.sys" in b for b in end.verdict.because)


def test_pinned_and_windows_drivers_are_never_switched_off() -> None:
    case, _ = investigate(World(DRIVERS, "drv08", "callback"))
    untouchable = {d.service for d in DRIVERS if d.pinned or d.origin is Origin.IN_BOX}
    assert not any(t.recipe.disabled & untouchable for t in case.trials)


def test_what_depends_on_a_driver_goes_with_it() -> None:
    drivers = (*DRIVERS, driver("addon", depends_on=("drv08",)))
    case, end = investigate(World(drivers, "drv08", "callback"))
    assert isinstance(end, Conclude) and end.verdict.culprits == ("drv08",)
    assert all("addon" in t.recipe.disabled for t in case.trials if "drv08" in t.recipe.disabled)


def test_no_third_party_driver_at_all() -> None:
    windows = tuple(d for d in DRIVERS if d.origin is Origin.IN_BOX)
    _, end = investigate(World(windows, None, "callback"))
    assert isinstance(end, Conclude) and end.verdict.kind is VerdictKind.UNDECIDED


def test_the_same_case_gets_the_same_answer() -> None:
    case, _ = investigate(World(DRIVERS, "drv08", "callback"))
    for n in range(len(case.trials)):
        part = Case(
            case.id, case.title, "", SIGNATURE, case.load, case.drivers, case.trials[:n], case.crashes
        )
        step = next_step(part)
        assert step == next_step(part)
        assert isinstance(step, RunTrial) and step.recipe == case.trials[n].recipe


def test_every_ladder_has_rungs_and_codes_are_in_one_ladder_only() -> None:
    codes = [code for ladder in LADDERS for code in ladder.codes]
    assert len(codes) == len(set(codes))
    assert all(ladder.settings for ladder in (*LADDERS, GENERAL))
    assert ladder_for(Signature(0x20, 0, "", ())).settings[0].flags == 0x800
    assert ladder_for(Signature(0x9F, 0, "", ())) is GENERAL


def test_confirmation_soaks_are_long_enough_to_convince() -> None:
    case, end = investigate(World(DRIVERS, "drv08", "callback", mean=2.0))
    assert isinstance(end, Conclude)
    confirming = [t.outcome for t in case.trials if t.number in end.verdict.confirmed_by]
    silence = sum(o.after for o in confirming if isinstance(o, Survived))
    crashes = [t.outcome.after for t in case.trials if isinstance(t.outcome, Crashed)]
    # Three mean times are 95 %; of so few crashes the mean is not taken alone: the prior has a say.
    assert silence >= 2.5 * sum(crashes) / len(crashes)
