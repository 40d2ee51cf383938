"""Which requests are in flight: each may be answered once."""

from __future__ import annotations

from lab.smb.errors import Malformed

READ, ECHO = 1, 2
"""Marks of requests in flight."""

SAMPLE = 17
"""One READ in so many has its latency taken. A prime: batches are mostly of even lengths, and so every place
in a batch has its turn."""

FARTHEST = 1 << 20
"""So many later requests may be sent while one has no answer yet. Servers allow a window of 8192 or so."""

_PRUNE = 1 << 16


class Flights:
    """Requests by serial number, from 0 on as they are sent: a byte for each since the oldest in flight."""

    def __init__(self) -> None:
        self._marks = bytearray()
        self._low = 0  # serial of the first mark
        self._sent: dict[int, float] = {}

    def launch(self, count: int, now: float, mark: int = READ) -> None:
        """The next `count` requests are on their way."""
        first = self._low + len(self._marks)
        self._marks += mark.to_bytes(1, "little") * count
        if mark == READ:
            for serial in range(first + -first % SAMPLE, first + count, SAMPLE):
                self._sent[serial] = now
        if len(self._marks) > _PRUNE:
            self._prune()

    def _prune(self) -> None:
        found = [at for at in (self._marks.find(READ), self._marks.find(ECHO)) if at >= 0]
        done = min(found, default=len(self._marks))
        del self._marks[:done]
        self._low += done
        if len(self._marks) > FARTHEST:
            raise Malformed(f"a request is not answered while {FARTHEST} later ones were")

    def land_run(self, first: int, count: int) -> bool:
        """Whether `count` READs from `first` on were all in flight; they are so no longer."""
        at = first - self._low
        if at < 0 or self._marks.count(READ, at, at + count) != count:
            return False
        self._marks[at : at + count] = bytes(count)
        return True

    def mark(self, serial: int) -> int:
        """READ or ECHO; 0 when that request is not in flight."""
        at = serial - self._low
        return self._marks[at] if 0 <= at < len(self._marks) else 0

    def land(self, serial: int) -> int:
        """Its mark, as `mark` gives it; it is in flight no longer."""
        mark = self.mark(serial)
        if mark:
            self._marks[serial - self._low] = 0
        return mark

    def sampled(self, first: int, count: int) -> list[float]:
        """When those of `count` READs from `first` on that are in the sample were sent; each once."""
        take = self._sent.pop
        return [take(serial) for serial in range(first + -first % SAMPLE, first + count, SAMPLE)]

    def newest(self, count: int) -> list[int]:
        """Serials of the last `count` READs in flight, the latest first."""
        found: list[int] = []
        at = len(self._marks)
        while len(found) < count and (at := self._marks.rfind(READ, 0, at)) >= 0:
            found.append(self._low + at)
        return found
