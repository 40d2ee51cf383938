"""Scenarios of the search for a culprit: the same for us and for the others, made of a cell and a number."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.bisect_peers.meter import Told, World
from lab.bisect.belief import Question
from lab.bisect.hypotheses import Hypothesis, Kind
from lab.bisect.simulation import Crashing, Times
from lab.bisect.units import Units

SOAK, SETUP = 600.0, 240.0
ALWAYS = 0.999
"""What p = 1 means: not quite always."""

SUSPECTS, SUSPICION = 5, 0.8
"""Evidence: so many units have that share of the suspicion, and as often the culprit is among them."""


@dataclass(frozen=True)
class Cell:
    """One line of the comparison. `p` and `q` are chances for a usual soak of ten minutes.

    `truth` is a kind of hypothesis, or "prior": kind, p and q drawn from the engine's own prior beliefs.
    `evidence`: "" for none, "good", or "misleading" (the culprit is never among the suspects). `misread` is
    the chance that a crash is told as another one, `unapplied` that a host keeps everything on, `lie` that
    it tells the wrong ending. `needs`: a third of the units need others or move together.
    """

    n: int
    truth: str
    p: float
    q: float
    hosts: int = 1
    times: str = "steady"
    evidence: str = ""
    misread: float = 0.0
    unapplied: float = 0.0
    lie: float = 0.0
    needs: bool = False


@dataclass
class Doubtful:
    """A world seen through hosts that do not always do, or tell, what they should."""

    inner: World
    everything: frozenset[str]
    misread: float
    unapplied: float
    seed: int
    odds: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.odds = random.Random(f"doubt/{self.seed}")

    def run(self, on: frozenset[str], seconds: float, host: int) -> tuple[bool, float]:
        """See `World.run`. A crash that is told as another one ends the run without counting."""
        unapplied, misread = self.odds.random() < self.unapplied, self.odds.random() < self.misread
        crashed, after = self.inner.run(self.everything if unapplied else on, seconds, host)
        return crashed and not misread, after


@dataclass(frozen=True)
class Scenario:
    """What is true, what is asked, and in which order a peer looks."""

    truth: Hypothesis
    world: World
    question: Question
    told: Told


def scenario(cell: Cell, number: int) -> Scenario:
    """The same arguments give the same scenario, its world's dice included."""
    odds = random.Random(f"{cell.n}/{cell.truth}/{number}")
    names = tuple(f"driver{at:03d}" for at in range(cell.n))
    units = _grouped(names) if cell.needs else Units.plain(names)
    kind, p, q = Kind(cell.truth) if cell.truth != "prior" else Kind.SYSTEM, cell.p, cell.q
    if cell.truth == "prior":
        kind, p, q = _of_the_prior(odds)
    truth = Hypothesis(kind, tuple(sorted(odds.sample(units.names, _size(kind)))))
    order = odds.sample(units.names, len(units.names))
    weights = _weights(cell, truth, order, odds)
    if weights:
        order.sort(key=lambda unit: -weights[unit])
    p = min(p, ALWAYS)
    world: World = Crashing([truth], p, q, SOAK, Times(cell.times), cell.lie, seed=number)
    if cell.misread or cell.unapplied:
        world = Doubtful(world, frozenset(units.names), cell.misread, cell.unapplied, number)
    told = Told(tuple(order), p, q, _size(kind), SOAK, SETUP, cell.hosts, weights)
    return Scenario(truth, world, Question(units, weights, SOAK, SETUP), told)


def _size(kind: Kind) -> int:
    return {Kind.SYSTEM: 0, Kind.SINGLE: 1, Kind.TRIPLE: 3}.get(kind, 2)


def _weights(
    cell: Cell, truth: Hypothesis, order: list[str], odds: random.Random
) -> Mapping[str, float] | None:
    if not cell.evidence:
        return None
    innocent = [unit for unit in order if unit not in truth.units]
    suspects = set(odds.sample(innocent, SUSPECTS))
    if cell.evidence == "good" and odds.random() < SUSPICION:
        suspects = {truth.units[0], *sorted(suspects)[1:]}
    share, rest = SUSPICION / SUSPECTS, (1 - SUSPICION) / (cell.n - SUSPECTS)
    return {unit: share if unit in suspects else rest for unit in order}


def _of_the_prior(odds: random.Random) -> tuple[Kind, float, float]:
    """p spread evenly from 0.2 up; q as the engine expects it: mostly none, 1 % for a soak on average."""
    asked = Question(Units.plain(("a", "b")))
    chance = odds.random()
    kind = Kind.SINGLE
    if chance < asked.system_prior:
        kind = Kind.SYSTEM
    elif chance < asked.system_prior + asked.pair_prior:
        kind = Kind.PAIR
    return kind, odds.uniform(0.2, ALWAYS), min(0.2, odds.gammavariate(0.4, 1 / 40))


def _grouped(names: tuple[str, ...]) -> Units:
    """Of every six units the second needs the first, and the third and fourth move together."""
    needs: dict[str, list[str]] = {}
    for at in range(0, len(names) - 5, 6):
        first, second, third, fourth = names[at : at + 4]
        needs |= {second: [first], third: [fourth], fourth: [third]}
    return Units.of(names, needs)
