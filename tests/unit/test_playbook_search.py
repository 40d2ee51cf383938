"""What the search is asked about a case, and what its answers become."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from playbook_world import SIGNATURE, World, driver, investigate, some_drivers

from lab.bisect.steps import Answer, Purpose, Running
from lab.model import (
    Bugcheck,
    Case,
    Crashed,
    Driver,
    Invalid,
    InvalidReason,
    LoadPlan,
    LoadReport,
    Outcome,
    Recipe,
    Relation,
    Survived,
    Trial,
    VerdictKind,
    VerifierPlan,
)
from lab.playbook import Conclude, Pause, Rung, RunTrial, View, ask
from lab.playbook.search import verdict

DRIVERS = some_drivers(6)
ALL = frozenset(f"drv{i:02}" for i in range(6))


def trial(number: int, off: frozenset[str], outcome: Outcome, *, seconds: float = 100.0) -> Trial:
    recipe = Recipe(off, VerifierPlan(), LoadPlan(seconds=8.0), Rung.BISECT)
    load = None if isinstance(outcome, Invalid) else LoadReport("burst", outcome.after, 9, 9, 9)
    enabled = frozenset() if isinstance(outcome, Invalid) else ALL - off
    return Trial(number, "h", recipe, enabled, outcome, "2026-01-01T00:00:00+00:00", seconds, load)


def view(*trials: Trial, drivers: tuple[Driver, ...] = DRIVERS) -> View:
    return View(Case("c", "t", "", SIGNATURE, LoadPlan(seconds=8.0, seed=5), drivers, trials))


def crash(after: float, relation: Relation = Relation.SAME) -> Crashed:
    return Crashed(after, Bugcheck(0x20), relation)


def test_other_stops_only_end_a_run_early_and_invalid_trials_say_nothing() -> None:
    off = frozenset({"drv01"})
    seen = view(
        trial(1, frozenset(), crash(2.0)),
        trial(2, off, crash(3.0, Relation.OTHER)),
        trial(3, off, Survived(5.0, "the verdict came first")),
        trial(4, off, Invalid(InvalidReason.LOAD_NOT_DELIVERED, "no credits")),
    ).observations
    assert [(o.on, o.seconds, o.crashed, o.trial) for o in seen] == [
        (ALL, 2.0, True, 1),
        (ALL - off, 3.0, False, 2),
        (ALL - off, 5.0, False, 3),
    ]


def test_a_silence_without_a_driver_that_does_not_stay_off_clears_nobody() -> None:
    """Once it is known to come back, it counts as always on: then it may have been the silent cause."""
    off = frozenset({"drv01"})
    back = Invalid(InvalidReason.NOT_APPLIED, "still running: drv01", stuck=("drv01",))
    trials = (trial(1, frozenset(), crash(2.0)), trial(2, off, Survived(8.0)), trial(3, off, back))
    assert [o.trial for o in view(*trials).observations] == [1, 2]
    known = view(*trials, trial(4, off, back))
    assert known.services == tuple(sorted(ALL - off))
    assert [o.trial for o in known.observations] == [1]


def test_what_a_trial_costs_is_learned_from_those_that_were_run() -> None:
    assert view().question.setup == 240.0
    costs = [trial(i, frozenset(), Survived(8.0), seconds=s) for i, s in enumerate((98.0, 108.0, 900.0), 1)]
    costs.append(trial(9, frozenset(), Invalid(InvalidReason.INFRASTRUCTURE, "gone"), seconds=5.0))
    assert view(*costs).question.setup == 100.0
    assert view(*costs).question.soak == 8.0


def test_a_set_that_did_not_boot_twice_is_never_tried_again() -> None:
    dead = Invalid(InvalidReason.NOT_BOOTED, "waited 600 s for boot")
    off = frozenset({"drv00", "drv04"})
    assert view(trial(1, off, dead)).refused == ()
    other = trial(3, frozenset({"drv04", "drv05"}), dead)
    assert view(trial(1, off, dead), trial(2, off, dead), other).question.refused == (ALL - off,)


def test_what_a_host_needs_to_boot_is_found_by_itself_and_left_on() -> None:
    dead = Invalid(InvalidReason.NOT_BOOTED, "waited 600 s for boot")
    off = [frozenset(names.split()) for names in ("drv00 drv04", "drv04 drv05", "drv00 drv05", "drv04")]
    failed = (trial(1, off[0], dead), trial(2, off[1], dead))
    assert view(*failed).doubtful == frozenset(), "it may be any of them"
    known = view(*failed, trial(3, off[2], Survived(8.0)))
    assert known.doubtful == {"drv04"} and known.needed_to_boot == frozenset()
    assert "drv04" in known.services
    proved = view(*failed, trial(3, off[2], Survived(8.0)), trial(4, off[3], dead))
    assert proved.needed_to_boot == {"drv04"} and proved.services == tuple(sorted(ALL - {"drv04"}))
    assert proved.refused == () == proved.unbooted("h"), "the others have nothing to do with it"
    cleared = view(*failed, trial(3, off[2], Survived(8.0)), trial(4, off[3], Survived(8.0)))
    assert cleared.doubtful == frozenset()


def test_the_doubt_is_settled_before_the_search_goes_on() -> None:
    dead = Invalid(InvalidReason.NOT_BOOTED, "waited 600 s for boot")

    def invalid(recipe: Recipe) -> Invalid | None:
        return dead if "drv02" in recipe.disabled else None

    world = World(DRIVERS, "drv04", "callback", invalid=invalid)
    case = Case("c", "t", "", SIGNATURE, LoadPlan(seconds=8.0), DRIVERS)
    for number in range(1, 60):
        step = ask(View(case))
        if isinstance(step, Conclude):
            break
        assert isinstance(step, RunTrial)
        case = replace(case, trials=(*case.trials, world.run(number, step.recipe)))
    assert isinstance(step, Conclude) and step.verdict.culprits == ("drv04",)
    alone = [t for t in case.trials if t.recipe.disabled == {"drv02"}]
    assert len(alone) == 1
    assert not any("drv02" in t.recipe.disabled for t in case.trials if t.number > alone[0].number)


def test_the_search_goes_round_a_set_that_does_not_boot() -> None:
    dead = Invalid(InvalidReason.NOT_BOOTED, "waited 600 s for boot")

    def invalid(recipe: Recipe) -> Invalid | None:
        return dead if {"drv04", "drv02"} <= recipe.disabled else None

    world = World(DRIVERS, "drv04", "callback", invalid=invalid)
    case = Case("c", "t", "", SIGNATURE, LoadPlan(seconds=8.0), DRIVERS)
    tried: dict[frozenset[str], int] = {}
    for number in range(1, 80):
        step = ask(View(case))
        if isinstance(step, Conclude):
            break
        assert isinstance(step, RunTrial)
        tried[step.recipe.disabled] = tried.get(step.recipe.disabled, 0) + 1
        case = replace(case, trials=(*case.trials, world.run(number, step.recipe)))
    assert isinstance(step, Conclude) and step.verdict.culprits == ("drv04",)
    assert all(times <= 2 for off, times in tried.items() if {"drv04", "drv02"} <= off)


def test_drivers_that_need_each_other_are_one_unit_and_one_answer() -> None:
    drivers = (
        *DRIVERS,
        driver("suiteA", depends_on=("suiteB",)),
        driver("suiteB", depends_on=("suiteA",)),
        driver("addon", depends_on=("suiteA",)),
    )
    seen = view(drivers=drivers)
    assert seen.units.services["suiteA"] == ("suiteA", "suiteB")
    assert seen.units.needs["addon"] == {"suiteA"}
    found = verdict(seen, Answer(VerdictKind.DRIVER, ("suiteA",), 0.995, ()))
    assert (found.kind, found.culprits) == (VerdictKind.ONE_OF, ("suiteA", "suiteB"))
    assert "suiteA.sys, suiteB.sys need each other" in " ".join(found.because)


def test_a_suite_is_found_as_one() -> None:
    drivers = (*DRIVERS, driver("suiteA", depends_on=("suiteB",)), driver("suiteB", depends_on=("suiteA",)))
    case, end = investigate(World(drivers, "suiteB", "callback"))
    assert isinstance(end, Conclude)
    assert (end.verdict.kind, end.verdict.culprits) == (VerdictKind.ONE_OF, ("suiteA", "suiteB"))
    assert all(len({"suiteA", "suiteB"} & t.recipe.disabled) != 1 for t in case.trials)


def test_several_hosts_do_not_run_the_same_load() -> None:
    first = ask(view(), begun=0)
    assert isinstance(first, RunTrial) and first.asked is not None
    assert first.recipe.purpose == Rung.BASELINE and first.recipe.disabled == frozenset()
    running = [Running(first.asked.on, first.asked.seconds, 0.0, first.asked.purpose)]
    second = ask(view(), running, begun=1)
    assert isinstance(second, RunTrial)
    assert second.recipe.load.seed == first.recipe.load.seed + 1


def test_a_host_waits_when_nothing_can_be_told_yet() -> None:
    running = [Running(ALL, 8.0, 0.0, Purpose.BASELINE)] * 5
    assert isinstance(ask(view(), running), Pause)


def test_an_undecided_pair_is_said_to_be_one() -> None:
    pair = frozenset({"drv01", "drv04"})
    trials = [
        trial(1, frozenset(), crash(2.0)),
        trial(2, ALL - pair, crash(1.5)),
        trial(3, ALL - pair, crash(3.0)),
    ]
    for number, service in enumerate(("drv01", "drv04") * 2, 4):
        trials.append(trial(number, frozenset({service}), Survived(12.0)))
    step = ask(view(*trials), left=0.0)
    assert isinstance(step, Conclude) and step.verdict.kind is VerdictKind.UNDECIDED
    assert (step.verdict.culprits, step.verdict.together) == (("drv01", "drv04"), True)
    single = ask(view(*trials[:2], trial(3, frozenset({"drv01"}), Survived(16.0))), left=0.0)
    assert isinstance(single, Conclude) and not single.verdict.together


def test_a_budget_that_is_spent_says_what_would_decide() -> None:
    step = ask(view(trial(1, frozenset(), crash(2.0))), left=1.0)
    assert isinstance(step, Conclude) and step.verdict.kind is VerdictKind.UNDECIDED
    assert any(b.startswith("what would decide it: about ") for b in step.verdict.because)


def test_what_a_pair_did_is_told_of_runs_with_both_on() -> None:
    off = frozenset({"drv02"})
    known = view(
        trial(1, frozenset(), crash(2.0)),
        trial(2, off, crash(90.0)),  # another defect
        trial(3, ALL - {"drv02", "drv04"}, crash(4.0)),
        trial(4, off, Survived(30.0)),
    )
    answer = Answer(VerdictKind.PAIR, ("drv02", "drv04"), 0.99, (), confirmed_by=(3, 4))
    assert verdict(known, answer).because == (
        "with one of them off the host stood 30 s of load; with them crashes came after 3.0 s on average",
        "with no other removable one on the crash came after 4.0 s",
    )
