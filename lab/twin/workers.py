"""srv2's worker threads, and the defect: a READ that leaves APCs disabled on the thread that served it.

Threads are created while READs come in faster than the present ones take them, serve them in turn, and
exit when idle. A thread that exits with a non-zero APC disable count stops the system (0x20). When I/O
verification checks each IoCallDriver, the stop comes at the READ itself (0xC4/0xC5).
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from lab.twin.crash import Stop
from lab.twin.regionlog import RegionLog
from lab.twin.untraced import Fuse

IDLE_EXIT = 15.0
"""Guest seconds after which an idle worker thread exits. Microsoft documents no value."""

MOST_THREADS_PER_PROCESSOR = 20
"""srv2's limit for each processor of a NUMA node (Windows Server 2016 and later)."""

_ACTIVE = 1.0  # guest seconds a connection counts as busy after a READ
_WINDOW = 90.0  # guest seconds for which the culprit is either dormant or not
_AGAIN = 0.02  # a thread that has leaked leaks so much more rarely again: the count is -1, seldom less
_BALANCED = 0.25  # for each leak, so many critical regions of the culprit that are left as they should be


@dataclass(frozen=True)
class Defect:
    """How the running culprit misbehaves in this boot.

    `checked`: its leak lies between Verifier's two looks at the APC disable count (I/O verification is
    on, and the culprit is on the path of the IoCallDriver). `logged`: its calls reach the region log.
    `dormant` is the share of time in which the conditions of the defect are not met at all.
    """

    image: str
    leak: float
    checked: bool
    logged: bool
    dormant: float = 0.0


@dataclass(frozen=True)
class StopRequest:
    """The kernel must stop now, on this thread."""

    stop: Stop
    thread: int
    apc_before: int
    apc_now: int


@dataclass(frozen=True)
class QueueCounts:
    """What the server counts of its work queue: threads at work and waiting for work, READs that wait."""

    active: int
    available: int
    length: int
    clients: int


@dataclass(slots=True)
class _Worker:
    key: int
    used: float
    apc: int = 0


class Workers:
    """The worker threads of one boot. Not thread-safe: the machine's lock guards it.

    Times are guest seconds since 1970.
    """

    def __init__(
        self,
        defect: Defect | Fuse | None,
        log: RegionLog,
        processors: int,
        random: Random,
        started: float = 0.0,
    ) -> None:
        self._defect = defect
        self._started = started
        self._windows = random.getrandbits(64)
        self._log = log
        self._most = processors * MOST_THREADS_PER_PROCESSOR
        self._random = random
        self._workers: list[_Worker] = []
        self._next_key = 0x100
        self._turn = 0
        self._busy: dict[int, tuple[float, int]] = {}  # connection -> time of its last READ, READs in flight

    def __len__(self) -> int:
        return len(self._workers)

    def read(self, connection: int, waiting: int, now: float) -> StopRequest | None:
        """One READ of `connection` is served while `waiting` more of it wait.

        A StopRequest means that it never gets its answer.
        """
        self._busy[connection] = (now, waiting + 1)
        workers = self._workers
        if len(workers) < self._wanted(now):
            workers.append(_Worker(self._next_key, now))
            self._next_key += 1
        self._turn = (self._turn + 1) % len(workers)
        worker = workers[self._turn]
        worker.used = now
        defect = self._defect
        if defect is None:
            return None
        if isinstance(defect, Fuse):
            defect.read(connection, now)
            return None
        leak = defect.leak if worker.apc == 0 else defect.leak * _AGAIN
        dice = self._random.random()
        if dice >= leak * (1 + _BALANCED) or self._dormant(defect, now):
            return None
        return self._critical_region(worker, defect, leaks=dice < leak)

    def counts(self, now: float) -> QueueCounts:
        """The queue as it is at that time: every READ in flight has a worker or waits for one."""
        reads = self._in_flight(now)
        active = min(reads, len(self._workers))
        return QueueCounts(active, len(self._workers) - active, reads - active, len(self._busy))

    def _in_flight(self, now: float) -> int:
        """READs of all connections that were busy a moment ago."""
        self._busy = {c: seen for c, seen in self._busy.items() if now - seen[0] <= _ACTIVE}
        return sum(depth for _, depth in self._busy.values())

    def _wanted(self, now: float) -> int:
        """A thread for every READ in flight, within the limit. Looked at only while that is not reached."""
        if len(self._workers) >= self._most:
            return self._most
        return min(self._most, self._in_flight(now))

    def _dormant(self, defect: Defect, now: float) -> bool:
        window = int((now - self._started) / _WINDOW)
        return Random(f"{self._windows}/{window}").random() < defect.dormant

    def _critical_region(self, worker: _Worker, defect: Defect, *, leaks: bool) -> StopRequest | None:
        """The rare path on which the culprit disables APCs; mostly it forgets to enable them again."""
        if defect.logged:
            self._log.enter(worker.key, defect.image)
        if not leaks:
            if defect.logged:
                self._log.leave(worker.key, defect.image)
            return None
        worker.apc -= 1
        if defect.checked:
            return StopRequest(Stop.DISPATCH_CHANGED_APC, worker.key, worker.apc + 1, worker.apc)
        return None

    def ended(self, connection: int, now: float) -> None:
        """That connection is no more."""
        self._busy.pop(connection, None)
        if isinstance(self._defect, Fuse):
            self._defect.ended(connection, now)

    def tick(self, now: float) -> StopRequest | None:
        """Let idle threads exit, longest idle first. A StopRequest when one could not, or may not."""
        if isinstance(self._defect, Fuse) and self._defect.burnt(now):
            return StopRequest(Stop.APC_PENDING_DURING_EXIT, self._next_key, 0, -1)
        while self._workers:
            oldest = min(self._workers, key=lambda worker: worker.used)
            if now - oldest.used < IDLE_EXIT:
                return None
            if oldest.apc != 0:
                return StopRequest(Stop.APC_PENDING_DURING_EXIT, oldest.key, 0, oldest.apc)
            self._workers.remove(oldest)
        return None
