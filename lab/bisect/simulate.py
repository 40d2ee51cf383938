"""Searches in a world that is known: how many trials, how many minutes, how often right.

The search is the one that real hosts run (`search.next_trial`), asked whenever a simulated host is free.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from lab.bisect.belief import Belief, Observation, Question
from lab.bisect.believe import believe
from lab.bisect.hypotheses import Hypothesis
from lab.bisect.search import CERTAIN, next_trial
from lab.bisect.steps import Answer, Purpose, Running, Try, Wait
from lab.model import VerdictKind


class World(Protocol):
    """Something that crashes."""

    def run(self, on: frozenset[str], seconds: float, host: int) -> tuple[bool, float]:
        """Whether a run with these units on ends in the crash, and after how many seconds it ended."""
        ...


class Times(StrEnum):
    """When crashes come while the culprit is on."""

    STEADY = "steady"  # exponential: a constant rate
    SLOW_START = "slow start"  # Weibull with shape 2: later rather than sooner
    EARLY_OR_NEVER = "early or never"  # Weibull with shape 1/2
    PER_BOOT = "per boot"  # a share of the boots crashes soon, the others never


@dataclass
class Crashing:
    """A world with known culprits.

    `p` is the probability of the crash within `soak` seconds while a culprit is on, `q` that of an
    unrelated crash which looks the same. `lie` is the probability that a host tells the wrong ending,
    on the hosts of `liars` (all, when empty).
    """

    culprits: Sequence[Hypothesis]
    p: float
    q: float = 0.0
    soak: float = 600.0
    times: Times = Times.STEADY
    lie: float = 0.0
    liars: frozenset[int] = frozenset()
    seed: int = 0
    odds: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.odds = random.Random(f"world/{self.seed}")

    def run(self, on: frozenset[str], seconds: float, host: int) -> tuple[bool, float]:
        """See `World.run`. Also advances the world's own random numbers."""
        crash = self._unrelated()
        for culprit in self.culprits:
            related = self._crash_time()
            if culprit.active(on):
                crash = min(crash, related)
        crashed, after = crash < seconds, min(crash, seconds)
        if self.lie and (not self.liars or host in self.liars) and self.odds.random() < self.lie:
            crashed = not crashed
        return crashed, after

    def _unrelated(self) -> float:
        chance = self.odds.random()
        return self.soak * _log_stand(chance) / _log_stand(1 - self.q) if self.q > 0 else float("inf")

    def _crash_time(self) -> float:
        chance, boot = self.odds.random(), self.odds.random()
        p = min(self.p, 0.999)
        if self.times is Times.PER_BOOT:  # nearly all crashes of a bad boot come within a usual soak
            return self.soak * _log_stand(chance) / 3.0 if boot < p / 0.95 else float("inf")
        shape = {Times.SLOW_START: 2.0, Times.EARLY_OR_NEVER: 0.5}.get(self.times, 1.0)
        return float(self.soak * (_log_stand(chance) / _log_stand(1 - p)) ** (1.0 / shape))


def _log_stand(chance: float) -> float:
    return -math.log(max(chance, 1e-300))


@dataclass(frozen=True)
class Simulated:
    """How one search went. Seconds are simulated; machine-seconds add up all hosts.

    Everything counts from the end of the baseline, whose own cost is `baseline_seconds`. `accused` is
    what the search believed when it first reached `search.CERTAIN`, before any missing confirming run;
    `search_trials` and `search_seconds` are what it had cost until then.
    """

    answer: Answer
    trials: int
    machine_seconds: float
    wall_seconds: float
    baseline_seconds: float
    accused: Hypothesis | None
    accused_probability: float
    search_trials: int
    search_seconds: float
    observations: tuple[Observation, ...]

    @property
    def decided(self) -> bool:
        return self.answer.kind not in (VerdictKind.UNDECIDED, VerdictKind.NOT_REPRODUCIBLE)


def simulate(
    question: Question,
    world: World,
    *,
    hosts: int = 1,
    left: float | None = None,
    most_trials: int = 1000,
    watch: Callable[[Belief], None] | None = None,
) -> Simulated:
    """One search with `hosts` hosts. A crash ends a run at once; on the answer the others are cut short.

    `left` are the machine-seconds of the budget, baseline and all (None: no limit). A run under way counts
    with all that it may cost until it has ended.
    """
    seen: list[Observation] = []
    under_way: list[tuple[float, int, int, float, Try, bool, float]] = []  # end, number, host, start, …
    idle, now, number = list(range(hosts)), 0.0, 0
    machine = wall_start = baseline = 0.0
    trials = 0
    accused: Hypothesis | None = None
    accused_probability, search_trials, search_seconds = 0.0, 0, 0.0
    started = False
    while True:
        running = _running(under_way, now, question)
        step: Try | Wait | Answer = Wait("")
        while idle:
            reserved = math.fsum(question.setup + run.seconds for _, _, _, _, run, _, _ in under_way)
            rest = None if left is None else left - machine - baseline - reserved
            step = next_trial(question, seen, running, left=rest, hosts=hosts)
            if isinstance(step, Try) and number < most_trials:
                number += 1
                host = idle.pop(0)
                if step.purpose is not Purpose.BASELINE and not started:
                    started, wall_start = True, now
                crashed, after = world.run(step.on, step.seconds, host)
                end = now + question.setup + after
                heapq.heappush(under_way, (end, number, host, now, step, crashed, after))
                running = _running(under_way, now, question)
                continue
            break
        if isinstance(step, Answer) or not under_way:
            for end, _, _, start, cut, _, _ in under_way:  # cut short
                if cut.purpose is not Purpose.BASELINE:
                    machine += min(now, end) - start
                    trials += 1
            if not isinstance(step, Answer):
                step = Answer(VerdictKind.UNDECIDED, (), 0.0, (f"{most_trials} trials were run",))
            return Simulated(
                step, trials, machine, now - wall_start, baseline, accused, accused_probability,
                search_trials, search_seconds, tuple(seen),
            )  # fmt: skip
        now, ended, host, start, run, crashed, after = heapq.heappop(under_way)
        idle.append(host)
        seen.append(Observation(run.on, after, crashed, ended))
        if run.purpose is Purpose.BASELINE:
            baseline += now - start
        else:
            machine += now - start
            trials += 1
        if accused is None and run.purpose is not Purpose.BASELINE:
            belief = believe(question, seen)
            top, probability = belief.ranked(1)[0]
            if probability >= CERTAIN:
                accused, accused_probability = top, probability
                search_trials, search_seconds = trials, machine
            if watch is not None:
                watch(belief)


def _running(
    under_way: list[tuple[float, int, int, float, Try, bool, float]], now: float, question: Question
) -> list[Running]:
    return [
        Running(t.on, t.seconds, max(0.0, min(now - start - question.setup, t.seconds)), t.purpose)
        for _, _, _, start, t, _, _ in sorted(under_way, key=lambda u: u[1])
    ]
