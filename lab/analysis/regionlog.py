"""Arithmetic on the Enter/Leave Critical Region log: who never leaves, and who drowns the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lab.model import CriticalRegionEntry

FULL = 0.9
"""From this share of its capacity on, older entries may have been overwritten."""

MONOPOLY = 0.75
"""One driver with at least this share of a full log hides the others."""


@dataclass(frozen=True)
class Balance:
    """One driver's calls on one thread. `open_enters`: enters that no later leave closes;
    `extra_leaves`: leaves with no earlier enter in the log; `went_on`: the thread made further logged calls
    after its first open enter, so that it is not merely still inside."""

    thread: int
    image: str
    open_enters: int
    extra_leaves: int
    went_on: bool


def is_full(log: Sequence[CriticalRegionEntry], capacity: int) -> bool:
    """Whether entries may have been overwritten. A full log may begin with leaves whose enters are gone."""
    return capacity > 0 and len(log) >= FULL * capacity


def balances(log: Sequence[CriticalRegionEntry]) -> tuple[Balance, ...]:
    """Unbalanced (thread, driver) pairs of a log given newest first, in order of appearance in time.

    A driver's leave closes its own latest enter on that thread: pairs of different drivers nest, but a driver
    never leaves for another.
    """
    open_at: dict[tuple[int, str], list[int]] = {}
    extra: Counter[tuple[int, str]] = Counter()
    last_of_thread: dict[int, int] = {}
    for time, entry in enumerate(reversed(log)):
        key = (entry.thread, entry.caller)
        stack = open_at.setdefault(key, [])
        if entry.direction == "enter":
            stack.append(time)
        elif entry.direction == "leave":
            if stack:
                stack.pop()
            else:
                extra[key] += 1
        last_of_thread[entry.thread] = time
    return tuple(
        Balance(
            thread=key[0],
            image=key[1],
            open_enters=len(times),
            extra_leaves=extra[key],
            went_on=bool(times) and last_of_thread[key[0]] > times[0],
        )
        for key, times in open_at.items()
        if times or extra[key]
    )


def unpaired(log: Sequence[CriticalRegionEntry]) -> tuple[tuple[int, str, int], ...]:
    """(thread, driver, calls) of drivers with an odd number of calls, for a log that knows no direction.

    An odd number cannot be pairs, whichever of them are enters.
    """
    calls = Counter((entry.thread, entry.caller) for entry in log if entry.direction == "unknown")
    return tuple((thread, image, number) for (thread, image), number in calls.items() if image and number % 2)


def monopolist(log: Sequence[CriticalRegionEntry], capacity: int) -> tuple[str, int] | None:
    """(image, entries) of the driver that fills a full log, or None."""
    if not is_full(log, capacity):
        return None
    counts = Counter(entry.caller for entry in log if entry.caller)
    if not counts:
        return None
    image, count = counts.most_common(1)[0]
    return (image, count) if count >= MONOPOLY * len(log) else None
