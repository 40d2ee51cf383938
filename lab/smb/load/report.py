"""What a load has done, in progress and in the end."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from lab.model import LoadPhase, LoadReport, QueueSample
from lab.smb.load.tally import STEP, Tally
from lab.smb.ntstatus import status_name

MOST_STATUSES = 50
"""Kinds of failures that a report names; a hostile server can make up four thousand million."""


@dataclass(frozen=True)
class Progress:
    """Where a load is. `reads_per_second` is over the last quarter of a second."""

    seconds: float
    of_seconds: float
    phase: str
    reads_sent: int
    reads_answered: int
    reads_failed: int
    in_flight: int
    reads_per_second: float
    reconnects: int = 0

    def __str__(self) -> str:
        failed = f", {self.reads_failed} failed" if self.reads_failed else ""
        again = f", {self.reconnects} connections made again" if self.reconnects else ""
        return (
            f"{min(self.seconds, self.of_seconds):5.1f} of {self.of_seconds:g} s  {self.phase:<6} "
            f"{self.reads_per_second:6.0f} READ/s  {self.reads_answered} answered{failed}, "
            f"{self.in_flight} in flight{again}"
        )


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
            return round(step * STEP * 1e3, 3)
    raise AssertionError("share is more than 1")


def failures(tally: Tally) -> tuple[tuple[str, int], ...]:
    """Failed READs by the name of their NTSTATUS, the rarest of very many kinds together."""
    kinds = tally.failed.most_common()
    named = Counter({status_name(status): count for status, count in kinds[:MOST_STATUSES]})
    if rest := sum(count for _, count in kinds[MOST_STATUSES:]):
        named["others"] = rest
    return tuple(sorted(named.items()))


def build(
    profile: str,
    tally: Tally,
    *,
    start: float,
    ended: float,
    died: float | None,
    reconnects: int,
    transport: str,
    phases: tuple[LoadPhase, ...],
    queues: tuple[QueueSample, ...],
) -> LoadReport:
    """The report of a load. `start` is the time of its first READ and `ended` that of its end; `died` is that
    of the last sign of life of a target that died, on the same clock."""
    return LoadReport(
        profile=profile,
        seconds=max(0.0, (ended if died is None else died) - start),
        reads_sent=tally.sent,
        reads_answered=tally.answered,
        bytes_read=tally.bytes_read,
        failed=failures(tally),
        latency_ms=(
            percentile(tally.latencies, 0.50),
            percentile(tally.latencies, 0.95),
            percentile(tally.latencies, 0.99),
        ),
        target_died=died is not None,
        died_after=None if died is None else max(0.0, died - start),
        lost=tally.sent - tally.answered - tally.failures,
        short=tally.short,
        pending=tally.pending,
        credit_stalls=tally.credit_stalls,
        reconnects=reconnects,
        verified=tally.verified,
        transport=transport,
        operations=tuple(sorted(tally.operations.items())),
        phases=phases,
        queues=queues,
    )
