"""The server's own work queues, looked at now and then while a load runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from lab.model import QueueSample

MOST_SAMPLES = 2000
LAST_LOOK = 5.0
"""Seconds that a look under way at the end of a load may still take."""

Look = Callable[[], Sequence[QueueSample]]


class QueueWatch:
    """Looks in a thread of its own, so that a slow or failing shell never touches the load."""

    def __init__(self, look: Look | None, elapsed: Callable[[], float], *, every: float) -> None:
        self._look, self._elapsed, self._every = look, elapsed, every
        self._rounds: list[list[QueueSample]] = []
        self._keep_every = 1  # one look in so many is kept
        self._looks = 0
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.failure = ""
        """Why the last look failed; "" when it did not."""

    def start(self) -> None:
        if self._look is not None:
            self._thread = threading.Thread(target=self._run, name="load-queues", daemon=True)
            self._thread.start()

    def stop(self, seconds: float = LAST_LOOK) -> tuple[QueueSample, ...]:
        """No more looks; what was seen. One under way has so many seconds left: a dead host may hold it."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(seconds)
        return tuple(sample for each in list(self._rounds) for sample in each)

    def _run(self) -> None:
        assert self._look is not None
        while not self._over.wait(self._every):
            after = self._elapsed()
            try:
                found = [replace(sample, after=after) for sample in self._look()]
            except Exception as error:  # whatever a shell raises: the load goes on without its samples
                self.failure = str(error) or type(error).__name__
                continue
            self.failure = ""
            if not self._over.is_set():
                self.take(found)

    def take(self, found: list[QueueSample]) -> None:
        """Keep one look's samples; when there are too many, every second look is let go."""
        self._looks += 1
        if (self._looks - 1) % self._keep_every:
            return
        self._rounds.append(found[:MOST_SAMPLES])
        while sum(map(len, self._rounds)) > MOST_SAMPLES and len(self._rounds) > 1:
            self._rounds = self._rounds[::2]
            self._keep_every *= 2
