"""The pages of a bitmap dump, packed again as another file: another type, more physical memory.

Written from the published layout without any code of the reader or of the twin's writer, so that what the
reader, Volatility 3 and kdmp-parser find in such a file does not go back to one and the same derivation.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PAGE = 0x1000
HEADER = 0x2000
COMPLETE, SUMMARY, BITMAP_COMPLETE, BITMAP_KERNEL = 1, 2, 5, 6


@dataclass(frozen=True)
class Pages:
    """The header of a dump, its runs of physical memory as (first frame, frames), and the stored pages."""

    header: bytes
    runs: tuple[tuple[int, int], ...]
    pages: dict[int, bytes]


def read_pages(path: Path) -> Pages:
    """All pages of a bitmap dump (types 2, 5, 6). ValueError for any other."""
    data = path.read_bytes()
    (kind,) = struct.unpack_from("<I", data, 0xF98)
    if kind == SUMMARY:
        first, bits = struct.unpack_from("<II", data, 0x200C)
        bitmap = 0x2028
    elif kind in (BITMAP_COMPLETE, BITMAP_KERNEL):
        first, _, bits = struct.unpack_from("<3Q", data, 0x2020)
        bitmap = 0x2038
    else:
        raise ValueError(f"{path} is a dump of type {kind}, which has no bitmap")
    pages: dict[int, bytes] = {}
    at = first
    for index, byte in enumerate(data[bitmap : bitmap + (bits + 7) // 8]):
        for bit in range(8) if byte else ():
            if byte >> bit & 1:
                pages[index * 8 + bit] = data[at : at + PAGE]
                at += PAGE
    (count,) = struct.unpack_from("<I", data, 0x88)
    runs = tuple(struct.unpack_from("<QQ", data, 0x98 + 16 * i) for i in range(count))
    return Pages(data[:HEADER], runs, pages)


def stretched(source: Pages, size: int) -> Pages:
    """The same machine with `size` bytes of physical memory: its last run reaches further."""
    (first, _), before = source.runs[-1], sum(count for _, count in source.runs[:-1])
    return Pages(source.header, (*source.runs[:-1], (first, size // PAGE - before)), source.pages)


def write_complete(source: Pages, path: Path) -> None:
    """A dump of type 1. Every page of the runs is in the file; those that are not at hand are holes in it."""
    with path.open("wb") as out:
        out.write(_header(source, COMPLETE, HEADER + PAGE * _count(source)))
        offset = HEADER
        for first, count in source.runs:
            for frame in sorted(frame for frame in source.pages if first <= frame < first + count):
                out.seek(offset + (frame - first) * PAGE)
                out.write(source.pages[frame])
            offset += count * PAGE
        out.truncate(offset)


def write_bitmap(source: Pages, path: Path, kind: int, stored: Callable[[int], bool] | None = None) -> None:
    """A dump of type 5 or 6 with the pages at hand, and with all frames that `stored` says yes to.

    Pages that are not at hand are holes in the file.
    """
    bits = max(first + count for first, count in source.runs)
    frames = set(source.pages)
    if stored is not None:
        for first, count in source.runs:
            frames.update(frame for frame in range(first, first + count) if stored(frame))
    bitmap = bytearray((bits + 7) // 8)
    for frame in frames:
        bitmap[frame >> 3] |= 1 << (frame & 7)
    first_page = -(-(HEADER + 0x38 + len(bitmap)) // PAGE) * PAGE
    size = first_page + PAGE * len(frames)
    mark = b"FDMPDUMP" if kind == BITMAP_COMPLETE else b"SDMPDUMP"
    with path.open("wb") as out:
        out.write(_header(source, kind, size))
        out.write(struct.pack("<8sI20xQQQ", mark, 0, first_page, len(frames), bits) + bitmap)
        for place, frame in enumerate(sorted(frames)):
            if frame in source.pages:
                out.seek(first_page + place * PAGE)
                out.write(source.pages[frame])
        out.truncate(size)


def _count(source: Pages) -> int:
    return sum(count for _, count in source.runs)


def _header(source: Pages, kind: int, size: int) -> bytes:
    head = bytearray(source.header)
    struct.pack_into("<I4xQ", head, 0x88, len(source.runs), _count(source))
    for index, run in enumerate(source.runs):
        struct.pack_into("<QQ", head, 0x98 + 16 * index, *run)
    struct.pack_into("<I4xQ", head, 0xF98, kind, size)
    return bytes(head)
