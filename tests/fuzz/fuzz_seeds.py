"""The files that mutations start from. All are small, so that many thousand of them can be tried."""

from __future__ import annotations

import json
import lzma
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from fuzz_mutations import Recording, Seed

from benchmarks.crashes import dispatch_crash, exit_crash, odd_crashes
from lab.model import LabError
from lab.symbols import symbol_store
from lab.symbols.port import PdbId, SymbolStore
from lab.twin.images import pdb
from lab.twin.memory import write_dump, write_symbols

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "tests" / "data" / "pdb"
REAL = ROOT.parent / "shared" / "data" / "kernel-dumps"


def seed(name: str, data: bytes, read: Callable[[Recording], object]) -> Seed:
    """A seed whose reader is `read`."""
    source = Recording(data)
    with suppress(LabError):
        read(source)
    return Seed(name, data, tuple(sorted(source.ranges)) or ((0, len(data)),))


@cache
def dumps() -> dict[str, bytes]:
    """Dumps of all types: made by hand, by the twin, and real ones where they are at hand."""
    return dict(_dumps())


def _dumps() -> Iterator[tuple[str, bytes]]:
    sys.path.insert(0, str(ROOT / "tests" / "unit"))
    from dumps_builder import dump, small_world

    for kind in (1, 2, 5, 6, 8, 9, 0xA):
        yield f"small-{kind}", dump(small_world(), kind)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "MEMORY.DMP"
        for crash in (dispatch_crash(7601), dispatch_crash(17763), dispatch_crash(20348), exit_crash(17763)):
            write_dump(crash, path, filler_pages=0)
            yield f"twin-{crash.build}-{crash.stop.name.lower()}", path.read_bytes()
        for number, crash in enumerate(odd_crashes(19041)):
            write_dump(crash, path, filler_pages=0)
            yield f"twin-odd-{number}", path.read_bytes()
        for kind in (4, 5, 8, 0xA):
            write_dump(dispatch_crash(19041), path, kind, filler_pages=0)
            yield f"twin-type-{kind}", path.read_bytes()
    for real in ("rizin-triage_x64.dmp", "imhex-dmp64-header-16k.bin"):
        if (REAL / real).exists():
            yield real, (REAL / real).read_bytes()


def pdbs() -> dict[str, bytes]:
    """PDB files of clang and lld: with shapes of types that kernels have, and those of the twin."""
    found = {name: unpacked(SAMPLES / f"{name}.xz") for name in ("layouts.pdb", "classes.pdb")}
    for name in ("nt-7601", "srv2", "fltmgr-22000"):
        found[name] = pdb(name, bytes(16), 1)
    return found


_FOLDER = tempfile.TemporaryDirectory(prefix="fuzz-pdbs-")


@cache
def symbols() -> SymbolStore:
    """The twin's PDBs, for dumps of which nothing but the dump is damaged. They are read once."""
    folder = _FOLDER.name
    for crash in (dispatch_crash(7601), dispatch_crash(17763)):
        write_symbols(crash.build, Path(folder) / str(crash.build), crash.images)
    return symbol_store([Path(folder) / "7601", Path(folder) / "17763"], offline=True)


def cabinets() -> dict[str, bytes]:
    """Cabinets with one small file: stored, MSZIP, and LZX with blocks of all kinds."""
    content = bytes(range(256)) * 40 + b"MSF 7.00" * 900
    lzx = _lzx(content[:0x2000])
    return {
        "stored": _cabinet(0, [content], len(content)),
        "mszip": _cabinet(1, [b"CK" + _deflated(content)], len(content)),
        "lzx": _cabinet(3 | 16 << 8, [lzx], 0x2000),
        **{name: unpacked(SAMPLES / f"{name}.xz") for name in ("lzx-verbatim.cab", "lzx-aligned.cab")},
    }


def _deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


def _lzx(content: bytes) -> bytes:
    """No translation of calls; one block of kind 3: 24 bits of size, three offsets, the bytes themselves."""
    bits = f"0{3:03b}{len(content):024b}"
    bits += "0" * (-len(bits) % 16)
    words = [int(bits[i : i + 16], 2) for i in range(0, len(bits), 16)]
    return struct.pack(f"<{len(words)}H3I", *words, 1, 1, 1) + content


def _cabinet(method: int, blocks: list[bytes], size: int) -> bytes:
    """A cabinet with the one file `tiny.pdb` (published layout of Microsoft cabinets)."""
    name = b"tiny.pdb\0"
    files = 36 + 8
    data = files + 16 + len(name)
    body = b""
    for block in blocks:
        body += struct.pack("<IHH", 0, len(block), min(size, 1 << 15)) + block
    head = struct.pack("<4s4xI4xI4xBBHHHHH", b"MSCF", data + len(body), files, 3, 1, 1, 1, 0, 1, 0)
    folder = struct.pack("<IHH", data, len(blocks), method)
    return head + folder + struct.pack("<IIHHHH", size, 0, 0, 0, 0, 0x20) + name + body


@cache
def symbol_files() -> dict[str, bytes]:
    """ISF files as pdbconv writes them, short enough that mutations reach every part; as text and packed."""
    found = {}
    for name, fields in (("fltmgr.pdb", 12), ("nothing.pdb", 0)):
        kinds = ({"kind": "base", "name": "int"}, {"kind": "struct", "name": "_FLT_OBJECT"})
        layout = {f"Field{n}": {"offset": 8 * n, "type": kinds[n % 2]} for n in range(fields)}
        content = {
            "metadata": {"windows": {"pdb": {"GUID": "A" * 32, "age": 1, "database": name}}},
            "symbols": {f"Flt{n}": {"address": 0x1000 + 16 * n} for n in range(fields)},
            "user_types": {"_FLT_VOLUME": {"size": 0x200, "fields": layout}, "_FLT_OBJECT": {"size": 8}},
        }
        text = json.dumps(content).encode()
        found |= {name: text, f"{name}.xz": lzma.compress(text)}
    return found


@cache
def symbol_file_ids() -> tuple[PdbId, ...]:
    """What the seeds say they are the symbols of."""
    texts = [json.loads(text) for name, text in symbol_files().items() if not name.endswith(".xz")]
    said = [text["metadata"]["windows"]["pdb"] for text in texts]
    return tuple(PdbId(each["database"], each["GUID"], each["age"]) for each in said)


def packed(data: bytes) -> bytes:
    return lzma.compress(data, preset=9)


def unpacked(path: Path) -> bytes:
    return lzma.decompress(path.read_bytes())
