"""Cabinets with one file, compressed by MSZIP ([MS-CAB], [MS-MCI]), as symbol stores keep large PDBs."""

from __future__ import annotations

import struct
import zlib

_BLOCK = 0x8000
_MSZIP = 1
_NO_DATE = (0x21, 0)  # 1 January 1980, midnight


def cabinet(name: str, contents: bytes) -> bytes:
    """A cabinet that holds `contents` as file `name`."""
    blocks = []
    for start in range(0, len(contents), _BLOCK):
        part = contents[start : start + _BLOCK]
        window = contents[max(0, start - _BLOCK) : start]
        packer = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=window)
        packed = b"CK" + packer.compress(part) + packer.flush()
        sizes = struct.pack("<HH", len(packed), len(part))
        blocks.append(struct.pack("<I", _checksum(sizes, _checksum(packed, 0))) + sizes + packed)
    file = struct.pack("<IIHHHH", len(contents), 0, 0, *_NO_DATE, 0x20) + name.encode() + b"\0"
    data = 36 + 8 + len(file)
    folder = struct.pack("<IHH", data, len(blocks), _MSZIP)
    size = data + sum(map(len, blocks))
    header = struct.pack("<4sIIIIIBBHHHHH", b"MSCF", 0, size, 0, 36 + 8, 0, 3, 1, 1, 1, 0, 0, 0)
    return header + folder + file + b"".join(blocks)


def _checksum(data: bytes, seed: int) -> int:
    """CSUM of the cabinet format: all 32-bit words; what is left over counts from its first byte down."""
    whole = len(data) & ~3
    for (word,) in struct.iter_unpack("<I", data[:whole]):
        seed ^= word
    rest = 0
    for byte in data[whole:]:
        rest = rest << 8 | byte
    return seed ^ rest
