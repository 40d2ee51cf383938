"""PDBs for tests: made by clang and lld (`tests/data/pdb/build.sh`), or put together by hand."""

from __future__ import annotations

import lzma
import struct
from functools import cache
from pathlib import Path

from lab.symbols.files import Bytes
from lab.symbols.msf import MAGIC, Msf
from lab.symbols.pdb import Pdb
from lab.symbols.port import PdbId

FOLDER = Path(__file__).parents[1] / "data" / "pdb"
MADE = ("layouts", "classes", "many")
ABSENT = 0xFFFF


@cache
def content(name: str) -> bytes:
    """`layouts.pdb`, ... unpacked."""
    return lzma.decompress((FOLDER / f"{name}.xz").read_bytes())


@cache
def pdb(name: str) -> Pdb:
    return Pdb(Bytes(content(f"{name}.pdb")), f"{name}.pdb")


@cache
def pdb_id(name: str) -> PdbId:
    return PdbId(f"{name}.pdb", pdb(name).guid, pdb(name).age)


def streams(data: bytes) -> list[bytes]:
    msf = Msf(Bytes(data), "a PDB")
    return [msf.read(number) for number in range(len(msf))]


def container(parts: list[bytes], block: int = 4096) -> bytes:
    """An MSF 7.00 file with these streams. The blocks of its block map are no neighbours."""
    blocks = [b"", b"", b""]  # superblock and the two free block maps

    def put(data: bytes) -> list[int]:
        first = len(blocks)
        blocks.extend(data[at : at + block] for at in range(0, len(data), block))
        return list(range(first, len(blocks)))

    placed = [put(part) for part in parts]
    directory = struct.pack(f"<{1 + len(parts)}I", len(parts), *map(len, parts))
    directory += b"".join(struct.pack(f"<{len(numbers)}I", *numbers) for numbers in placed)
    of_directory = put(directory)
    packed = struct.pack(f"<{len(of_directory)}I", *of_directory)
    maps = [put(packed[at : at + block] + bytes(block))[0] for at in range(0, len(packed), block)]
    blocks[0] = MAGIC + struct.pack("<5I", block, 1, len(blocks), len(directory), 0)
    blocks[0] += struct.pack(f"<{len(maps)}I", *maps)
    return b"".join(data.ljust(block, b"\0") for data in blocks)


def info(guid: bytes = bytes(range(16)), age: int = 1) -> bytes:
    return struct.pack("<3I", 20000404, 0, age) + guid


def sections(*starts: int) -> bytes:
    """Section headers of which only the addresses count."""
    return b"".join(struct.pack("<8sII24x", b".text", 0x1000, start) for start in starts)


def dbi(symbols: int, debug: list[int], *, age: int = 1, modules: bytes = b"", map: bytes = b"") -> bytes:
    """A DBI stream; `debug` are the streams of its optional debug header."""
    header = struct.pack(f"<{len(debug)}H", *debug)
    sizes = (len(modules), 0, len(map), 0, 0, 0, len(header), 0)
    head = struct.pack("<iIIHHHHHH", -1, 19990903, age, ABSENT, 0, ABSENT, 0, symbols, 0)
    return head + struct.pack("<8i", *sizes) + struct.pack("<HHI", 0, 0x8664, 0) + modules + map + header


def public(name: str, segment: int, offset: int) -> bytes:
    """S_PUB32."""
    return record(0x110E, struct.pack("<IIH", 2, offset, segment) + name.encode() + b"\0")


def record(kind: int, body: bytes) -> bytes:
    """A symbol or type record, padded to four bytes."""
    body += b"\0" * (-(len(body) + 4) % 4)
    return struct.pack("<HH", len(body) + 2, kind) + body


def tpi(*records: bytes) -> bytes:
    """A TPI stream with these type records from 0x1000 on."""
    body = b"".join(records)
    head = struct.pack("<5I", 20040203, 56, 0x1000, 0x1000 + len(records), len(body))
    return head.ljust(56, b"\0") + body


def by_hand(
    types: bytes = b"", symbols: bytes = b"", *, debug: list[bytes] | None = None, age: int = 1
) -> bytes:
    """A PDB of these streams. `debug` are those of its optional debug header, from FPO on."""
    extra = debug if debug is not None else [*[b""] * 5, sections(0x1000, 0x3000)]
    numbers = [ABSENT if not data else 5 + index for index, data in enumerate(extra)]
    return container([b"", info(), types, dbi(4, numbers, age=age), symbols, *extra])
