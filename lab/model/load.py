"""An SMB2 read load: what is asked for, and what it did."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LoadPlan:
    """An SMB2 read load. Seconds are of the lab's clock; None leaves a value to the profile.

    `seed` and the plan's other values decide every offset that is read: the same plan is the same load.
    """

    profile: str = "burst"
    seconds: float = 8.0
    seed: int = 0
    connections: int = 4
    in_flight: int | None = None  # READs in flight over all connections, where the profile has the most
    idle_seconds: float | None = None  # length of the profile's idle phases
    size: int | None = None  # bytes of one READ
    rate: float | None = None  # READs a second over all connections, at most
    verify_every: int = 16  # check one in so many answers; 1: all; 0: those of the set-up only
    keep_files: bool = True  # leave the large file on the share, for the next load


@dataclass(frozen=True)
class LoadPhase:
    """One stretch of a load's timeline. Seconds are from the first READ."""

    name: str
    start: float
    seconds: float
    sent: int
    answered: int
    failed: int
    in_flight: int  # the most


@dataclass(frozen=True)
class QueueSample:
    """The server's own count of one of its work queues, `after` seconds of load."""

    after: float
    queue: str  # the instance, as "SMB2 NonBlocking 0"
    active_threads: int
    available_threads: int
    queue_length: int


@dataclass(frozen=True)
class LoadReport:
    """What the read load did. READs sent = answered + failed + lost. `latency_ms`: percentiles 50, 95, 99."""

    profile: str
    seconds: float  # from the first READ to the last answer or the end of the plan
    reads_sent: int
    reads_answered: int
    bytes_read: int
    failed: tuple[tuple[str, int], ...] = ()  # (NTSTATUS name, count)
    latency_ms: tuple[float, float, float] = (0.0, 0.0, 0.0)
    target_died: bool = False
    died_after: float | None = None  # seconds from start to the last answer
    lost: int = 0  # READs whose connection ended before their answer
    short: int = 0  # answered with fewer bytes than were asked for
    pending: int = 0  # interim answers (STATUS_PENDING)
    credit_stalls: int = 0  # times that READs waited because the server gave no credit
    reconnects: int = 0
    verified: int = 0  # answers whose signature, or authenticated decryption, was checked
    transport: str = ""  # "SMB 3.1.1, signed with AES-128-GMAC"
    operations: tuple[tuple[str, int], ...] = ()  # what else was done: (name, count)
    phases: tuple[LoadPhase, ...] = ()
    queues: tuple[QueueSample, ...] = ()
    undelivered: str = ""  # why this load did not reach the server as planned; "" when it did
