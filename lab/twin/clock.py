"""The guest's own clock, which may run faster than the lab's."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class GuestClock:
    """Guest time: starts at the moment of creation and runs `speed` guest seconds a real second."""

    def __init__(self, speed: float) -> None:
        self.speed = speed
        self._real = time.monotonic()
        self._epoch = time.time()

    def seconds(self) -> float:
        """Guest seconds since 1970, UTC."""
        return self._epoch + (time.monotonic() - self._real) * self.speed

    def real(self, guest_seconds: float) -> float:
        """How many real seconds `guest_seconds` last."""
        return guest_seconds / self.speed


def iso(seconds: float) -> str:
    """UTC, ISO 8601 with milliseconds and `Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
