"""Which physical pages a dump holds, and where in the file."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from lab.dumps.header import HEADER_SIZE, PAGE, SUMMARY
from lab.dumps.memory import NotInDump
from lab.dumps.source import Source
from lab.model import DumpError

MAX_PFN = 1 << 40  # 52 bits of physical address
_MAX_BITS = 1 << 31  # a bitmap for 8 TiB; what is larger is damage
_CHUNK = 4096  # bytes of bitmap counted together
_MAX_RUNS = 1 << 17  # of an RDMP dump; real ones have some hundreds


class PageMap(Protocol):
    """Page frame number -> file offset. `limit` is above every frame number the dump knows of."""

    pages: int  # how many pages the dump says it holds
    limit: int
    end: int  # file offset behind the last page

    def offset_of(self, frame: int) -> int | None: ...


@dataclass(frozen=True)
class _Run:
    first: int
    pages: int
    offset: int


class RunMap:
    """Runs of pages packed one after the other (types 1, 8, 9, 0xA)."""

    def __init__(self, runs: list[tuple[int, int]], data: int) -> None:
        """`runs` are (first frame, pages) in file order; `data` is the offset of the first page."""
        placed: list[_Run] = []
        offset = data
        for first, pages in runs:
            if pages <= 0:
                continue
            if first + pages > MAX_PFN:
                raise DumpError(f"the dump's memory runs are damaged: frame {first:#x} is not possible")
            placed.append(_Run(first, pages, offset))
            offset += pages * PAGE
        self.end = offset
        self.pages = sum(run.pages for run in placed)
        self._runs = sorted(placed, key=lambda run: run.first)
        self._firsts = [run.first for run in self._runs]
        self.limit = max((run.first + run.pages for run in placed), default=0)

    def offset_of(self, frame: int) -> int | None:
        index = bisect_right(self._firsts, frame) - 1
        if index < 0:
            return None
        run = self._runs[index]
        inside = frame - run.first
        return run.offset + inside * PAGE if inside < run.pages else None


class BitmapMap:
    """One bit a frame; pages of the set bits follow in order (types 2, 5, 6)."""

    def __init__(self, source: Source, layout: BitmapLayout) -> None:
        self._source = source
        self._layout = layout
        self.limit = layout.bits
        self._ranks = [0]  # set bits before each chunk
        for chunk in range(layout.chunks):
            self._ranks.append(self._ranks[-1] + int.from_bytes(self._read(chunk), "little").bit_count())
        self.pages = self._ranks[-1]
        self.end = layout.data + self.pages * PAGE
        self._cache: OrderedDict[int, bytes] = OrderedDict()

    def _read(self, chunk: int) -> bytes:
        """The bytes of one chunk; surplus bits of the last byte are cleared."""
        layout = self._layout
        size = min(_CHUNK, layout.bytes - chunk * _CHUNK)
        data = self._source.read(layout.bitmap + chunk * _CHUNK, size)
        surplus = -layout.bits % 8
        if surplus and chunk == layout.chunks - 1 and len(data) == size:
            data = data[:-1] + bytes([data[-1] & (0xFF >> surplus)])
        return data

    def offset_of(self, frame: int) -> int | None:
        if not 0 <= frame < self._layout.bits:
            return None
        chunk, bit = divmod(frame, _CHUNK * 8)
        data = self._cache.get(chunk)
        if data is None:
            data = self._cache[chunk] = self._read(chunk)
            if len(self._cache) > 1024:
                self._cache.popitem(last=False)
        byte, shift = divmod(bit, 8)
        if byte >= len(data) or not data[byte] >> shift & 1:
            return None
        before = (
            int.from_bytes(data[:byte], "little").bit_count() + (data[byte] & (1 << shift) - 1).bit_count()
        )
        return self._layout.data + (self._ranks[chunk] + before) * PAGE


@dataclass(frozen=True)
class BitmapLayout:
    """Where bitmap and pages of a bitmap dump lie, from its second header."""

    bitmap: int  # file offset of the bitmap
    bits: int
    pages: int  # set bits, as the header counts them
    data: int  # file offset of the first page

    @property
    def bytes(self) -> int:
        return (self.bits + 7) // 8

    @property
    def chunks(self) -> int:
        return (self.bytes + _CHUNK - 1) // _CHUNK

    @property
    def sensible(self) -> bool:
        return (
            0 < self.bits <= _MAX_BITS
            and 0 < self.pages <= self.bits
            and self.bitmap + self.bytes <= self.data <= self.bitmap + self.bytes + (1 << 24)
        )


def bitmap_layouts(start: bytes, dump_type: int) -> list[BitmapLayout]:
    """The sensible readings of the second header, best first. `start`: the file's first 0x2038 bytes or more.

    Type 2 has 32-bit fields, types 5 and 6 have 64-bit ones; both are tried, because what the file
    says of itself by its fields is worth more than its type number.
    """
    if len(start) < HEADER_SIZE + 0x38 or start[0x2000:0x2008] not in (b"SDMPDUMP", b"FDMPDUMP"):
        return []
    size32, bits32, pages32, again32 = struct.unpack_from("<4I", start, 0x200C)
    size64, pages64, bits64 = struct.unpack_from("<3Q", start, 0x2020)
    narrow = BitmapLayout(0x2028, bits32, pages32, size32)
    wide = BitmapLayout(0x2038, bits64, pages64, size64)
    found = []
    if narrow.sensible and again32 == bits32:
        found.append(narrow)
    if wide.sensible:
        found.insert(len(found) if dump_type == SUMMARY else 0, wide)
    return found


def live_runs(start: bytes, dump_type: int, size: int) -> tuple[list[tuple[int, int]], int]:
    """((first frame, pages) ..., offset of the first page) of an RDMP dump (types 8, 9, 0xA).

    `start` reaches to the first page; `size` is the length of the file.
    """
    if start[0x2004:0x200C] != b"RDMPDUMP":
        raise DumpError("the second header of the dump is damaged: it does not read RDMPDUMP")
    metadata, first_page = struct.unpack_from("<QQ", start, 0x2010)
    if metadata - 0x20 != first_page - 0x2040 or first_page > size or metadata > _MAX_RUNS * 16:
        raise DumpError("the second header of the dump is damaged: its sizes contradict each other")
    total = struct.unpack_from("<Q", start, 0x2028)[0] if dump_type == 0xA else None
    runs: list[tuple[int, int]] = []
    pages = 0
    for offset in range(0x2030, min(0x2030 + metadata, first_page, len(start)) - 15, 16):
        first, count = struct.unpack_from("<QQ", start, offset)
        if first == 0 or (total is not None and pages >= total):
            break
        runs.append((first, count))
        pages += count
    return runs, first_page


class Physical:
    """Physical memory, as far as the dump holds it."""

    def __init__(self, source: Source, pages: PageMap) -> None:
        self._source = source
        self.map = pages

    def page(self, frame: int) -> bytes:
        """The 4096 bytes of a page frame. NotInDump when the file does not hold them."""
        offset = self.map.offset_of(frame)
        if offset is None:
            raise NotInDump(f"physical page {frame:#x} is not in the dump")
        data = self._source.read(offset, PAGE)
        if len(data) < PAGE:
            raise NotInDump(f"physical page {frame:#x} lies behind the end of the file: the dump is cut off")
        return data
