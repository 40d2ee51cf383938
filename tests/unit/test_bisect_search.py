"""Whole searches, simulated: hidden culprits among many units, crashes that do not always come."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import pytest

from lab.bisect import SYSTEM, Belief, next_set, soak_seconds

SOAK = 8.0


@dataclass
class Lab:
    """A lab with one culprit (or none: SYSTEM) that crashes a soak of `SOAK` s with probability `p`."""

    units: tuple[str, ...]
    culprit: str
    p: float
    odds: random.Random
    unrelated: float = 0.0

    def run(self, enabled: frozenset[str], seconds: float) -> tuple[float, bool]:
        """Seconds until the crash or the end, and whether it crashed."""
        rate = -math.log1p(-min(self.p, 0.999)) / SOAK if self.culprit in {*enabled, SYSTEM} else 0.0
        rate += -math.log1p(-self.unrelated) / SOAK
        after = self.odds.expovariate(rate) if rate else math.inf
        return min(after, seconds), after < seconds


def next_run(belief: Belief) -> tuple[frozenset[str], float]:
    """The units to leave on, and for how long: baseline, one long run with all off, then the search."""
    everything, nothing = frozenset(belief.units), frozenset[str]()
    if belief.crashes < 2:
        return everything, SOAK
    if not any(o.enabled == nothing for o in belief.observations):
        return nothing, max(SOAK, soak_seconds(belief, nothing))
    return next_set(belief, everything), SOAK


def search(lab: Lab, most: int = 200) -> tuple[str | None, int]:
    """A whole search until one answer has 99 %: the answer, and the trials it took."""
    belief = Belief(lab.units, soak=SOAK)
    for trials in range(most):
        if belief.posterior()[belief.leader()] >= 0.99:
            return belief.leader(), trials
        enabled, seconds = next_run(belief)
        belief = belief.observe(enabled, *lab.run(enabled, seconds))
    return None, most


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
        answer, trials = search(lab)
        used += trials
        alone += one_by_one(lab)
        if answer != lab.culprit:
            wrong.append((seed, lab.culprit, answer))
    assert len(wrong) <= 0.02 * searches, wrong
    assert used < alone


def test_still_finds_it_when_other_defects_crash_the_same_way_now_and_then() -> None:
    found = 0
    for seed in range(40):
        lab = lab_of(seed, 0.8, unrelated=0.02)
        answer, _ = search(lab)
        found += answer == lab.culprit
    assert found >= 39


@pytest.mark.parametrize(("p", "most_wrong"), [(1.0, 0), (0.5, 5)])
def test_finds_that_it_is_none_of_the_drivers(p: float, most_wrong: int) -> None:
    # The weakest of all answers: while crashes are rare, silence with everything off can be luck. The
    # confirming trials, which are the playbook's, are there to catch that.
    wrong = 0
    for seed in range(40):
        lab = lab_of(seed, p)
        answer, _ = search(Lab(lab.units, SYSTEM, p, lab.odds))
        wrong += answer != SYSTEM
    assert wrong <= most_wrong
