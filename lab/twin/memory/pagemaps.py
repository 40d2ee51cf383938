"""Which pages a dump file holds, told in the ways of the dump types.

Layouts: those that the open readers of such files agree on.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from lab.twin.memory.records import up

FULL, KERNEL_SUMMARY, TRIAGE, BITMAP_FULL, BITMAP_KERNEL = 1, 2, 4, 5, 6
KERNEL_MEMORY, KERNEL_AND_USER, COMPLETE = 8, 9, 0xA
DUMP_TYPES = (
    *(FULL, KERNEL_SUMMARY, TRIAGE, BITMAP_FULL, BITMAP_KERNEL),
    *(KERNEL_MEMORY, KERNEL_AND_USER, COMPLETE),
)
HEADER = 0x2000
_RANGES = 0x2030
_METADATA = 0x2040


def ranges(frames: Sequence[int]) -> list[tuple[int, int]]:
    """Runs of consecutive frames: (first, count)."""
    found: list[tuple[int, int]] = []
    for frame in frames:
        if found and sum(found[-1]) == frame:
            found[-1] = found[-1][0], found[-1][1] + 1
        else:
            found.append((frame, 1))
    return found


def page_map(kind: int, frames: Sequence[int], bits: int) -> bytes:
    """What follows the header of a dump of type `kind` up to its first page; `frames` are sorted.

    `bits` is the number of frames that the machine has.
    """
    if kind == FULL:
        return b""
    if kind in (KERNEL_MEMORY, KERNEL_AND_USER, COMPLETE):
        return _range_table(kind, frames)
    bitmap = bytearray(-(-bits // 8))
    for frame in frames:
        bitmap[frame >> 3] |= 1 << (frame & 7)
    count = len(frames)
    first = up(HEADER + 0x38 + len(bitmap))
    if kind == KERNEL_SUMMARY:
        head = struct.pack("<4s4sIIIIIIQ", b"SDMP", b"DUMP", 1, first, bits, count, bits, 0, 0)
    else:
        mark = b"FDMP" if kind == BITMAP_FULL else b"SDMP"
        head = struct.pack("<4s4sI20xQQQ", mark, b"DUMP", 0, first, count, bits)
    return (head + bitmap).ljust(first - HEADER, b"\0")


def _range_table(kind: int, frames: Sequence[int]) -> bytes:
    found = ranges(frames)
    table = b"".join(struct.pack("<QQ", *run) for run in found)
    first = up(_RANGES + len(table) + 16)
    head = struct.pack("<I4s4sIQQ", 0x40, b"RDMP", b"DUMP", 0, first - _METADATA + 0x20, first)
    if kind == COMPLETE:
        head += struct.pack("<IHHQ", len(found), 0, 0, len(frames))
    else:
        head += bytes(16)
    return (head + table).ljust(first - HEADER, b"\0")
