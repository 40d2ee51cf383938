"""Microsoft cabinets for tests."""

from __future__ import annotations

import struct
import zlib

_BLOCK = 1 << 15


def stored(data: bytes) -> list[tuple[bytes, int]]:
    """(data of a block, size of what it unpacks to), without compression."""
    parts = [data[at : at + _BLOCK] for at in range(0, len(data), _BLOCK)]
    return [(part, len(part)) for part in parts]


def mszip(data: bytes) -> list[tuple[bytes, int]]:
    """Deflate, each block with the one before as its dictionary."""
    blocks, before = [], b""
    for part, size in stored(data):
        packer = (
            zlib.compressobj(9, zlib.DEFLATED, -15, zdict=before) if before else zlib.compressobj(9, 8, -15)
        )
        blocks.append((b"CK" + packer.compress(part) + packer.flush(), size))
        before = part
    return blocks


def cabinet(
    blocks: list[tuple[bytes, int]],
    name: str,
    *,
    method: int = 0,
    start: int = 0,
    size: int | None = None,
    checksums: bool = True,
) -> bytes:
    """A cabinet with one folder of these blocks, and one file at `start` in it."""
    whole = sum(size for _, size in blocks)
    entry = struct.pack("<IIHHHH", whole - start if size is None else size, start, 0, 0, 0, 0x20)
    entry += name.encode() + b"\0"
    parts = []
    for packed, unpacked in blocks:
        head = struct.pack("<HH", len(packed), unpacked)
        checksum = _checksum(head, _checksum(packed, 0)) if checksums else 0
        parts += [struct.pack("<I", checksum), head, packed]
    data = b"".join(parts)
    files = 36 + 8
    first = files + len(entry)
    head = struct.pack("<4s5IBB5H", b"MSCF", 0, first + len(data), 0, files, 0, 3, 1, 1, 1, 0, 0, 0)
    return head + struct.pack("<IHH", first, len(blocks), method) + entry + data


def _checksum(data: bytes, seed: int) -> int:
    """Word by word, as the format's description has it."""
    for (word,) in struct.iter_unpack("<I", data[: len(data) // 4 * 4]):
        seed ^= word
    return seed ^ int.from_bytes(data[len(data) // 4 * 4 :], "big")
