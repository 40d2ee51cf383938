"""Secondary data: what drivers added behind the dump in their bugcheck callbacks (`.enumtag` lists it)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lab.dumps.source import Source

_MAX_BLOBS = 4096
_FILE_HEADER, _BLOB_HEADER = 0x10, 0x20


@dataclass(frozen=True)
class Blob:
    """`size` bytes at file offset `offset`. `tag` is the GUID of its writer, in lower case."""

    tag: str
    offset: int
    size: int


def read_blobs(source: Source, at: int) -> tuple[Blob, ...]:
    """The blobs of the region at file offset `at`; empty when there is none.

    It begins with DumpBlob, u32 size of this header, u32 build. Each blob: u32 size of its header, GUID,
    u32 size, u32 padding before, u32 padding behind. Whatever is no such header ends it; so does a blob
    that reaches beyond the end of the file.
    """
    start = source.read(at, _FILE_HEADER)
    if len(start) < _FILE_HEADER or start[:8] != b"DumpBlob":
        return ()
    offset = at + max(int.from_bytes(start[8:12], "little"), _FILE_HEADER)
    found: list[Blob] = []
    while len(found) < _MAX_BLOBS:
        raw = source.read(offset, _BLOB_HEADER)
        if len(raw) < _BLOB_HEADER:
            break
        header, tag, size, before, behind = struct.unpack("<I16sIII", raw)
        data = offset + header + before
        if header < _BLOB_HEADER or data + size > source.size:
            break
        found.append(Blob(_guid(tag), data, size))
        offset = data + size + behind
    return tuple(found)


def _guid(tag: bytes) -> str:
    """As uuid.UUID writes it; importing that module costs as much as reading a dump."""
    first, second, third = struct.unpack_from("<IHH", tag)
    return f"{first:08x}-{second:04x}-{third:04x}-{tag[8:10].hex()}-{tag[10:].hex()}"
