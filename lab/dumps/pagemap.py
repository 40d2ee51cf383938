"""Which physical pages a dump holds, and where in the file."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import accumulate, pairwise, repeat
from typing import Protocol

from lab.dumps.blocks import Block, disjoint
from lab.dumps.header import PAGE
from lab.dumps.layouts import BitmapLayout
from lab.dumps.source import Source
from lab.model import DumpError

MAX_PFN = 1 << 40  # 52 bits of physical address
_CHUNK = 4096  # bytes of bitmap counted together
_SLICE = 1 << 18  # bytes of bitmap read together
_EMPTY = bytes(_SLICE)
_CACHED_CHUNKS = 1024
_MAX_OVERLAPPING = 1 << 14  # runs that are sorted out when they overlap


class PageMap(Protocol):
    """Page frame number -> file offset. `limit` is above every frame number the dump knows of."""

    pages: int  # how many pages the file is meant to hold
    limit: int
    end: int  # file offset behind the last page

    def offset_of(self, frame: int) -> int | None:
        """File offset of a page frame; None when the dump does not hold it."""


class RunMap:
    """Runs of pages packed one after the other (types 1, 8, 9, 0xA)."""

    def __init__(self, runs: Iterable[tuple[int, int]], data: int) -> None:
        """`runs` are (first frame, pages) in file order; `data` is the offset of the first page.

        A page that is listed twice is where it is listed first. DumpError when a frame is not possible.
        """
        placed = []  # (first frame, pages, pages of the file before it)
        before = 0
        for first, pages in runs:
            if pages:
                placed.append((first, pages, before))
                before += pages
        self.limit = max((first + pages for first, pages, _ in placed), default=0)
        if self.limit > MAX_PFN:
            raise DumpError(f"the dump's memory runs are damaged: frame {self.limit - 1:#x} is not possible")
        placed.sort()
        if any(one[0] + one[1] > other[0] for one, other in pairwise(placed)):
            placed = _without_overlaps(placed)
        self.pages = before
        self.end = data + self.pages * PAGE
        self._data = data
        self._runs = placed
        self._firsts = [first for first, _, _ in placed]

    def offset_of(self, frame: int) -> int | None:
        index = bisect_right(self._firsts, frame) - 1
        if index < 0:
            return None
        first, pages, before = self._runs[index]
        inside = frame - first
        return self._data + (before + inside) * PAGE if inside < pages else None


def _without_overlaps(runs: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """The same pages, each once. Only a damaged file needs it; it must not take its time for that."""
    if len(runs) > _MAX_OVERLAPPING:
        raise DumpError("the dump's memory runs are damaged: they overlap")
    in_file_order = sorted(runs, key=lambda run: run[2])
    return [(b.address, b.size, b.offset) for b in disjoint([Block(*run) for run in in_file_order])]


class BitmapMap:
    """One bit a frame; pages of the set bits follow in order (types 2, 5, 6).

    The set bits before every 4 KiB of the bitmap are counted once (2 MiB of bitmap, 64 GiB of memory: 4 ms;
    where nothing is set, hardly more than it takes to read it); a look-up counts within one such chunk.
    """

    def __init__(self, source: Source, layout: BitmapLayout) -> None:
        self._source = source
        self._layout = layout
        self.limit = layout.bits
        self._before = list(accumulate(self._counts(), initial=0))
        self.pages = self._before[-1]
        self.end = layout.data + self.pages * PAGE
        self._cache: OrderedDict[int, bytes] = OrderedDict()

    def _counts(self) -> Iterator[int]:
        for start in range(0, self._layout.bytes, _SLICE):
            part = self._read(start, _SLICE)
            if part == _EMPTY:
                yield from repeat(0, _SLICE // _CHUNK)
                continue
            for at in range(0, len(part), _CHUNK):
                yield int.from_bytes(part[at : at + _CHUNK], "little").bit_count()

    def _read(self, start: int, size: int) -> bytes:
        """Bytes of the bitmap; surplus bits of its last byte are cleared."""
        layout = self._layout
        data = self._source.read(layout.bitmap + start, min(size, layout.bytes - start))
        surplus = -layout.bits % 8
        if surplus and start + len(data) == layout.bytes:
            data = data[:-1] + bytes([data[-1] & (0xFF >> surplus)])
        return data

    def offset_of(self, frame: int) -> int | None:
        if not 0 <= frame < self._layout.bits:
            return None
        chunk, bit = divmod(frame, _CHUNK * 8)
        data = self._cache.get(chunk)
        if data is None:
            data = self._cache[chunk] = self._read(chunk * _CHUNK, _CHUNK)
            if len(self._cache) > _CACHED_CHUNKS:
                self._cache.popitem(last=False)
        byte, shift = divmod(bit, 8)
        if byte >= len(data) or not data[byte] >> shift & 1:
            return None
        inside = int.from_bytes(data[:byte], "little").bit_count()
        inside += (data[byte] & ((1 << shift) - 1)).bit_count()
        return self._layout.data + (self._before[chunk] + inside) * PAGE
