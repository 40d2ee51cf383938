"""What one connection of a load is to do now, from the schedule of all of them."""

from __future__ import annotations

import math
from collections.abc import Callable

from lab.smb.load.engine import Step
from lab.smb.profiles import Schedule, Slot

RAMP_STEP = 0.05
"""Seconds between two changes of the READs in flight where they rise or fall."""

AFTERWARDS = 1.0


class LanePace:
    """The part of lane `index` of `of`; call it with the clock's time.

    All lanes begin a phase at the same moment of the clock, so a burst is released at once. A rate is kept
    by counting from the start of the phases that have it: READ number n of all lanes together goes at n /
    rate, lane after lane. `sent` tells how many READs this lane has sent so far.

    Where several READs go in one message, the lanes have whole messages in flight, and a message goes when
    the last of its READs may.
    """

    def __init__(
        self, schedule: Schedule, index: int, of: int, *, start: float, sent: Callable[[], int]
    ) -> None:
        self._schedule, self._index, self._of = schedule, index, of
        self._start, self._sent = start, sent
        self._slot: Slot | None = None
        self._since, self._sent_before = 0.0, 0

    def __call__(self, now: float) -> Step:
        elapsed = now - self._start
        if elapsed < 0:
            return Step(0, -elapsed, None)
        if elapsed >= self._schedule.seconds:
            return Step(0, AFTERWARDS, None)
        slot = self._slot_at(elapsed)
        compound = self._schedule.compound
        whole, rest = divmod(slot.in_flight(elapsed) // compound, self._of)
        in_flight = (whole + (1 if self._index < rest else 0)) * compound
        due = slot.end - elapsed
        if slot.phase.rises_from is not None:
            due = min(due, RAMP_STEP)
        rate = slot.phase.rate
        if rate is None or slot.phase.idle:
            return Step(in_flight, due, None)
        budget, wait = self._budget(elapsed, rate / self._of)
        return Step(in_flight, due if budget else min(due, wait), budget)

    def _slot_at(self, elapsed: float) -> Slot:
        slot = self._slot
        if slot is None or not slot.start <= elapsed < slot.end:
            now = self._schedule.at(elapsed)
            if slot is None or slot.phase.idle or slot.phase.rate != now.phase.rate:
                self._since, self._sent_before = now.start, self._sent()
            self._slot = slot = now
        return slot

    def _budget(self, elapsed: float, rate: float) -> tuple[int, float]:
        """How many READs this lane may send now, and the seconds until it may send the next message."""
        turn = self._index / self._of
        sent = self._sent() - self._sent_before
        allowed = math.floor((elapsed - self._since) * rate - turn) + 1
        compound = self._schedule.compound
        budget = max(0, allowed - sent) // compound * compound
        return budget, max(0.0, self._since + (sent + turn + compound - 1) / rate - elapsed)
