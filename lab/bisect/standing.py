"""Where a search stands when a host asks: what was seen, what still runs, and what follows from both."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lab.bisect.belief import Observation, Question
from lab.bisect.fitting import believe
from lab.bisect.forms import Pending
from lab.bisect.hypotheses import Hypothesis, Kind
from lab.bisect.steps import Running

ENOUGH = 0.02
"""Usual soaks of silence that are not worth a trial of their own."""
LONGEST = 9.0
"""Longest soak, in usual soaks."""


class Standing:
    """What running trials have stood so far counts as seen. `top` leads the belief, with `probability`."""

    def __init__(
        self,
        question: Question,
        observations: Sequence[Observation],
        running: Sequence[Running],
        hosts: int,
    ) -> None:
        self.question, self.seen, self.running = question, tuple(observations), tuple(running)
        self.hosts = max(1, hosts)
        self.everything = frozenset(question.units.names)
        so_far = [Observation(r.on, r.stood, False) for r in self.running if r.stood > 0]
        self.belief = believe(question, (*self.seen, *so_far))
        self.top, self.probability = self.belief.ranked(1)[0]

    def pending(self, without: Running | None = None) -> list[Pending]:
        """What still runs, as the choice of a trial wants it."""
        marks = self.question.units.marks
        return [
            Pending(marks(r.on).astype(float), max(r.planned - r.stood, 1e-3))
            for r in self.running
            if r is not without
        ]

    # ---- how soon it crashes, if the leader is right

    def rate(self) -> float:
        """Mean crash rate a second while the leader's units are on."""
        belief, units, top = self.belief, self.question.units, self.top
        if top.kind is Kind.SYSTEM:
            return belief.families[Kind.SYSTEM].rate(0)
        if top.kind is Kind.TRIPLE:
            return belief.families[Kind.TRIPLE].rate(belief.triples.index(self._numbers(top)))
        family = belief.families[Kind.EITHER if top.kind is Kind.EITHER else Kind.PAIR]
        return family.rate(units.index[top.units[0]], units.index[top.units[-1]])

    def _numbers(self, top: Hypothesis) -> tuple[int, int, int]:
        first, second, third = (self.question.units.index[u] for u in top.units)
        return first, second, third

    # ---- how long

    def seconds_until(self, confidence: float, have: float = 0.0, *, times: int = 1) -> float:
        """Seconds of silence until a crash had come with probability `confidence`, at the mean rate.

        That, so many `times`, less the `have` seconds that have been stood.
        """
        longest = LONGEST * self.question.soak
        return min(max(-times * math.log(1.0 - confidence) / self.rate() - have, 0.0), longest)

    def silence_missing(self, on: frozenset[str], confidence: float) -> float:
        """Seconds of silence with exactly `on` that are still missing; 0 when there is enough.

        Where crashes may be decided at boot only so much of each run counts, and it takes several boots. A
        crash with this set, were it another one, must be outweighed by as much silence again.
        """
        window = self.belief.boot
        runs = [o for o in self.seen if o.on == on]
        stood = math.fsum(min(o.seconds, window) for o in runs if not o.crashed)
        crashes = sum(o.crashed for o in runs)
        missing = self.seconds_until(confidence, stood, times=1 + crashes)
        return missing if missing > ENOUGH * self.question.soak else 0.0

    def soak(self, seconds: float) -> float:
        """As long, within what a trial may last."""
        return min(max(seconds, 0.05 * self.question.soak), self.longest)

    @property
    def longest(self) -> float:
        return min(LONGEST * self.question.soak, self.belief.window)


def spoken(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
