"""Counts READs and CPU time of this process between two moments, and prints them."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.smb_peers.job import WARM_UP, Job


@dataclass(frozen=True)
class Measured:
    """CPU seconds are of the client's whole process, and of the server's processes (None: not taken)."""

    reads: int
    bytes: int
    seconds: float
    cpu_user: float
    cpu_system: float
    cpu_server: float | None
    transport: str


class Meter:
    """`start()` after the warm-up, `stop()` at the end; what they do themselves is not in the figures."""

    def __init__(self, job: Job, transport: str = "") -> None:
        self._job, self.transport = job, transport

    def start(self) -> None:
        self._server = _server_cpu(self._job.server)
        self._user, self._system = _own_cpu()
        self._began = time.perf_counter()

    def stop(self, reads: int, total: int) -> None:
        """`reads` READs with `total` bytes were answered since `start`: print them."""
        seconds = time.perf_counter() - self._began
        user, system = _own_cpu()
        server = _server_cpu(self._job.server) - self._server if self._job.server else None
        found = Measured(
            reads, total, seconds, user - self._user, system - self._system, server, self.transport
        )
        print(json.dumps(asdict(found)), flush=True)


def read_for_a_while(job: Job, lengths: Iterable[int], transport: str = "") -> None:
    """Draw from `lengths`, the length of each READ's answer as it comes; count after the warm-up."""
    answers = iter(lengths)
    until = time.perf_counter() + WARM_UP
    while time.perf_counter() < until:
        next(answers)
    meter = Meter(job, transport)
    meter.start()
    reads = total = 0
    until = time.perf_counter() + job.seconds
    while time.perf_counter() < until:
        total += next(answers)
        reads += 1
    meter.stop(reads, total)


def _own_cpu() -> tuple[float, float]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime, used.ru_stime


def _server_cpu(parent: int) -> float:
    """CPU seconds so far of a process and its children, to the nanosecond."""
    if not parent:
        return 0.0
    spent = 0
    for process in (parent, *_children(parent)):
        with suppress(OSError):
            for thread in Path(f"/proc/{process}/task").iterdir():
                spent += int((thread / "schedstat").read_text().split()[0])
    return spent / 1e9


def _children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The command's name, in parentheses, may hold anything.
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(stat.parent.name))
    return found
