"""What a search would cost and how often it would be right, played many times in worlds that are known."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import quantiles

from lab.bisect.belief import Question
from lab.bisect.hypotheses import Hypothesis, Kind
from lab.bisect.simulation import Crashing, Simulated, simulate
from lab.model import VerdictKind

UNRELATED = 0.01
"""Probability of a crash within a usual soak that only looks like the one searched for."""

NAMES = {Kind.SINGLE: VerdictKind.DRIVER, Kind.PAIR: VerdictKind.PAIR}


@dataclass(frozen=True)
class Scene:
    """One search to be played. `p` is the probability of the crash within a usual soak with the culprits on,
    `left` the machine-seconds of the budget (None: no limit). The same scene always ends the same."""

    kind: Kind
    p: float
    seed: int
    hosts: int = 1
    left: float | None = None


@dataclass(frozen=True)
class Played:
    """How one search ended. Seconds and trials include the baseline."""

    right: bool
    decided: bool
    trials: int
    machine_seconds: float
    wall_seconds: float


@dataclass(frozen=True)
class Expected:
    """Many searches together: shares of them, and (median, 95 of 100) of what they cost."""

    right: float
    wrong: float
    undecided: float
    trials: tuple[float, float]
    machine_seconds: tuple[float, float]
    wall_seconds: tuple[float, float]


def play(question: Question, scene: Scene) -> Played:
    """One search for a culprit that chance chooses, by the evidence's weights. Pure: seeded."""
    truth = _culprit(question, scene)
    world = Crashing([truth], scene.p, UNRELATED, question.soak, seed=scene.seed)
    ended = simulate(question, world, hosts=scene.hosts, left=scene.left)
    return _played(truth, ended)


def expected(played: Iterable[Played]) -> Expected:
    """What to expect of such searches; at least one."""
    runs = list(played)
    right = sum(run.decided and run.right for run in runs) / len(runs)
    undecided = sum(not run.decided for run in runs) / len(runs)
    return Expected(
        right,
        max(0.0, 1.0 - right - undecided),
        undecided,
        _middle([float(run.trials) for run in runs]),
        _middle([run.machine_seconds for run in runs]),
        _middle([run.wall_seconds for run in runs]),
    )


def _culprit(question: Question, scene: Scene) -> Hypothesis:
    odds = random.Random(f"{scene.seed}/{scene.kind}")
    units = question.units
    first = odds.choices(units.names, weights=[float(w) for w in question.weights])[0]
    if scene.kind is Kind.SINGLE:
        return Hypothesis(Kind.SINGLE, (first,))
    free = [u for u in units.names if u != first and not _nested(question, u, first)]
    return (
        Hypothesis(Kind.PAIR, tuple(sorted((first, odds.choice(free)))))
        if free
        else Hypothesis(Kind.SINGLE, (first,))
    )


def _nested(question: Question, one: str, other: str) -> bool:
    """Whether one needs the other: together they are the same as that one."""
    needs = question.units.needs
    return other in needs.get(one, frozenset()) or one in needs.get(other, frozenset())


def _played(truth: Hypothesis, ended: Simulated) -> Played:
    answer = ended.answer
    right = answer.culprits == truth.units and answer.kind is NAMES[truth.kind]
    return Played(
        right,
        ended.decided,
        len(ended.observations),
        ended.machine_seconds + ended.baseline_seconds,
        ended.clock_seconds,
    )


def _middle(values: list[float]) -> tuple[float, float]:
    if len(values) == 1:
        return values[0], values[0]
    cuts = quantiles(values, n=20, method="inclusive")
    return cuts[9], cuts[18]
