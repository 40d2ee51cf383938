"""A load's timeline: what was sent and answered in each of its phases, in a bounded number of entries."""

from __future__ import annotations

from typing import NamedTuple

from lab.model import LoadPhase

MOST_PHASES = 400


class Counts(NamedTuple):
    """How far a load has come."""

    sent: int
    answered: int
    failed: int


class Timeline:
    """Entries are made one a phase. When there are too many, each two neighbours become one, and from then
    on an entry takes in twice as many phases: a load of days has its picture, too."""

    def __init__(self) -> None:
        self._entries: list[LoadPhase] = []
        self._each = 1  # phases of one entry
        self._held: list[LoadPhase] = []  # phases of the entry that is not full yet
        self._last = Counts(0, 0, 0)

    def add(self, name: str, start: float, end: float, counts: Counts, in_flight: int) -> None:
        """The phase `name` is over; `counts` are those of the load up to `end`, `in_flight` its most."""
        gained = Counts(*(now - before for now, before in zip(counts, self._last, strict=True)))
        self._last = counts
        self._held.append(LoadPhase(name, start, end - start, *gained, in_flight))
        if len(self._held) == self._each:
            self._entries.append(_merged(self._held))
            self._held = []
        if len(self._entries) >= MOST_PHASES:
            pairs = range(0, len(self._entries), 2)
            self._entries = [_merged(self._entries[at : at + 2]) for at in pairs]
            self._each *= 2

    def phases(self) -> tuple[LoadPhase, ...]:
        """All entries, at most `MOST_PHASES` of them; without gaps, in order."""
        return (*self._entries, *([_merged(self._held)] if self._held else []))


def _merged(phases: list[LoadPhase]) -> LoadPhase:
    if len(phases) == 1:
        return phases[0]
    names = dict.fromkeys(name for phase in phases for name in phase.name.split(" + "))
    start, last = phases[0].start, phases[-1]
    return LoadPhase(
        " + ".join(names),
        start,
        last.start + last.seconds - start,
        sum(phase.sent for phase in phases),
        sum(phase.answered for phase in phases),
        sum(phase.failed for phase in phases),
        max(phase.in_flight for phase in phases),
    )
