"""Driver Verifier's log of critical regions: the last 128 enters and leaves that came through its thunks."""

from __future__ import annotations

from collections import deque
from random import Random

from lab.twin.crash import RegionLogEntry

CAPACITY = 128
"""Entries in the log ("There are up to 0x80 entries in the log")."""

_NOISE_THREADS = (0x11, 0x12)


class RegionLog:
    """Not thread-safe: the machine's lock guards it. `noise` names the image that fills the log, or ""."""

    def __init__(self, noise: str, random: Random) -> None:
        self._entries: deque[RegionLogEntry] = deque(maxlen=CAPACITY)
        self._noise = noise
        self._random = random

    def enter(self, thread: int, image: str) -> None:
        self._entries.append(RegionLogEntry(thread, "enter", image))

    def leave(self, thread: int, image: str) -> None:
        self._entries.append(RegionLogEntry(thread, "leave", image))

    def snapshot(self) -> tuple[RegionLogEntry, ...]:
        """Oldest first. A noisy driver overwrites the whole log many times a second."""
        if not self._noise:
            return tuple(self._entries)
        entries: list[RegionLogEntry] = []
        while len(entries) < CAPACITY:
            thread = self._random.choice(_NOISE_THREADS)
            entries.append(RegionLogEntry(thread, "enter", self._noise))
            entries.append(RegionLogEntry(thread, "leave", self._noise))
        return tuple(entries[:CAPACITY])
