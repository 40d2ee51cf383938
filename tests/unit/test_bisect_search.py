"""Whole searches, simulated: hidden culprits among many units, crashes that do not always come."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import pytest

from lab.bisect import (
    SYSTEM,
    Belief,
    Confirmations,
    confirmations,
    decide,
    next_confirmation,
    next_set,
    soak_seconds,
)
from lab.model import (
    Bugcheck,
    Crashed,
    LoadPlan,
    Outcome,
    Recipe,
    Relation,
    Survived,
    Trial,
    Verdict,
    VerdictKind,
    VerifierPlan,
)

SOAK = 8.0


@dataclass
class Lab:
    """A lab with one culprit (or none: SYSTEM) that crashes a soak of `SOAK` s with probability `p`."""

    units: tuple[str, ...]
    culprit: str
    p: float
    odds: random.Random
    unrelated: float = 0.0

    def run(self, number: int, enabled: frozenset[str], seconds: float) -> Trial:
        rate = -math.log1p(-min(self.p, 0.999)) / SOAK if self.culprit in {*enabled, SYSTEM} else 0.0
        rate += -math.log1p(-self.unrelated) / SOAK
        after = self.odds.expovariate(rate) if rate else math.inf
        outcome: Outcome = Survived(seconds)
        if after < seconds:
            outcome = Crashed(after, Bugcheck(0x20), Relation.SAME)
        recipe = Recipe(frozenset(self.units) - enabled, VerifierPlan(), LoadPlan(seconds=seconds))
        return Trial(number, "host", recipe, enabled, outcome, "2026-01-01T00:00:00+00:00", seconds)


def next_run(belief: Belief, seen: Confirmations) -> tuple[frozenset[str], float]:
    """The units to leave on, and for how long: baseline, one long run with all off, search, confirm."""
    everything, nothing = frozenset(belief.units), frozenset[str]()
    if belief.crashes < 2:
        return everything, SOAK
    if not any(o.enabled == nothing for o in belief.observations):
        return nothing, max(SOAK, soak_seconds(belief, nothing))
    wanted = next_confirmation(belief, seen)
    if belief.posterior()[seen.culprit] < 0.99 or wanted is None:
        return next_set(belief, everything), SOAK
    silence = seen.alone and seen.culprit != SYSTEM
    return wanted, max(SOAK, seen.needed - seen.stood if silence else soak_seconds(belief, wanted))


def search(lab: Lab, most: int = 200) -> tuple[Verdict | None, int]:
    """A whole search: the verdict, and the trials it took."""
    belief = Belief(lab.units, soak=SOAK)
    trials: list[Trial] = []
    while len(trials) < most:
        seen = confirmations(trials, lab.units, belief)
        verdict = decide(belief, seen)
        if verdict is not None:
            return verdict, len(trials)
        enabled, seconds = next_run(belief, seen)
        trial = lab.run(len(trials) + 1, enabled, seconds)
        trials.append(trial)
        belief = belief.observe(enabled, trial.outcome.after, isinstance(trial.outcome, Crashed))
    return None, len(trials)


def lab_of(seed: int, p: float, unrelated: float = 0.0) -> Lab:
    odds = random.Random(f"lab {seed} {p}")
    units = tuple(f"drv{i:02}" for i in range(odds.randint(8, 32)))
    return Lab(units, odds.choice(units), p, odds, unrelated)


def one_by_one(lab: Lab) -> int:
    """Trials to find the culprit by testing each unit alone, told how often to repeat for 98 %."""
    repeats = max(1, math.ceil(math.log(0.02) / math.log1p(-min(lab.p, 0.999))))
    odds = random.Random(len(lab.units))
    trials = 2  # the two baseline crashes that the search pays for too
    for unit in odds.sample(lab.units, len(lab.units)):
        for _ in range(repeats):
            trials += 1
            if unit == lab.culprit and odds.random() < lab.p:
                return trials
    return trials


@pytest.mark.parametrize(("p", "searches"), [(1.0, 67), (0.8, 67), (0.5, 66)])
def test_finds_the_hidden_culprit_in_fewer_trials_than_one_by_one(p: float, searches: int) -> None:
    wrong, used, alone = [], 0, 0
    for seed in range(searches):
        lab = lab_of(seed, p)
        verdict, trials = search(lab)
        used += trials
        alone += one_by_one(lab)
        if verdict is None or verdict.kind is not VerdictKind.DRIVER or verdict.culprits != (lab.culprit,):
            wrong.append((seed, lab.culprit, verdict))
    assert len(wrong) <= 0.02 * searches, wrong
    assert used < alone


def test_still_finds_it_when_other_defects_crash_the_same_way_now_and_then() -> None:
    found = 0
    for seed in range(40):
        lab = lab_of(seed, 0.8, unrelated=0.02)
        verdict, _ = search(lab)
        found += verdict is not None and verdict.culprits == (lab.culprit,)
    assert found >= 39


@pytest.mark.parametrize(("p", "most_wrong"), [(1.0, 0), (0.5, 2)])
def test_blames_the_system_after_a_crash_with_everything_off(p: float, most_wrong: int) -> None:
    # The weakest of all verdicts: while crashes are rare, silence with everything off can be luck.
    wrong = 0
    for seed in range(40):
        lab = lab_of(seed, p)
        verdict, _ = search(Lab(lab.units, SYSTEM, p, lab.odds))
        assert verdict is not None and verdict.confirmed_by
        wrong += verdict.kind is not VerdictKind.SYSTEM or verdict.culprits != ()
    assert wrong <= most_wrong
