"""Packing an image and its PDB: contents by page, description, and the places that bear the PDB's id."""

from __future__ import annotations

import json
import lzma
import struct
from pathlib import Path

from lab.twin.images.make.describe import Described

PAGE = 0x1000
_MAGIC = b"Microsoft C/C++ MSF 7.00\r\n\x1aDS\0\0\0"
_AGE_IN_DBI = 8


def pack(
    out: Path,
    name: str,
    described: Described,
    image: Path,
    pdb: Path,
    identity: tuple[str, int] | None = None,
) -> None:
    """Write `name`.xz and `name`.pdb.xz into folder `out`.

    `identity` is the GUID (32 digits) and age that the PDB shall have. Without one it keeps the linker's;
    `identity` in the description says where the PDB has it.
    """
    contents = _contents(image.read_bytes())
    symbols = pdb.read_bytes()
    at = _identity(symbols)
    if identity is not None:
        symbols = stamped(symbols, at, guid_bytes(identity[0]), identity[1])
    pages = {
        start: contents[start : start + PAGE]
        for start in range(0, len(contents), PAGE)
        if contents[start : start + PAGE].strip(b"\0") and contents[start : start + PAGE].strip(b"\xcc")
    }
    head = described.facts | {
        "symbols": described.symbols,
        "functions": described.functions,
        "identity": at,
        "pages": list(pages),
    }
    raw = json.dumps(head, separators=(",", ":")).encode() + b"\n" + b"".join(pages.values())
    (out / f"{name}.xz").write_bytes(lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME))
    (out / f"{name}.pdb.xz").write_bytes(lzma.compress(symbols, preset=9 | lzma.PRESET_EXTREME))


def guid_bytes(digits: str) -> bytes:
    g = bytes.fromhex(digits)
    return g[3::-1] + g[5:3:-1] + g[7:5:-1] + g[8:]


def stamped(pdb: bytes, at: list[int], guid: bytes, age: int) -> bytes:
    """`pdb` with another GUID and age in its information stream, and the age in its DBI stream."""
    changed = bytearray(pdb)
    information, dbi = at
    struct.pack_into("<I", changed, information + 8, age)
    changed[information + 12 : information + 28] = guid
    struct.pack_into("<I", changed, dbi + _AGE_IN_DBI, age)
    return bytes(changed)


def _contents(raw: bytes) -> bytes:
    """The image as a loader lays it out, padded to whole pages."""
    (at,) = struct.unpack_from("<I", raw, 0x3C)
    (count,) = struct.unpack_from("<H", raw, at + 6)
    (optional,) = struct.unpack_from("<H", raw, at + 20)
    (size,) = struct.unpack_from("<I", raw, at + 24 + 56)
    out = bytearray(-(-size // PAGE) * PAGE)
    out[:PAGE] = raw[:0x400].ljust(PAGE, b"\0")
    for index in range(count):
        virtual, rva, stored, offset = struct.unpack_from("<4I", raw, at + 24 + optional + 40 * index + 8)
        length = min(virtual, stored)
        out[rva : rva + length] = raw[offset : offset + length]
    return bytes(out)


def _identity(pdb: bytes) -> list[int]:
    """Offsets in the file of the PDB information stream and the DBI stream."""
    if not pdb.startswith(_MAGIC):
        raise SystemExit("not a PDB")
    block, _, _, length, _, map_at = struct.unpack_from("<6I", pdb, 32)
    blocks = struct.unpack_from(f"<{-(-length // block)}I", pdb, map_at * block)
    directory = b"".join(pdb[b * block : (b + 1) * block] for b in blocks)[:length]
    (streams,) = struct.unpack_from("<I", directory)
    sizes = struct.unpack_from(f"<{streams}I", directory, 4)
    position = 4 + 4 * streams
    first: list[int] = []
    for size in sizes:
        used = -(-size // block) if size != 0xFFFFFFFF else 0
        first.append(struct.unpack_from("<I", directory, position)[0] * block if used else 0)
        position += 4 * used
    return [first[1], first[3]]
