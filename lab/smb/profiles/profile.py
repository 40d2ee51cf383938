"""What a load looks like in time, as data."""

from __future__ import annotations

import bisect
from dataclasses import dataclass

from lab.model import ConfigurationError

MOST_CONNECTIONS = 64
MOST_IN_FLIGHT = 4096


@dataclass(frozen=True)
class Phase:
    """A stretch of a period. `in_flight` is over all connections; 0 means that nothing is read.

    `seconds` is its length at the profile's own period; the period is stretched a little so that
    whole periods fill a plan. `reads_per_second` caps the rate over all connections.
    """

    name: str
    seconds: float
    in_flight: int = 0
    reads_per_second: float | None = None


@dataclass(frozen=True)
class Profile:
    """A named load: its phases make one period, repeated until the plan's seconds are over.

    `unbuffered` asks the server to read past its cache (SMB2_READFLAG_READ_UNBUFFERED, MS-SMB2
    2.2.19) where the dialect knows that, so that a READ waits for storage and holds its worker.
    """

    name: str
    summary: str
    phases: tuple[Phase, ...]
    unbuffered: bool = False

    @property
    def period(self) -> float:
        return sum(phase.seconds for phase in self.phases)


@dataclass(frozen=True)
class Slot:
    """A phase placed in time: seconds from the start of the load."""

    start: float
    end: float
    phase: Phase


def schedule(profile: Profile, seconds: float) -> tuple[Slot, ...]:
    """The phases of a load of `seconds`, without gaps, in whole periods.

    Whole periods, because a load that ended within a burst would leave the worker threads' end to
    the time after it.
    """
    periods = max(1, round(seconds / profile.period))
    stretch = seconds / (periods * profile.period)
    slots: list[Slot] = []
    at = 0.0
    for _ in range(periods):
        for phase in profile.phases:
            end = at + phase.seconds * stretch
            slots.append(Slot(at, end, phase))
            at = end
    last = slots[-1]
    slots[-1] = Slot(last.start, seconds, last.phase)
    return tuple(slots)


def slot_at(slots: tuple[Slot, ...], elapsed: float) -> Slot:
    """The slot that holds `elapsed`; the last one after the end."""
    return slots[min(bisect.bisect_right(slots, elapsed, key=lambda slot: slot.end), len(slots) - 1)]


def check(profile: Profile, connections: int, seconds: float) -> None:
    """Raise ConfigurationError when a load would exceed the caps."""
    if not 1 <= connections <= MOST_CONNECTIONS:
        raise ConfigurationError(
            f"a load needs 1 to {MOST_CONNECTIONS} connections, not {connections}",
            help="Change the number of connections of the load.",
        )
    if not seconds > 0:
        raise ConfigurationError(
            f"a load of {seconds:g} seconds reads nothing", help="Give the load more than 0 seconds."
        )
    most = max(phase.in_flight for phase in profile.phases)
    if not 1 <= most <= MOST_IN_FLIGHT:
        raise ConfigurationError(
            f"profile '{profile.name}' wants {most} READs in flight; 1 to {MOST_IN_FLIGHT} are allowed",
            help="Change 'in_flight' in the profile.",
        )
