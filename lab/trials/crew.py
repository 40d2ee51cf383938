"""Work on several hosts side by side, one job a host at a time."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Done:
    """A job that ended: with what it returned, or with the error that it raised."""

    host: str
    result: object = None
    error: BaseException | None = None


class Crew(Protocol):
    """Runs jobs beside each other."""

    def begin(self, host: str, job: Callable[[], object]) -> None:
        """Begin a job on a host that has none."""
        ...

    def wait(self, seconds: float) -> Done | None:
        """The next job that ends, None when none does within `seconds`."""
        ...

    def now(self) -> float:
        """Monotonic seconds."""
        ...


class Threads:
    """A thread for each job, in the context of whoever begins it: a scheduler knows its task by that."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._done: queue.SimpleQueue[Done] = queue.SimpleQueue()
        self.now = now

    def begin(self, host: str, job: Callable[[], object]) -> None:
        context = contextvars.copy_context()

        def work() -> None:
            try:
                self._done.put(Done(host, context.run(job)))
            except BaseException as error:  # whoever waits decides what it means
                self._done.put(Done(host, error=error))

        threading.Thread(target=work, name=f"bisect-{host}").start()

    def wait(self, seconds: float) -> Done | None:
        try:
            return self._done.get(timeout=seconds)
        except queue.Empty:
            return None
