"""Second headers: where page map and pages of a dump lie (behind DUMP_HEADER64, at 0x2000)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lab.dumps.header import HEADER_SIZE, LIVE_COMPLETE, SUMMARY
from lab.model import DumpError

SECOND_HEADER = 0x40
"""Bytes of any second header up to its bitmap or table."""

_MAX_BITS = 1 << 34  # a bitmap for 64 TiB; Windows Server 2022 takes 48 TiB
_MAX_GAP = 1 << 24  # bytes between the bitmap and the first page
_MAX_RANGES = 1 << 19  # of an RDMP dump: 2 TiB in pieces of 4 MiB


@dataclass(frozen=True)
class BitmapLayout:
    """Where bitmap and pages of a bitmap dump lie."""

    bitmap: int  # file offset of the bitmap
    bits: int
    pages: int  # set bits, as the header counts them
    data: int  # file offset of the first page

    @property
    def bytes(self) -> int:
        return (self.bits + 7) // 8

    @property
    def sensible(self) -> bool:
        """Whether its numbers can be true of any dump: only then is it read at all."""
        behind = self.bitmap + self.bytes
        return (
            0 < self.bits <= _MAX_BITS
            and 0 < self.pages <= self.bits
            and behind <= self.data <= behind + _MAX_GAP
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


@dataclass(frozen=True)
class RangeLayout:
    """Where the table of page ranges and the pages of an RDMP dump lie (types 8, 9, 0xA)."""

    table: int  # file offset of the table
    data: int  # file offset of the first page
    total: int | None  # pages, as the header counts them; only type 0xA does

    def ranges(self, table: bytes) -> list[tuple[int, int]]:
        """(first frame, pages) ... of the bytes of the table; frame 0 ends it."""
        found: list[tuple[int, int]] = []
        pages = 0
        for first, count in struct.iter_unpack("<QQ", table[: len(table) & ~15]):
            if first == 0 or (self.total is not None and pages >= self.total):
                break
            found.append((first, count))
            pages += count
        return found


def range_layout(start: bytes, dump_type: int) -> RangeLayout:
    """The second header of an RDMP dump in the file's first 0x2030 bytes. DumpError when it is damaged."""
    if start[0x2004:0x200C] != b"RDMPDUMP":
        raise DumpError("the second header is damaged: it does not read RDMPDUMP")
    metadata, first_page = struct.unpack_from("<QQ", start, 0x2010)
    if metadata - 0x20 != first_page - 0x2040 or not 0x2030 <= first_page <= 0x2030 + _MAX_RANGES * 16:
        raise DumpError("the second header is damaged: its sizes contradict each other")
    total = struct.unpack_from("<Q", start, 0x2028)[0] if dump_type == LIVE_COMPLETE else None
    return RangeLayout(0x2030, first_page, total)
