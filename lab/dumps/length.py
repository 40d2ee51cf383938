"""How long a dump file has to be, told from its first bytes: to know when a growing file is whole."""

from __future__ import annotations

import struct

from lab.dumps.header import (
    BITMAP_TYPES,
    COMPLETE,
    HEADER_ONLY,
    HEADER_SIZE,
    PAGE,
    RANGE_TYPES,
    TRIAGE,
    parse_header,
)
from lab.dumps.layouts import SECOND_HEADER, bitmap_layouts, range_layout
from lab.model import DumpError

PREFIX = 0x2100
"""Bytes of the beginning that `expected_length` needs (types 8, 9, 0xA need up to their first page)."""


def expected_length(start: bytes) -> int | None:
    """Least length in bytes of the whole 64-bit kernel dump that begins with `start`.

    Secondary data may follow, so that a file may be longer. None when `start` is too short, or is not
    (yet) the beginning of a 64-bit kernel dump that says how long it will be.
    """
    if len(start) < HEADER_SIZE or start[:8] != b"PAGEDU64":
        return None
    header = parse_header(start)
    kind = header.dump_type
    if kind == HEADER_ONLY:
        return HEADER_SIZE
    if kind == COMPLETE:
        if header.runs is None:
            return None
        return HEADER_SIZE + PAGE * sum(pages for _, pages in header.runs)
    if kind is not None and kind in BITMAP_TYPES:
        layouts = bitmap_layouts(start, kind)
        return layouts[0].data + layouts[0].pages * PAGE if layouts else None
    if kind == TRIAGE and len(start) >= HEADER_SIZE + 0xC:
        size, valid = struct.unpack_from("<II", start, HEADER_SIZE + 4)
        return size if HEADER_SIZE + 0x80 <= valid < size else None
    if kind in RANGE_TYPES and len(start) >= HEADER_SIZE + SECOND_HEADER:
        try:
            layout = range_layout(start, kind)
        except DumpError:
            return None
        if len(start) < layout.data:
            return None
        ranges = layout.ranges(start[layout.table : layout.data])
        return layout.data + PAGE * sum(pages for _, pages in ranges)
    return None


def why_not_whole(start: bytes, length: int) -> str | None:
    """Why a file of `length` bytes that begins with `start` is not a whole dump; None when it may be."""
    if length == 0:
        return "the file is empty"
    if start[:4] == b"MDMP":
        return "it is a user-mode minidump, not a kernel dump"
    if start[:4] == b"PAGE" and start[4:8] == b"DUMP":
        return "it is a dump of a 32-bit system"
    if start[:8] != b"PAGEDU64":
        return "its header is not written yet" if not any(start[:8]) else "it is not a kernel dump"
    if len(start) < min(PREFIX, length):
        return "too little of it was read to tell"
    if length < HEADER_SIZE:
        return f"{length} bytes are less than a header"
    if parse_header(start).dump_type is None:
        return "its header is not finished"
    needed = expected_length(start)
    if needed is None:
        return "its header does not say how long it will be"
    if length < needed:
        return f"{length} of {needed} bytes are there ({100 * length // needed} %)"
    return None
