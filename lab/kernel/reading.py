"""What a reader of kernel objects stood on: gathered while it reads, kept for the report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lab.model import Reading


class Used:
    """Facts and checks of one reader, while it reads."""

    def __init__(self, reader: str) -> None:
        self.reader = reader
        self._facts: dict[str, None] = {}
        self._checks: dict[str, None] = {}

    def fact(self, text: str) -> None:
        """A name, offset or size of the build that is relied on."""
        self._facts[text] = None

    def check(self, text: str) -> None:
        """An invariant that was tested and that holds."""
        self._checks[text] = None

    @property
    def reading(self) -> Reading:
        return Reading(self.reader, tuple(self._facts), tuple(self._checks))


class Readings:
    """All readings of one kernel, in the order in which they began."""

    def __init__(self) -> None:
        self._all: dict[str, Used] = {}
        self._open: list[Used] = []

    @contextmanager
    def begin(self, reader: str) -> Iterator[Used]:
        """Facts and checks go to `reader` until the end of the block; readers may nest."""
        used = self._all.setdefault(reader, Used(reader))
        self._open.append(used)
        try:
            yield used
        finally:
            self._open.pop()

    def fact(self, text: str) -> None:
        """A fact for the innermost reader at work; nothing when none is."""
        if self._open:
            self._open[-1].fact(text)

    @property
    def done(self) -> tuple[Reading, ...]:
        """Those that used or checked anything."""
        found = (used.reading for used in self._all.values())
        return tuple(each for each in found if each.facts or each.checks)
