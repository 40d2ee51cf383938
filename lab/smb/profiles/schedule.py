"""A profile's phases placed in time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

from lab.smb.profiles.profile import Phase, Profile


@dataclass(frozen=True)
class Slot:
    """A phase placed in time: seconds from the start of the load."""

    index: int
    start: float
    end: float
    phase: Phase

    def in_flight(self, elapsed: float) -> int:
        """Requests in flight wanted at `elapsed`, over all connections."""
        low, high = self.phase.rises_from, self.phase.in_flight
        if low is None:
            return high
        part = min(1.0, max(0.0, (elapsed - self.start) / (self.end - self.start)))
        return round(low + (high - low) * part)


class Schedule:
    """The phases of a load of `seconds`, without gaps, in whole periods. Slots are made when asked for,
    as a load of days has very many.

    Whole periods, because a load that ended within a burst would leave the worker threads' end to the
    time after it. A period of growing idle phases is cut after as many of them as fit.
    """

    def __init__(self, profile: Profile, seconds: float) -> None:
        self.seconds, self.compound = seconds, profile.compound
        self._phases = _period(profile, seconds)
        ends = list(accumulate(phase.seconds for phase in self._phases))
        self._periods = max(1, round(seconds / ends[-1]))
        self._period = seconds / self._periods
        stretch = self._period / ends[-1]
        self._starts = [0.0, *(end * stretch for end in ends[:-1])]

    def __len__(self) -> int:
        return self._periods * len(self._phases)

    def __iter__(self) -> Iterator[Slot]:
        return (self.slot(index) for index in range(len(self)))

    def slot(self, index: int) -> Slot:
        return Slot(index, self._edge(index), self._edge(index + 1), self._phases[index % len(self._phases)])

    def at(self, elapsed: float) -> Slot:
        """The slot that holds `elapsed`; the first before the start, the last after the end."""
        period = min(self._periods - 1, max(0, int(elapsed / self._period)))
        inside = bisect_right(self._starts, elapsed - period * self._period) - 1
        index = period * len(self._phases) + max(0, inside)
        while index and elapsed < self._edge(index):  # a rounding error away from an edge
            index -= 1
        while index + 1 < len(self) and elapsed >= self._edge(index + 1):
            index += 1
        return self.slot(index)

    def active_seconds(self, elapsed: float) -> float:
        """Seconds of the first `elapsed` in which requests were wanted."""
        return self._summed(elapsed, [0.0 if phase.idle else 1.0 for phase in self._phases])

    def reads_wanted(self, elapsed: float) -> float | None:
        """READs that the first `elapsed` seconds ask for; None when a phase takes what comes."""
        active = [phase for phase in self._phases if not phase.idle]
        if any(phase.reads_per_second is None for phase in active):
            return None
        return self._summed(elapsed, [0.0 if phase.idle else phase.rate or 0.0 for phase in self._phases])

    def _summed(self, elapsed: float, a_second: list[float]) -> float:
        """The sum over the first `elapsed` seconds of what each phase gives a second."""
        if elapsed <= 0:
            return 0.0
        elapsed = min(elapsed, self.seconds)
        now = self.at(elapsed)
        whole, rest = divmod(now.index, len(self._phases))
        sums = [value * (self._edge(index + 1) - self._edge(index)) for index, value in enumerate(a_second)]
        return whole * sum(sums) + sum(sums[:rest]) + a_second[rest] * (elapsed - now.start)

    def _edge(self, index: int) -> float:
        if index >= len(self):
            return self.seconds
        period, inside = divmod(index, len(self._phases))
        return period * self._period + self._starts[inside]


def _period(profile: Profile, seconds: float) -> tuple[Phase, ...]:
    """One period's phases; with growing idle phases, as many rounds of them as fit into `seconds`."""
    if profile.idle_growth <= 1:
        return profile.phases
    phases: list[Phase] = []
    factor, used = 1.0, 0.0
    while True:
        now = tuple(_grown(phase, factor, profile.longest_idle) for phase in profile.phases)
        used += sum(phase.seconds for phase in now)
        if phases and used > seconds:
            return tuple(phases)
        phases += now
        if all(phase.seconds >= profile.longest_idle for phase in now if phase.idle):
            return tuple(phases)
        factor *= profile.idle_growth


def _grown(phase: Phase, factor: float, longest: float) -> Phase:
    return replace(phase, seconds=min(longest, phase.seconds * factor)) if phase.idle else phase
