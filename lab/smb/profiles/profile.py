"""What a load looks like in time, as data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Work(StrEnum):
    """What a connection does again and again."""

    READS = "reads"  # READs of one large file that stays open
    FILES = "files"  # CREATE, READ and CLOSE of one of many small files, in one compound
    SESSIONS = "sessions"  # connect, log on, one READ, log off


class Disturbance(StrEnum):
    """What is done beside the READs, on connections of its own."""

    CANCEL = "cancel"  # READs that are cancelled as soon as they are sent
    BREAK = "oplock break"  # a file opened with an oplock, then again by another connection
    DISCONNECT = "disconnect"  # a connection closed with READs in flight, and made again


@dataclass(frozen=True)
class Phase:
    """A stretch of a period. `in_flight` is over all connections; 0 means that nothing is read.

    `seconds` is its length at the profile's own period; the period is stretched a little so that whole
    periods fill a plan. With `rises_from`, the READs in flight go evenly from there to `in_flight`.
    `reads_per_second` is the rate that the phase wants over all connections; `at_most` caps the rate of a
    phase that takes what comes.
    """

    name: str
    seconds: float
    in_flight: int = 0
    rises_from: int | None = None
    reads_per_second: float | None = None
    at_most: float | None = None

    @property
    def rate(self) -> float | None:
        """READs a second that may be sent; None for no limit."""
        return min((r for r in (self.reads_per_second, self.at_most) if r is not None), default=None)

    @property
    def idle(self) -> bool:
        return not self.in_flight and not self.rises_from

    @property
    def most(self) -> int:
        """The most requests in flight."""
        return max(self.in_flight, self.rises_from or 0)


@dataclass(frozen=True)
class Profile:
    """A named load: its phases make one period, repeated until the plan's seconds are over.

    `exercises` says which path of the server the profile is meant for. Nobody outside Microsoft has
    documented when srv2 makes and ends its worker threads: where it speaks of them, it is a hypothesis.

    `unbuffered` asks the server to read past its cache (SMB2_READFLAG_READ_UNBUFFERED, MS-SMB2 2.2.19)
    where the dialect knows that, so that a READ waits for storage and holds its worker.
    With `compound` above 1, READs go to the wire in whole messages of so many; `in_flight` and all else count
    READs, and what is less than a message waits.
    `idle_growth` above 1 makes each idle phase that many times longer than the one before, up to
    `longest_idle` seconds; then it begins anew.
    """

    name: str
    summary: str
    exercises: str
    phases: tuple[Phase, ...]
    work: Work = Work.READS
    size: int = 4096  # bytes of one READ
    unbuffered: bool = False
    compound: int = 1  # READs in one message, unrelated to each other (MS-SMB2 3.2.4.1.4)
    file_bytes: int = 4 << 20  # of the file that is read
    files: int = 0  # how many small files Work.FILES goes through
    idle_growth: float = 1.0
    longest_idle: float = 600.0
    disturbances: tuple[tuple[Disturbance, float], ...] = ()  # what, and every how many seconds

    @property
    def most(self) -> int:
        """The most requests in flight over all connections."""
        return max(phase.most for phase in self.phases)

    @property
    def file_set_bytes(self) -> int:
        """Bytes that the load's files take on the share."""
        return self.files * self.size if self.work is Work.FILES else self.file_bytes
