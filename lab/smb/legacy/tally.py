"""What a load has counted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from lab.smb.legacy.flight import Landing

LATENCY_STEP = 1e-5
"""Latencies are counted in steps of 0.01 ms: exact enough, and of bounded size on a load of days."""


@dataclass
class Tally:
    """The counts of one connection's thread; read by others, written by that thread alone.

    sent = answered + failed + lost or still in flight.
    """

    sent: int = 0
    answered: int = 0
    bytes_read: int = 0
    failures: int = 0  # the sum of `failed`, which another thread must not walk
    failed: Counter[str] = field(default_factory=Counter)
    latencies: Counter[int] = field(default_factory=Counter)
    first_sent: float | None = None
    last_answer: float | None = None

    def sent_at(self, when: float) -> None:
        self.sent += 1
        if self.first_sent is None:
            self.first_sent = when

    def landed(self, landing: Landing) -> None:
        """Count the final response of a READ. An error status counts as failed, not as answered."""
        self.last_answer = landing.flight.arrived
        if landing.status:
            self.failures += 1
            self.failed[landing.status] += 1
        else:
            self.answered += 1
            self.bytes_read += len(landing.data)
            self.latencies[round(landing.seconds / LATENCY_STEP)] += 1


def total(tallies: Iterable[Tally]) -> Tally:
    """The sum of all. For after the threads have ended."""
    whole = Tally()
    firsts: list[float] = []
    lasts: list[float] = []
    for tally in tallies:
        whole.sent += tally.sent
        whole.answered += tally.answered
        whole.bytes_read += tally.bytes_read
        whole.failures += tally.failures
        whole.failed.update(tally.failed)
        whole.latencies.update(tally.latencies)
        firsts += [tally.first_sent] if tally.first_sent is not None else []
        lasts += [tally.last_answer] if tally.last_answer is not None else []
    whole.first_sent = min(firsts, default=None)
    whole.last_answer = max(lasts, default=None)
    return whole


def percentile(latencies: Counter[int], share: float) -> float:
    """The smallest latency, in milliseconds, that at least `share` (0..1] of all do not exceed."""
    count = latencies.total()
    if not count:
        return 0.0
    needed = math.ceil(share * count)
    seen = 0
    for step in sorted(latencies):
        seen += latencies[step]
        if seen >= needed:
            return round(step * LATENCY_STEP * 1e3, 3)
    raise AssertionError("share is more than 1")
