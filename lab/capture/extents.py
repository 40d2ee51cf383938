"""Which bytes of a file: a set of ranges."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

Range = tuple[int, int]
"""First byte, and the byte behind the last."""


class Extents:
    """Ranges in order; they neither overlap nor touch. Not for two threads at once."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.total = 0

    def __iter__(self) -> Iterator[Range]:
        return iter(zip(self._starts, self._ends, strict=True))

    def add(self, start: int, end: int) -> None:
        if start >= end:
            return
        first, last = bisect_left(self._ends, start), bisect_right(self._starts, end)
        if first < last:
            start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
        self._replace(first, last, [(start, end)])

    def remove(self, start: int, end: int) -> None:
        if start >= end:
            return
        first, last = bisect_right(self._ends, start), bisect_left(self._starts, end)
        rest = []
        if first < last:
            rest = [(self._starts[first], start), (end, self._ends[last - 1])]
        self._replace(first, last, [(low, high) for low, high in rest if low < high])

    def run_from(self, at: int) -> int:
        """Where the range that holds byte `at` ends; `at` when none holds it."""
        index = bisect_right(self._starts, at) - 1
        return max(at, self._ends[index]) if index >= 0 else at

    def gaps(self, start: int, end: int) -> Iterator[Range]:
        """The ranges between `start` and `end` that are not in here, in order."""
        while (at := self.run_from(start)) < end:
            index = bisect_right(self._starts, at)
            start = min(end, self._starts[index]) if index < len(self._starts) else end
            yield at, start

    def _replace(self, first: int, last: int, ranges: list[Range]) -> None:
        self.total -= sum(self._ends[first:last]) - sum(self._starts[first:last])
        self._starts[first:last] = [start for start, _ in ranges]
        self._ends[first:last] = [end for _, end in ranges]
        self.total += sum(end - start for start, end in ranges)
