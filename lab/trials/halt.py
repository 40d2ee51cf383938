"""How a trial that runs in a thread of its own is ended early."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from lab.model import LabError, SystemClock

TOGETHER = 1.0
"""Seconds within which a second signal is the same Ctrl-C, sent by the terminal and by a wrapper both."""


class Halted(BaseException):
    """A wait was ended by `Halt.ask`. No error: nothing that handles errors is to hold it up."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass
class Halt:
    """Whether the work on a host is to end, and why; `event` is set when it is. With `goes_on` the case is
    taken up again later. `load` is set when at least the load of the running trial is to end.
    """

    why: str = ""
    goes_on: bool = False
    event: threading.Event = field(default_factory=threading.Event)
    load: threading.Event = field(default_factory=threading.Event)
    _enough: str = ""

    def ask(self, why: str, *, goes_on: bool = False) -> None:
        """The load of a running trial ends, and what waits for anything else raises Halted."""
        if not self.asked:
            self.why, self.goes_on = why, goes_on
        self.event.set()
        self.load.set()

    def end_load(self, why: str) -> None:
        """The load of the running trial ends, and the trial with it; the host goes on with others."""
        self._enough = why
        self.load.set()

    def load_begins(self) -> None:
        """From now on `end_load` means this trial's load."""
        self._enough = ""
        self.load.clear()
        if self.asked:
            self.load.set()

    @property
    def asked(self) -> bool:
        return self.event.is_set()

    @property
    def cut(self) -> str:
        """Why the load was to end; "" when it was not."""
        return self.why or self._enough


class HaltingClock(SystemClock):
    """The machine's clock, whose sleeps end in Halted once it is asked for."""

    def __init__(self, halt: Halt) -> None:
        self._halt = halt

    def sleep(self, seconds: float) -> None:
        if self._halt.event.wait(seconds):
            raise Halted(self._halt.why)


def interruption(error: BaseException) -> str:
    """Why what was under way ended early, in a few words."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, Halted):
        return error.why
    return f"interrupted by {error.message if isinstance(error, LabError) else type(error).__name__}"


@contextmanager
def interrupts() -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM interrupt this block until the event is set; from then on nothing hears them.

    Whoever puts a host back sets it: to be stopped half-way there would leave the host changed, and its lease
    free. Outside the main thread, where no signal arrives, nothing is done.
    """
    deaf, last = threading.Event(), float("-inf")
    if threading.current_thread() is not threading.main_thread():
        yield deaf
        return
    found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in found.items() if callable(handler)}

    def hear(number: int, frame: FrameType | None) -> None:
        nonlocal last
        again, last = time.monotonic() - last < TOGETHER, time.monotonic()
        if not again and not deaf.is_set():
            before[signal.Signals(number)](number, frame)

    for number in before:
        signal.signal(number, hear)
    try:
        yield deaf
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
