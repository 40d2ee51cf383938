"""Searches in a world that is known: how many trials, how many minutes, how often right.

The search is the one that real hosts run (`search.next_trial`), asked whenever a simulated host is free.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from lab.bisect.belief import Belief, Observation, Question
from lab.bisect.confirming import CERTAIN
from lab.bisect.fitting import believe
from lab.bisect.hypotheses import Hypothesis
from lab.bisect.search import next_trial, to_end
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

    `trials` and `machine_seconds` count from the end of the baseline, whose own cost is
    `baseline_seconds`; `clock_seconds` pass from the first run of the baseline to the answer. `accused` is
    what the search believed when it first reached `confirming.CERTAIN`, before any missing confirming run;
    `search_trials` and `search_seconds` are what it had cost until then.
    """

    answer: Answer
    trials: int
    machine_seconds: float
    clock_seconds: float
    baseline_seconds: float
    accused: Hypothesis | None
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
    with all that it may cost until it has ended. `watch` sees the belief after each run of the search.
    """
    return _Simulation(question, world, hosts, left, most_trials, watch).run()


@dataclass(order=True)
class _Run:
    """A trial under way: its number, host, begin and end, and how the world will end it."""

    end: float
    number: int
    host: int = field(compare=False)
    start: float = field(compare=False)
    trial: Try = field(compare=False)
    crashed: bool = field(compare=False)


class _Simulation:
    def __init__(
        self,
        question: Question,
        world: World,
        hosts: int,
        left: float | None,
        most_trials: int,
        watch: Callable[[Belief], None] | None,
    ) -> None:
        self._question, self._world, self._hosts = question, world, hosts
        self._left, self._most, self._watch = left, most_trials, watch
        self._seen: list[Observation] = []
        self._under_way: list[_Run] = []
        self._idle = list(range(hosts))
        self._now, self._begun, self._trials = 0.0, 0, 0
        self._machine = self._baseline = 0.0
        self._accused: tuple[Hypothesis | None, int, float] = (None, 0, 0.0)

    def run(self) -> Simulated:
        while True:
            step = self._begin()
            if isinstance(step, Answer):
                return self._answered(step)
            if not self._under_way:
                return self._answered(
                    Answer(VerdictKind.UNDECIDED, (), 0.0, (f"{self._begun} trials were run",))
                )
            ended = min(self._under_way)
            self._now = ended.end
            self._end(ended, ended.crashed)
            self._end_early()
            self._look(ended.trial)

    def _begin(self) -> Try | Wait | Answer:
        """Start what the search wants on idle hosts; its last word."""
        step: Try | Wait | Answer = Wait("all hosts are busy")
        while self._idle:
            running, left = self._running(), self._rest
            step = next_trial(self._question, self._seen, running, left=left, hosts=self._hosts)
            if not isinstance(step, Try) or self._begun >= self._most:
                break
            self._begun += 1
            host = self._idle.pop(0)
            crashed, after = self._world.run(step.on, step.seconds, host)
            end = self._now + self._question.setup + after
            self._under_way.append(_Run(end, self._begun, host, self._now, step, crashed))
        return step

    @property
    def _rest(self) -> float | None:
        """Machine-seconds that are not spent, nor promised to trials under way."""
        reserved = math.fsum(self._question.setup + run.trial.seconds for run in self._under_way)
        return None if self._left is None else self._left - self._machine - self._baseline - reserved

    def _running(self) -> list[Running]:
        self._under_way.sort(key=lambda run: run.number)
        return [
            Running(
                run.trial.on, run.trial.seconds, self._stood(run), run.trial.purpose,
                max(0.0, run.start + self._question.setup - self._now),
            )
            for run in self._under_way
        ]  # fmt: skip

    def _stood(self, run: _Run) -> float:
        return max(0.0, min(self._now - run.start - self._question.setup, run.trial.seconds))

    def _end(self, run: _Run, crashed: bool = False) -> None:
        self._under_way.remove(run)
        self._idle.append(run.host)
        stood = self._stood(run)
        if crashed or stood > 0:
            self._seen.append(Observation(run.trial.on, stood, crashed, run.number))
        if run.trial.purpose is Purpose.BASELINE:
            self._baseline += self._now - run.start
        else:
            self._machine += self._now - run.start
            self._trials += 1

    def _end_early(self) -> None:
        """What is not worth going on with."""
        while True:
            running = self._running()
            found = to_end(self._question, self._seen, running, left=self._rest, hosts=self._hosts)
            if found is None:
                return
            at = next(i for i, each in enumerate(running) if each is found)
            self._end(self._under_way[at])

    def _look(self, trial: Try) -> None:
        if self._accused[0] is not None or trial.purpose is Purpose.BASELINE:
            return
        belief = believe(self._question, self._seen)
        top, probability = belief.ranked(1)[0]
        if probability >= CERTAIN:
            self._accused = top, self._trials, self._machine
        if self._watch is not None:
            self._watch(belief)

    def _answered(self, answer: Answer) -> Simulated:
        for run in self._under_way[:]:
            self._end(run)
        return Simulated(
            answer, self._trials, self._machine, self._now, self._baseline, *self._accused, tuple(self._seen)
        )
