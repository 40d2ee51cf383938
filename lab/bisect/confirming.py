"""The runs that confirm the leader, which anybody understands: without it no crash, with it alone the crash.

They are trials like all others: what they show goes into the belief, and when it contradicts the suspicion
the search goes on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

from lab.bisect.belief import Belief
from lab.bisect.hypotheses import SYSTEM, Hypothesis, Kind
from lab.bisect.standing import ENOUGH, Standing
from lab.bisect.steps import Purpose, Try

CERTAIN = 0.99
"""Probability at which an answer is given, after its confirming runs."""
ACCUSED = 0.95
"""Probability at which the confirming runs begin, while crashes come soon; else at `CERTAIN`."""
ACCUSED_RATE = 0.69
"""Crashes per usual soak from which on `ACCUSED` is enough."""
CLEAR_OF_SYSTEM = 8e-4
"""A unit is named only when the probability that it is none of them is below this."""
CLEAR_OF_PARTS = 4e-3
"""A pair or triple is named only when the probability that fewer of its units are enough is below this:
nearly all wrong answers were pairs, of the culprit and an innocent one. Found by simulation."""
SILENCE = 0.95
"""How probable a crash must have been for its absence to confirm."""
SETTLING = 6.0
"""Mean times to a crash that a confirming silence may be drawn out to, when that settles the answer."""
PART = 0.7
"""The least part of a silence, in usual soaks, that is given to one of several hosts."""
TOGETHER = 2
"""Hosts that wait for the same crash when there is nothing else to do: it comes sooner on one of them."""


def clear(belief: Belief, top: Hypothesis) -> bool:
    """Whether neither the system nor fewer of these units could still be it."""
    parts: list[Hypothesis] = []
    if top.kind in (Kind.PAIR, Kind.TRIPLE):
        parts += [Hypothesis(Kind.SINGLE, (unit,)) for unit in top.units]
    if top.kind is Kind.TRIPLE:
        parts += [Hypothesis(Kind.PAIR, pair) for pair in combinations(top.units, 2)]
    fewer = math.fsum(belief.probability(part) for part in parts)
    return belief.system <= CLEAR_OF_SYSTEM and fewer <= CLEAR_OF_PARTS


class Step(NamedTuple):
    """One of the confirming runs: what is on, and whether that is the leader's units or all others."""

    purpose: Purpose
    on: frozenset[str]


class Confirming:
    """What confirms the leader of a belief, and what of it is still missing."""

    def __init__(self, now: Standing) -> None:
        self._now = now
        self._question, self._top = now.question, now.top
        self.steps = self._steps() if now.top != SYSTEM else []

    def _steps(self) -> list[Step]:
        units, everything = self._question.units, self._now.everything
        if self._top.kind is Kind.EITHER:
            only = [units.close_on({u}) for u in self._top.units]
            without = [units.close_off(everything - set(self._top.units))]
        else:
            only = [units.close_on(self._top.units)]
            without = [units.close_off(everything - {u}) for u in self._top.units]
        return [Step(Purpose.ONLY, on) for on in only] + [Step(Purpose.WITHOUT, on) for on in without]

    @property
    def possible(self) -> list[Step]:
        """The steps whose sets boot."""
        return [step for step in self.steps if step.on not in self._question.refused]

    @property
    def due(self) -> bool:
        """Whether the leader is probable enough for its confirming runs to come first."""
        soon = self._now.rate() * self._question.soak >= ACCUSED_RATE
        return self._top != SYSTEM and self._now.probability >= (ACCUSED if soon else CERTAIN)

    def done(self, step: Step) -> tuple[int, ...] | None:
        """The trials that did a step; None: it is not done."""
        runs = [o for o in self._now.seen if o.on == step.on]
        if step.purpose is Purpose.ONLY:
            crashes = tuple(o.trial for o in runs if o.crashed)
            return crashes if crashes or step.on == self._now.everything else None
        if self._now.silence_missing(step.on, SILENCE) > 0:
            return None
        return tuple(o.trial for o in runs if not o.crashed)

    def runs(self) -> Iterator[Try]:
        """Those that are still to be made and not under way."""
        for step in self.possible:
            run = self._run(step) if self.done(step) is None else None
            if run is not None:
                yield run

    def longer(self) -> Try | None:
        """Confirmed, and yet not certain: one longer silence, where that is all that is missing."""
        for step in self.possible:
            if step.purpose is Purpose.WITHOUT:
                seconds = self._shared(step.on, self._settling(step.on, 0.0))
                if seconds > 0:
                    why = f"once more without {self._off(step)}: its silence would make the answer certain"
                    return Try(step.on, self._now.soak(seconds), step.purpose, why)
        return None

    def again(self) -> Try | None:
        """A crash that is waited for, on one more host."""
        most = min(TOGETHER, self._now.hosts)
        for step in self.possible:
            under_way = sum(r.on == step.on for r in self._now.running)
            if step.purpose is Purpose.ONLY and 0 < under_way < most and self.done(step) is None:
                return self._only(step, "the crash that is waited for may come sooner on one host more")
        return None

    # ---- one run

    def _run(self, step: Step) -> Try | None:
        """None when enough of it is under way."""
        if step.purpose is Purpose.ONLY:
            if any(r.on == step.on for r in self._now.running):
                return None
            names = " and ".join(self._top.units)
            return self._only(step, f"only {names}: if that is enough, the crash comes back")
        silence = self._settling(step.on, self._now.silence_missing(step.on, SILENCE))
        missing = self._shared(step.on, silence)
        if missing <= 0:
            return None
        why = f"without {self._off(step)}: if that is the cause, the host now stands"
        return Try(step.on, self._now.soak(min(missing, self._now.belief.boot)), step.purpose, why)

    def _only(self, step: Step, why: str) -> Try:
        return Try(step.on, self._now.soak(self._now.seconds_until(SILENCE)), step.purpose, why)

    def _off(self, step: Step) -> str:
        return ", ".join(sorted(self._now.everything - step.on))

    def _shared(self, on: frozenset[str], seconds: float) -> float:
        """This host's part of a silence; 0 when those under way are all that is missing."""
        now = self._now
        parts = sum(r.on == on for r in now.running)
        still = seconds - math.fsum(r.planned - r.stood for r in now.running if r.on == on)
        if still <= ENOUGH * self._question.soak or parts >= now.hosts:
            return 0.0
        return min(still, max(seconds / now.hosts, PART * self._question.soak))

    def _settling(self, on: frozenset[str], seconds: float) -> float:
        """At least `seconds`; longer when a little more silence would make the answer certain."""

        def settled(more: float) -> bool:
            belief = self._now.belief.observe(on, more, False)
            return belief.probability(self._top) >= CERTAIN and clear(belief, self._top)

        longest = max(seconds, SETTLING / self._now.rate())
        if settled(seconds) or not settled(longest):
            return seconds
        low, high = seconds, longest
        for _ in range(6):
            middle = (low + high) / 2
            low, high = (low, middle) if settled(middle) else (middle, high)
        return high
