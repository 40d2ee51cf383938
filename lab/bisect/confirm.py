"""The confirming runs: with only the culprit on it crashes; with all but the culprit on it stands."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from lab.bisect.belief import SYSTEM, Belief
from lab.bisect.greedy import soak_seconds
from lab.bisect.trials import Units, members, observation
from lab.model import Trial

CONFIDENCE = 0.95
"""How sure the silence without the culprit must be: a crash would have come with this probability."""


@dataclass(frozen=True)
class Confirmations:
    """The runs that confirm `culprit` or speak against it, as numbers of trials. Seconds are of load.

    `culprit` may be SYSTEM; then only `all_off` counts.
    """

    culprit: str
    alone: tuple[int, ...] = ()  # only the culprit on: crashed
    without: tuple[int, ...] = ()  # all but the culprit on: stood, since the last that did not
    against: tuple[int, ...] = ()  # all but the culprit on: crashed all the same
    all_off: tuple[int, ...] = ()  # no unit on: crashed
    stood: float = 0.0  # seconds of all `without` together
    needed: float = math.inf  # seconds that are convincing

    @property
    def complete(self) -> bool:
        if self.culprit == SYSTEM:
            return bool(self.all_off)
        return bool(self.alone) and self.stood >= self.needed

    @property
    def trials(self) -> tuple[int, ...]:
        """The trials that confirm, in their order."""
        numbers = self.all_off if self.culprit == SYSTEM else self.alone + self.without
        return tuple(sorted(set(numbers)))


def confirmations(
    trials: Iterable[Trial], units: Units, belief: Belief, culprit: str | None = None
) -> Confirmations:
    """What the trials so far confirm of `culprit` (None: the most probable). Runs already done count.

    A crash without the culprit does not forbid the verdict for ever, for another defect may have the
    same face; but the silence has to be shown anew, and the belief has seen the crash too.
    """
    named = members(units)
    who = belief.leader() if culprit is None else culprit
    others = frozenset(named) - {who}
    alone: list[int] = []
    without: list[int] = []
    against: list[int] = []
    all_off: list[int] = []
    stood = 0.0
    for trial in trials:
        seen = observation(trial, named)
        if seen is None:
            continue
        if seen.crashed and not seen.enabled:
            all_off.append(trial.number)
        if who == SYSTEM:
            continue
        if seen.crashed and seen.enabled == {who}:
            alone.append(trial.number)
        if seen.enabled == others and seen.crashed:
            against.append(trial.number)
            without, stood = [], 0.0
        elif seen.enabled == others:
            without.append(trial.number)
            stood += seen.seconds
    needed = math.inf if who == SYSTEM else soak_seconds(belief, others, CONFIDENCE)
    return Confirmations(who, tuple(alone), tuple(without), tuple(against), tuple(all_off), stood, needed)


def next_confirmation(belief: Belief, seen: Confirmations) -> frozenset[str] | None:
    """The units to leave on in the next confirming run; None when none is missing.

    Soak it for `soak_seconds(belief, that set)`; for the silence, `seen.needed - seen.stood` is left.
    """
    if seen.complete:
        return None
    if seen.culprit == SYSTEM:
        return frozenset()
    if not seen.alone:
        return frozenset({seen.culprit})
    if seen.stood < seen.needed:
        return frozenset(belief.units) - {seen.culprit}
    return None
