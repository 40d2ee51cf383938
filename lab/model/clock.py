"""Time as a port, so that every wait can be tested and is named."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from lab.model.errors import TimedOut

T = TypeVar("T")


class Clock(Protocol):
    """Monotonic seconds, and sleeping."""

    def now(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def wait_until(
    poll: Callable[[], T | None],
    *,
    wait: str,
    seconds: float,
    clock: Clock,
    every: float = 0.5,
    last_seen: Callable[[], str] = lambda: "nothing",
) -> T:
    """Call `poll` until it returns something other than None, and return that.

    `wait` names the wait for the user (it is also the key that sets its time-out).
    Raises TimedOut with `last_seen()` after `seconds`. Errors of `poll` pass through.
    """
    deadline = clock.now() + seconds
    while True:
        found = poll()
        if found is not None:
            return found
        if clock.now() >= deadline:
            raise TimedOut(wait, seconds, last_seen())
        clock.sleep(min(every, max(0.0, deadline - clock.now())))
