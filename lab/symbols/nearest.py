"""The closest name at or below an address, for tables of tens of thousands of names."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

_LABELS = ("??_C@", "$$", "__real@", "__xmm@", "__ymm@")
"""What the compiler calls strings, constants and its own marks: never the name of code."""


class Nearest:
    """Addresses in order and, for each, its best name: a plain one before a decorated one."""

    def __init__(self, names: Iterable[tuple[str, int]]) -> None:
        best: dict[int, str] = {}
        for name, address in names:
            if name.startswith(_LABELS):
                continue
            held = best.setdefault(address, name)
            if held is not name and _rank(name) < _rank(held):
                best[address] = name
        self._addresses = sorted(best)
        self._best = best

    def find(self, address: int) -> tuple[str, int] | None:
        """(name, distance), or None below the first name."""
        index = bisect_right(self._addresses, address) - 1
        if index < 0:
            return None
        at = self._addresses[index]
        return self._best[at], address - at


def in_order(fields: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """Fields by their offsets, those of one offset as they were."""
    return tuple(sorted(fields, key=lambda field: field[1]))


def _rank(name: str) -> tuple[bool, str]:
    return name.startswith("?"), name
