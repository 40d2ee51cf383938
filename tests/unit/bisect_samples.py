"""Cases of a search among many drivers, played by a small simulation: names, times and hosts are invented."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import report_samples as samples

from lab.bisect.belief import Belief, Observation, Question
from lab.bisect.units import Units
from lab.model import (
    Bugcheck,
    Case,
    Crashed,
    Driver,
    Invalid,
    InvalidReason,
    LoadPlan,
    Outcome,
    Recipe,
    Relation,
    Signature,
    Survived,
    Trial,
    Verdict,
    VerdictKind,
    VerifierPlan,
)

SOAK = 600.0
STOP = Signature(0xD1, 0, "srv2!SrvProcWorkerThread", ("nt!KiPageFault", "tcpip!TcpCreateReceive"))
SYLLABLES = ("ax", "bel", "cor", "dan", "eks", "fen", "gar", "hol", "ind", "jor", "kel", "lum", "mar", "nox")
SUFFIXES = ("flt", "mon", "drv", "guard", "net", "disk")


def names(count: int) -> tuple[str, ...]:
    """Different names as drivers have them, in order. At most 14 * 14 * 6."""
    every = [f"{a}{b}{c}" for a in SYLLABLES for b in SYLLABLES for c in SUFFIXES]
    return tuple(sorted(random.Random(1).sample(every, count)))


def host_drivers(services: tuple[str, ...]) -> tuple[Driver, ...]:
    return tuple(samples.driver(s, s[:3].title() + " Systems", "3.1.0.7") for s in services)


def crash(after: float) -> Crashed:
    return Crashed(after, Bugcheck(0xD1, (8, 2, 0, 0xFFFFF80001600000)), Relation.SAME, "", "it was not kept")


class Play:
    """Trials on invented hosts, and what the playbook would ask of them: a `Search` of the report.

    `culprits` bring the crash when all of them are on, at `rate` a second."""

    def __init__(self, services: tuple[str, ...], culprits: frozenset[str], rate: float, seed: int) -> None:
        self.services, self.culprits, self.rate = services, culprits, rate
        self.random = random.Random(seed)
        self.trials: list[Trial] = []
        self.clock = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)

    @property
    def question(self) -> Question:
        return Question(Units.plain(self.services), soak=SOAK)

    @property
    def observations(self) -> tuple[Observation, ...]:
        return tuple(
            Observation(t.enabled, t.outcome.after, isinstance(t.outcome, Crashed), t.number)
            for t in self.trials
            if isinstance(t.outcome, Crashed | Survived)
        )

    def run(self, on: frozenset[str], purpose: str = "bisect", seconds: float = SOAK) -> Trial:
        outcome: Outcome = Survived(seconds)
        if self.culprits <= on:
            after = self.random.expovariate(self.rate)
            outcome = crash(after) if after < seconds else outcome
        return self.add(on, outcome, purpose, seconds)

    def add(self, on: frozenset[str], outcome: Outcome, purpose: str, seconds: float = SOAK) -> Trial:
        number = len(self.trials) + 1
        after = 0.0 if isinstance(outcome, Invalid) else outcome.after
        trial = Trial(
            number,
            f"lab-{1 + number % 4}",
            Recipe(frozenset(self.services) - on, VerifierPlan(), LoadPlan(seconds=seconds), purpose),
            on,
            outcome,
            self.clock.isoformat(),
            after + 240.0,
        )
        self.clock += timedelta(seconds=trial.seconds / 4)
        self.trials.append(trial)
        return trial

    def search(self, threshold: float = 0.99, most: int = 80) -> None:
        """Two runs with everything on, then sets that about half of the belief expects to crash."""
        self.run(frozenset(self.services), "baseline", 6 * SOAK)
        self.run(frozenset(self.services), "baseline", 6 * SOAK)
        self.run(frozenset(), "all off", 2 * SOAK)
        while len(self.trials) < most:
            ranked = Belief(self.question, self.observations).ranked(40)
            if ranked[0][1] >= threshold:
                return
            self.run(self._halving([(frozenset(h.units), p) for h, p in ranked]))
            if len(self.trials) == 7:
                on = frozenset(self.services[::2])
                self.add(on, Invalid(InvalidReason.LOAD_NOT_DELIVERED, "the network was down"), "bisect")

    def _halving(self, believed: list[tuple[frozenset[str], float]]) -> frozenset[str]:
        tries = []
        for share in (0.5, 0.6, 0.7, 0.8):
            for _ in range(12):
                on = frozenset(s for s in self.services if self.random.random() < share)
                mass = sum(p for units, p in believed if units <= on) / sum(p for _, p in believed)
                tries.append((abs(mass - 0.5), sorted(on)))
        return frozenset(min(tries)[1])

    def confirm(self) -> tuple[int, ...]:
        runs = [self.run(self.culprits, "confirm: only", 6 * SOAK)]
        everything = frozenset(self.services)
        runs += [self.run(everything - {c}, "confirm: without", 3 * SOAK) for c in sorted(self.culprits)]
        return tuple(t.number for t in runs)

    def case(self, verdict: Verdict | None, title: str) -> Case:
        return Case(
            id="case-b15e",
            title=title,
            opened="2026-03-02T07:58:07Z",
            expected=STOP,
            load=LoadPlan(seconds=SOAK),
            drivers=host_drivers(self.services),
            trials=tuple(self.trials),
            verdict=verdict,
        )

    def found(self, kind: VerdictKind, *because: str) -> Case:
        confirmed = self.confirm()
        top = Belief(self.question, self.observations).ranked(1)[0][1]
        verdict = Verdict(kind, tuple(sorted(self.culprits)), top, because, confirmed)
        return self.case(verdict, "Web server stops now and then under load")


def single() -> Play:
    services = names(32)
    play = Play(services, frozenset({services[11]}), 0.693 / SOAK, seed=5)
    play.search()
    return play


def pair() -> Play:
    services = names(64)
    play = Play(services, frozenset({services[9], services[41]}), 0.693 / SOAK, seed=3)
    play.search()
    return play


def many() -> Play:
    """Among 300 drivers, with sets by chance: not how it is searched, but quick."""
    services = names(300)
    play = Play(services, frozenset({services[123]}), 3.0 / SOAK, seed=8)
    play.run(frozenset(services), "baseline", 6 * SOAK)
    for _ in range(17):
        play.run(frozenset(s for s in services if play.random.random() < 0.5))
    return play


def none_of_them() -> Play:
    """The crash comes with everything off, too."""
    play = Play(names(32), frozenset(), 1.6 / SOAK, seed=2)
    play.search()
    play.run(frozenset(), "all off")
    return play


def short() -> Play:
    play = Play(names(12), frozenset({names(12)[4]}), 2.0 / SOAK, seed=1)
    play.run(frozenset(play.services), "baseline", 6 * SOAK)
    return play


def undecided() -> Play:
    """Crashes are rare, and the budget is spent after 14 trials."""
    services = names(32)
    play = Play(services, frozenset({services[20]}), 0.25 / SOAK, seed=4)
    play.search(most=14)
    return play


def hostile() -> Play:
    rude = tuple(sorted({samples.HOSTILE, *(samples.HOSTILE + str(i) for i in range(4)), *names(20)}))
    play = Play(rude, frozenset({samples.HOSTILE}), 2.0 / SOAK, seed=6)
    play.search()
    return play
