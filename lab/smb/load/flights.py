"""Which requests are in flight: each may be answered once."""

from __future__ import annotations

import re

from lab.smb.errors import Malformed
from lab.smb.wire import Command

SAMPLE = 17
"""One request in so many has its latency taken. A prime, because batches are mostly of even lengths: so every
place in a batch has its turn."""

FARTHEST = 1 << 20
"""So many later requests may be sent while one has no answer yet. Servers allow a window of 8192 or so."""

_READ = int(Command.READ)
_PRUNE = 1 << 16
_IN_FLIGHT = re.compile(rb"[^\0]")


class Flights:
    """Requests by serial number, from 0 on as they are sent: a byte for each since the oldest in flight. It
    is the request's command, none of which is 0 here; 0 once it is answered."""

    def __init__(self) -> None:
        self._marks = bytearray()
        self._low = 0  # serial of the first mark
        self._sent: dict[int, float] = {}

    def launch(self, commands: bytes, now: float) -> None:
        """The next requests are on their way: a byte for each."""
        first = self._low + len(self._marks)
        self._marks += commands
        for serial in range(first + -first % SAMPLE, first + len(commands), SAMPLE):
            self._sent[serial] = now
        if len(self._marks) > _PRUNE:
            self._prune()

    def _prune(self) -> None:
        oldest = _IN_FLIGHT.search(self._marks)
        done = oldest.start() if oldest else len(self._marks)
        del oldest  # it holds on to the marks, which cannot shrink meanwhile
        del self._marks[:done]
        self._low += done
        if len(self._marks) > FARTHEST:
            raise Malformed(f"a request is not answered while {FARTHEST} later ones were")

    def land_run(self, first: int, count: int) -> bool:
        """Whether `count` READs from `first` on were all in flight; they are so no longer."""
        at = first - self._low
        if at < 0 or self._marks.count(_READ, at, at + count) != count:
            return False
        self._marks[at : at + count] = bytes(count)
        return True

    def command(self, serial: int) -> int:
        """What it was; 0 when no request of that number is in flight."""
        at = serial - self._low
        return self._marks[at] if 0 <= at < len(self._marks) else 0

    def land(self, serial: int) -> None:
        """A request in flight is so no longer."""
        self._marks[serial - self._low] = 0

    def count(self, command: int) -> int:
        """How many requests of that kind are in flight."""
        return self._marks.count(command)

    def sampled(self, first: int, count: int) -> list[float]:
        """When those of `count` requests from `first` on that are in the sample were sent; each once."""
        take = self._sent.pop
        return [take(serial) for serial in range(first + -first % SAMPLE, first + count, SAMPLE)]

    def newest(self, count: int) -> list[int]:
        """Serials of the last `count` READs in flight, the latest first."""
        found: list[int] = []
        at = len(self._marks)
        while len(found) < count and (at := self._marks.rfind(_READ, 0, at)) >= 0:
            found.append(self._low + at)
        return found
