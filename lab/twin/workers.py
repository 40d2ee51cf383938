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

IDLE_EXIT = 15.0
"""Guest seconds after which an idle worker thread exits. Microsoft documents no value."""

THREADS_PER_CONNECTION = 2
MOST_THREADS_PER_PROCESSOR = 20
"""srv2's limit for each processor of a NUMA node (Windows Server 2016 and later)."""

_ACTIVE = 1.0  # guest seconds a connection counts as busy after a READ


@dataclass(frozen=True)
class Defect:
    """How the running culprit misbehaves in this boot.

    `checked`: its leak lies between Verifier's two looks at the APC disable count (I/O verification is
    on, and the culprit is on the path of the IoCallDriver). `logged`: its calls reach the region log.
    """

    image: str
    leak: float
    checked: bool
    logged: bool


@dataclass(frozen=True)
class StopRequest:
    """The kernel must stop now, on this thread."""

    stop: Stop
    thread: int
    apc_before: int
    apc_now: int


@dataclass(slots=True)
class _Worker:
    key: int
    used: float
    apc: int = 0


class Workers:
    """The worker threads of one boot. Not thread-safe: the machine's lock guards it.

    Times are guest seconds since 1970.
    """

    def __init__(self, defect: Defect | None, log: RegionLog, processors: int, random: Random) -> None:
        self._defect = defect
        self._log = log
        self._most = processors * MOST_THREADS_PER_PROCESSOR
        self._random = random
        self._workers: list[_Worker] = []
        self._next_key = 0x100
        self._turn = 0
        self._busy: dict[int, float] = {}  # connection -> guest time of its last READ
        self.reads = 0

    def __len__(self) -> int:
        return len(self._workers)

    def read(self, connection: int, now: float) -> StopRequest | None:
        """One READ of `connection` is served. A StopRequest means that it never gets its answer."""
        self.reads += 1
        self._busy[connection] = now
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
        dice = self._random.random()
        if dice >= 2 * defect.leak:
            return None
        return self._critical_region(worker, defect, leaks=dice < defect.leak)

    def _wanted(self, now: float) -> int:
        if len(self._busy) * THREADS_PER_CONNECTION > len(self._workers):
            self._busy = {c: t for c, t in self._busy.items() if now - t <= _ACTIVE}
        return min(self._most, max(1, len(self._busy) * THREADS_PER_CONNECTION))

    def _critical_region(self, worker: _Worker, defect: Defect, *, leaks: bool) -> StopRequest | None:
        """The rare path on which the culprit disables APCs; half the time it forgets to enable them."""
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

    def tick(self, now: float) -> StopRequest | None:
        """Let idle threads exit, longest idle first. A StopRequest when one could not."""
        while self._workers:
            oldest = min(self._workers, key=lambda worker: worker.used)
            if now - oldest.used < IDLE_EXIT:
                return None
            if oldest.apc != 0:
                return StopRequest(Stop.APC_PENDING_DURING_EXIT, oldest.key, 0, oldest.apc)
            self._workers.remove(oldest)
        return None
