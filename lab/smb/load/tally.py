"""What a lane counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

STEP = 1e-5
"""Seconds of one step of the latencies."""


class Tally:
    """The counts of one lane. Its thread alone writes; any thread may read, or `total` them, at any time.

    READs sent = answered + failures + lost + those still in flight. `answered` are the successes, those with
    fewer bytes than asked for (`short`) among them. `failed` counts final errors by NTSTATUS. `pending` are
    interim answers; `credit_stalls` the times that READs had to wait for credits. `verified` are answers
    whose signature, or whose sealed frame's tag, was checked. `operations` is all else, by name.

    `latencies` counts a sample of READs by time in steps of 10 µs: from the moment the request was handed to
    the socket to the moment its answer was taken from it. A lane that gathers answers before it wakes adds up
    to its patience to them (see `waiting.py`); they describe the load, not the server's best.
    """

    __slots__ = (
        "answered",
        "bytes_read",
        "credit_stalls",
        "failed",
        "first_sent",
        "last_answer",
        "latencies",
        "lost",
        "operations",
        "pending",
        "sent",
        "short",
        "verified",
    )

    def __init__(self) -> None:
        self.sent = self.answered = self.bytes_read = self.short = self.pending = 0
        self.lost = self.credit_stalls = self.verified = 0
        self.failed: Counter[int] = Counter()
        self.latencies: Counter[int] = Counter()
        self.operations: Counter[str] = Counter()
        self.first_sent: float | None = None
        self.last_answer: float | None = None

    @property
    def failures(self) -> int:
        """READs answered with an error."""
        return sum(dict(self.failed).values())


def total(tallies: Iterable[Tally]) -> Tally:
    """The sum: a snapshot, also while lanes are counting."""
    out = Tally()
    for each in tallies:
        for name in (
            "sent",
            "answered",
            "bytes_read",
            "short",
            "pending",
            "lost",
            "credit_stalls",
            "verified",
        ):
            setattr(out, name, getattr(out, name) + getattr(each, name))
        # A dict of a dict is one step for other threads. Counter.update would meet one that changes, and so,
        # now and then, would tuple(items): each pair that it makes may start the garbage collector.
        for name in ("failed", "latencies", "operations"):
            counter = getattr(out, name)
            for key, count in dict(getattr(each, name)).items():
                counter[key] += count
        firsts = [when for when in (out.first_sent, each.first_sent) if when is not None]
        lasts = [when for when in (out.last_answer, each.last_answer) if when is not None]
        out.first_sent, out.last_answer = min(firsts, default=None), max(lasts, default=None)
    return out
