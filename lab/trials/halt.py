"""How a trial that runs in a thread of its own is ended early."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from lab.model import SystemClock


class Halted(BaseException):
    """A wait was ended by `Halt.ask`. No error: nothing that handles errors is to hold it up."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass
class Halt:
    """Whether the work on a host is to end, and why; `event` is set when it is."""

    why: str = ""
    event: threading.Event = field(default_factory=threading.Event)

    def ask(self, why: str) -> None:
        """The load of a running trial ends, and what waits for anything else raises Halted."""
        self.why = self.why or why
        self.event.set()

    @property
    def asked(self) -> bool:
        return self.event.is_set()


class HaltingClock(SystemClock):
    """The machine's clock, whose sleeps end in Halted once it is asked for."""

    def __init__(self, halt: Halt) -> None:
        self._halt = halt

    def sleep(self, seconds: float) -> None:
        if self._halt.event.wait(seconds):
            raise Halted(self._halt.why)
