"""Run a read load: open the connections, start them together, watch the target, count."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lab.model import Clock, LoadPlan, LoadReport
from lab.smb.legacy.datafile import prepare
from lab.smb.legacy.lane import TICK, Lane, Run
from lab.smb.legacy.tally import percentile, total
from lab.smb.profiles import Schedule, find_profile, shaped
from lab.smb.target import SmbTarget

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 1.0
KNOCK_SECONDS = 0.5
PROGRESS_EVERY = 0.25


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

    def __str__(self) -> str:
        failed = f", {self.reads_failed} failed" if self.reads_failed else ""
        return (
            f"{min(self.seconds, self.of_seconds):5.1f} of {self.of_seconds:g} s  {self.phase:<6} "
            f"{self.reads_per_second:6.0f} READ/s  {self.reads_answered} answered{failed}, "
            f"{self.in_flight} in flight"
        )


def run_load(
    target: SmbTarget,
    plan: LoadPlan,
    *,
    clock: Clock,
    on_progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
) -> LoadReport:
    """Read from `target` as `plan` says, and report exact counts.

    Ends when the plan's seconds are over, when `stop` is set, or within 2 s of the target's death:
    a lost connection that cannot be made again, all connections lost together, or silence on all
    connections while not even a TCP connection can be made. An error status is counted by its name
    and the load goes on. However it ends, files are closed and sessions logged off.

    Raises ConfigurationError for an unknown profile or a plan beyond the caps, and the errors of
    `lab.smb.errors` when the load cannot be started. A death before the first READ is such an error;
    a death after it is not an error but `target_died` in the report.
    """
    profile = shaped(find_profile(plan.profile), plan)
    prepare(target, seconds=CONNECT_SECONDS)
    run = Run(
        target=target,
        profile=profile,
        slots=Schedule(profile, plan.seconds),
        seconds=plan.seconds,
        connections=plan.connections,
        seed=plan.seed,
        clock=clock,
    )
    lanes = [Lane(run, index) for index in range(plan.connections)]
    try:
        _in_parallel([lambda lane=lane: lane.open(CONNECT_SECONDS) for lane in lanes])  # type: ignore[misc]
        ended = _fly(run, lanes, on_progress, stop)
        _last_look(run, lanes)
    finally:
        run.over.set()
        _in_parallel([lane.close for lane in lanes])
    if run.errors:
        raise run.errors[0]
    return _report(plan, run, lanes, ended)


def _in_parallel(calls: Sequence[Callable[[], None]]) -> None:
    """Make all calls, up to 16 at a time; raises the first error when all have ended."""
    with ThreadPoolExecutor(max_workers=16) as pool:
        futures = [pool.submit(call) for call in calls]
    for future in futures:
        future.result()


def _fly(
    run: Run,
    lanes: Sequence[Lane],
    on_progress: Callable[[Progress], None] | None,
    stop: threading.Event | None,
) -> float:
    """Run all lanes to their end; returns the time at which the load itself ended."""
    threads = [threading.Thread(target=lane.fly, name=f"load-{lane.index}", daemon=True) for lane in lanes]
    run.start = run.clock.now()
    watch = _Watch(run, lanes)
    for thread in threads:
        thread.start()
    try:
        while not run.over.wait(TICK):
            now = run.clock.now()
            if now - run.start >= run.seconds or (stop is not None and stop.is_set()):
                break
            watch.look(now)
            if on_progress is not None:
                watch.tell(now, on_progress)
        return min(run.clock.now(), run.start + run.seconds)
    finally:
        run.over.set()
        for thread in threads:
            thread.join()
        if on_progress is not None:
            watch.tell(run.clock.now(), on_progress, last=True)


def _last_look(run: Run, lanes: Sequence[Lane]) -> None:
    """See whether the target died in the very last moment, when no lane had to connect again."""
    lost = [lane for lane in lanes if not lane.alive]
    owing = [lane for lane in lanes if lane.flights is not None and len(lane.flights)]
    if (lost or owing) and (len(lost) == len(lanes) or not _takes_connections(run.target)):
        run.died.set()


def _takes_connections(target: SmbTarget) -> bool:
    try:
        socket.create_connection((target.host, target.port), timeout=KNOCK_SECONDS).close()
    except OSError:
        return False
    return True


class _Watch:
    """Looks at all lanes from outside: is the target silent, and how far are we?"""

    def __init__(self, run: Run, lanes: Sequence[Lane]) -> None:
        self._run, self._lanes = run, lanes
        self._knocked = run.start
        self._told, self._told_answered = run.start, 0

    def look(self, now: float) -> None:
        """Declare the target dead when it owes answers, gives none, and takes no connection."""
        waiting = [lane.flights for lane in self._lanes if lane.flights is not None and len(lane.flights)]
        if not waiting or now - max(flights.heard for flights in waiting) < SILENCE_SECONDS:
            return
        if now - self._knocked < SILENCE_SECONDS:
            return
        self._knocked = now
        if not _takes_connections(self._run.target):
            self._run.declare_dead()

    def tell(self, now: float, on_progress: Callable[[Progress], None], *, last: bool = False) -> None:
        passed = now - self._told
        if passed < PROGRESS_EVERY and not last:
            return
        sent = sum(lane.tally.sent for lane in self._lanes)
        answered = sum(lane.tally.answered for lane in self._lanes)
        elapsed = now - self._run.start
        on_progress(
            Progress(
                seconds=elapsed,
                of_seconds=self._run.seconds,
                phase=self._run.slots.at(elapsed).phase.name,
                reads_sent=sent,
                reads_answered=answered,
                reads_failed=sum(lane.tally.failures for lane in self._lanes),
                in_flight=sum(len(lane.flights) for lane in self._lanes if lane.flights is not None),
                reads_per_second=(answered - self._told_answered) / passed if passed > 0 else 0.0,
            )
        )
        self._told, self._told_answered = now, answered


def _report(plan: LoadPlan, run: Run, lanes: Sequence[Lane], ended: float) -> LoadReport:
    tally = total(lane.tally for lane in lanes)
    died = run.died.is_set()
    start = tally.first_sent if tally.first_sent is not None else run.start
    last = tally.last_answer if tally.last_answer is not None else start
    return LoadReport(
        profile=plan.profile,
        seconds=max(0.0, (last if died else max(last, ended)) - start),
        reads_sent=tally.sent,
        reads_answered=tally.answered,
        bytes_read=tally.bytes_read,
        failed=tuple(sorted(tally.failed.items())),
        latency_ms=(
            percentile(tally.latencies, 0.50),
            percentile(tally.latencies, 0.95),
            percentile(tally.latencies, 0.99),
        ),
        target_died=died,
        died_after=max(0.0, last - start) if died else None,
    )
