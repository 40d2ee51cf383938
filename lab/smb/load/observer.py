"""Watches a load go by: its timeline, and its progress for whoever looks on."""

from __future__ import annotations

from collections.abc import Callable

from lab.model import LoadPhase
from lab.smb.load.company import Company
from lab.smb.load.report import Progress
from lab.smb.load.timeline import Counts, Timeline
from lab.smb.profiles import Schedule

PROGRESS_EVERY = 0.25


class Observer:
    """Call `look` often with the seconds of load, and `end` when its threads have ended."""

    def __init__(
        self, company: Company, schedule: Schedule, on_progress: Callable[[Progress], None] | None
    ) -> None:
        self._company, self._schedule, self._on_progress = company, schedule, on_progress
        self._timeline = Timeline()
        self._slot = schedule.at(0.0)
        self._most_in_flight = 0
        self._told, self._told_answered = 0.0, 0

    def look(self, elapsed: float) -> float:
        """Returns the seconds until the next phase."""
        slot = self._schedule.at(elapsed)
        if slot.index != self._slot.index:
            self._close(slot.start)
            self._slot = slot
        else:  # what is in flight when a phase begins is the last one's
            self._most_in_flight = max(self._most_in_flight, self._in_flight())
        if elapsed - self._told >= PROGRESS_EVERY:
            self._tell(elapsed)
        return slot.end - elapsed

    def end(self, elapsed: float) -> tuple[LoadPhase, ...]:
        """The load is over; the whole timeline."""
        self._close(max(elapsed, self._slot.start))
        self._tell(elapsed)
        return self._timeline.phases()

    def _close(self, end: float) -> None:
        self._timeline.add(self._slot.phase.name, self._slot.start, end, self._counts(), self._most_in_flight)
        self._most_in_flight = 0

    def _counts(self) -> Counts:
        tallies = [tally for place in self._company.places for tally in place.tallies()]
        return Counts(
            sum(tally.sent for tally in tallies),
            sum(tally.answered for tally in tallies),
            sum(tally.failures for tally in tallies),
        )

    def _in_flight(self) -> int:
        return sum(place.in_flight for place in self._company.places)

    def _tell(self, elapsed: float) -> None:
        if self._on_progress is None:
            return
        counts, passed = self._counts(), elapsed - self._told
        self._on_progress(
            Progress(
                seconds=max(0.0, elapsed),
                of_seconds=self._schedule.seconds,
                phase=self._slot.phase.name,
                reads_sent=counts.sent,
                reads_answered=counts.answered,
                reads_failed=counts.failed,
                in_flight=self._in_flight(),
                reads_per_second=(counts.answered - self._told_answered) / passed if passed > 0 else 0.0,
                reconnects=self._company.reconnects,
            )
        )
        self._told, self._told_answered = elapsed, counts.answered
