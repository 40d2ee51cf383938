"""Loads for the tests of what is said of them."""

from __future__ import annotations

from dataclasses import replace

from lab.model import LoadPhase, LoadPlan, LoadReport, QueueSample
from lab.report.load_run import LoadRun

PLAN = LoadPlan(profile="wide-burst", seconds=12.0, seed=7, connections=16, idle_seconds=2.0)


def phases(until: float = 12.0) -> tuple[LoadPhase, ...]:
    """A burst of 1 s and an idle phase of 2 s, again and again."""
    found = []
    for number in range(4):
        burst = LoadPhase("burst", 3.0 * number, 1.0, 40_000 + number, 39_990, 10, 640)
        found += [burst, LoadPhase("idle", 3.0 * number + 1, 2.0, 0, number, 0, 0)]
    return tuple(phase for phase in found if phase.start < until)


def queue_samples(until: float = 12.0) -> tuple[QueueSample, ...]:
    """Two queues, looked at twice a second: threads come with the bursts and go later."""
    found = []
    for look in range(24):
        after = 0.25 + look * 0.5
        busy = after % 3 < 1
        active, length = (40, 212 + look) if busy else (0, 0)
        found.append(QueueSample(after, "SMB2 NonBlocking 0", active, 40 - active, length))
        found.append(QueueSample(after, "SMB2 Blocking 0", int(busy), 1, 0))
    return tuple(sample for sample in found if sample.after < until)


def delivered() -> LoadRun:
    sent = sum(phase.sent for phase in phases())
    report = LoadReport(
        profile="wide-burst",
        seconds=12.0,
        reads_sent=sent,
        reads_answered=sent - 40,
        bytes_read=(sent - 40) * 4096,
        failed=(("STATUS_INSUFFICIENT_RESOURCES", 36),),
        latency_ms=(0.81, 4.2, 19.6),
        lost=4,
        pending=31,
        credit_stalls=3,
        verified=9998,
        transport="SMB 3.1.1, signed with AES-128-GMAC",
        phases=phases(),
        queues=queue_samples(),
    )
    return LoadRun(
        "srv1",
        PLAN,
        report,
        summary="640 unbuffered READs in flight for 1 s, then silence",
        exercises="Hypothesis: worker threads are made, run Smb2ExecuteRead and exit in the silence.",
        started="2026-03-02T09:31:12Z",
    )


def died() -> LoadRun:
    run = delivered()
    report = replace(
        run.report,
        seconds=6.42,
        target_died=True,
        died_after=6.42,
        phases=phases(6.42),
        queues=queue_samples(6.0),
        reads_answered=run.report.reads_answered - 80_000,
        reads_sent=run.report.reads_sent - 80_000,
    )
    return replace(run, report=report)


def undelivered() -> LoadRun:
    run = delivered()
    why = "12 of 40,000 READs were answered; 39,988 × STATUS_ACCESS_DENIED"
    report = replace(
        run.report,
        reads_sent=40_000,
        reads_answered=12,
        failed=(("STATUS_ACCESS_DENIED", 39_988),),
        lost=0,
        queues=(),
        undelivered=why,
    )
    return replace(run, report=report, queues_missing="the guest cannot be reached")


def interrupted() -> LoadRun:
    return replace(delivered(), interrupted=True, plan=replace(PLAN, seconds=3600.0))


def nothing() -> LoadRun:
    """Ended before its first READ."""
    return LoadRun("srv1", PLAN, LoadReport("wide-burst", 0.0, 0, 0, 0, undelivered="no READ was sent"))


def long() -> LoadRun:
    """A load of days: far more phases and looks than there is room for."""
    run = delivered()
    many = tuple(LoadPhase("burst", 2.0 * n, 2.0, 100 + n, 100 + n, 0, n % 700) for n in range(5000))
    looks = tuple(QueueSample(2.0 * n, "q", n % 41, 0, n % 7) for n in range(5000))
    return replace(run, report=replace(run.report, seconds=10_000.0, phases=many, queues=looks))
