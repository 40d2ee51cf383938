"""What a peer is told, the hosts it runs on, and what it spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from lab.bisect.hypotheses import Hypothesis, Kind

WRONG = 0.05
"""The share of wrong answers that the peers are set up for."""


class World(Protocol):
    """Hosts to run a set of units on: whether it crashed, and the seconds under load it did so after."""

    def run(self, on: frozenset[str], seconds: float, host: int) -> tuple[bool, float]: ...


@dataclass(frozen=True)
class Told:
    """What no real tool would know: the chances that a usual soak crashes with the culprit on, and off.

    `names` are the units in the order in which the peer is to look at them; `weights` how suspicious each
    is (None: all alike); `size` is how many units are to blame. Seconds of a usual soak, and of what a
    trial costs besides.
    """

    names: tuple[str, ...]
    p: float
    q: float
    size: int = 1
    soak: float = 600.0
    setup: float = 240.0
    hosts: int = 1
    weights: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Found:
    """`machine` and `wall` in seconds. `answer` is None when the peer names nothing that can be an answer."""

    answer: Hypothesis | None
    trials: int
    machine: float
    wall: float


class Peer(Protocol):
    """A search, seeded by the world's seed and the order of the units alone."""

    def __call__(self, world: World, told: Told) -> Found: ...


@dataclass
class Meter:
    """Runs usual soaks and counts what they cost."""

    world: World
    told: Told
    trials: int = 0
    machine: float = 0.0
    wall: float = 0.0

    def once(self, on: Sequence[str]) -> bool:
        """One soak, the other hosts stand idle: whether it crashed."""
        return self.together(on, 1)[0]

    def together(self, on: Sequence[str], copies: int, *, until_crash: bool = False) -> list[bool]:
        """The same set on `copies` hosts at once, at most all of them; outcomes of those that ran to the end.

        With `until_crash` the first crash stops the others.
        """
        units, told = frozenset(on), self.told
        runs = [self.world.run(units, told.soak, host) for host in range(min(copies, told.hosts))]
        lasted = [seconds for _, seconds in runs]
        crashes = [seconds for crashed, seconds in runs if crashed]
        ends = min(crashes) if until_crash and crashes else max(lasted)
        self.trials += len(runs)
        self.machine += sum(told.setup + min(seconds, ends) for seconds in lasted)
        self.wall += told.setup + ends
        return [crashed for crashed, seconds in runs if seconds <= ends]

    def elsewhere(self, on: Sequence[str], host: int) -> tuple[bool, float]:
        """One soak on one host, of a search that keeps its own time: crashed, and the seconds in all."""
        crashed, seconds = self.world.run(frozenset(on), self.told.soak, host)
        self.trials += 1
        self.machine += self.told.setup + seconds
        return crashed, self.told.setup + seconds

    def found(self, units: Sequence[str]) -> Found:
        """One unit, or two that act together: peers that leave more or none have no answer."""
        kinds = {1: Kind.SINGLE, 2: Kind.PAIR, 3: Kind.TRIPLE}
        kind = kinds.get(len(units))
        answer = Hypothesis(kind, tuple(sorted(units))) if kind else None
        return Found(answer, self.trials, self.machine, self.wall)
