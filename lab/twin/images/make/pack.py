"""Packing an image and its PDB: contents by page, description, and the places that bear the PDB's id."""

from __future__ import annotations

import json
import lzma
import struct
from pathlib import Path

from lab.twin.images.make.describe import Described

PAGE = 0x1000
_MAGIC = b"Microsoft C/C++ MSF 7.00\r\n\x1aDS\0\0\0"


def pack(out: Path, name: str, described: Described, image: Path, pdb: Path) -> None:
    """Write `name`.xz and `name`.pdb.xz into folder `out`.

    The PDB keeps the linker's GUID; `identity` in the description says where it has it, so that each image in
    memory gets a PDB with an id of its own.
    """
    contents = _contents(image.read_bytes())
    symbols = pdb.read_bytes()
    pages = {
        start: contents[start : start + PAGE]
        for start in range(0, len(contents), PAGE)
        if contents[start : start + PAGE].strip(b"\0") and contents[start : start + PAGE].strip(b"\xcc")
    }
    head = described.facts | {
        "symbols": described.symbols,
        "functions": described.functions,
        "identity": _identity(symbols),
        "pages": list(pages),
    }
    raw = json.dumps(head, separators=(",", ":")).encode() + b"\n" + b"".join(pages.values())
    (out / f"{name}.xz").write_bytes(lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME))
    (out / f"{name}.pdb.xz").write_bytes(lzma.compress(symbols, preset=9 | lzma.PRESET_EXTREME))


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
