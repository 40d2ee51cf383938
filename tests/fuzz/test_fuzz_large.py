"""Files whose sizes and counts are as large as they can be: each is read within the same limits.

Mutation finds such files by luck only, and never those of many gigabytes. They are sparse.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fuzz_limits import MEMORY, attempt, resident
from fuzz_targets import BY_NAME, read_everything

from lab.analysis import triage
from lab.dumps.source import FileSource
from lab.model import LabError
from lab.symbols.files import Bytes
from lab.symbols.pdb import Pdb

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from dumps_builder import header

BITS = (1 << 31) - 1


def _bitmap(kind: int, bits: int, pages: int, data: int, fill: bytes = b"") -> bytes:
    second = struct.pack("<8sI20xQQQ", b"FDMPDUMP" if kind == 5 else b"SDMPDUMP", 1, data, pages, bits)
    return bytes(header(kind, root=0x105)) + second + fill


def _sparse(path: Path, start: bytes, size: int) -> None:
    with path.open("wb") as out:
        out.write(start)
        out.truncate(size)


def an_empty_bitmap_of_8_tib(path: Path) -> None:
    data = 0x2000 + 0x1000 * (BITS // 8 // 0x1000 + 2)
    _sparse(path, _bitmap(6, BITS, 1, data), data + 0x1000)


def a_full_bitmap_of_512_gib(path: Path) -> None:
    bits = 1 << 27
    data = 0x2000 + 0x1000 * (bits // 8 // 0x1000 + 2)
    _sparse(path, _bitmap(5, bits, bits, data, b"\xff" * (bits // 8)), data + (bits << 12))


def many_runs(path: Path) -> None:
    count = 1 << 17
    runs = b"".join(struct.pack("<QQ", 3 * n + 1, 2) for n in range(count))
    metadata = len(runs) + 0x20
    second = struct.pack(
        "<I8sIQQIHHQ", 0x40, b"RDMPDUMP", 0, metadata, metadata + 0x2020, count, 0, 0, 1 << 40
    )
    _sparse(path, bytes(header(0xA, root=4)) + second + runs, 0x3000 + len(runs) + (count << 13))


def runs_over_all_frames(path: Path) -> None:
    runs = [(n << 34, 1 << 34) for n in range(42)]
    _sparse(path, bytes(header(1, root=0x105, runs=runs)), 1 << 43)


def a_small_dump(path: Path, fields: dict[int, int], tail: bytes, size: int) -> None:
    raw = header(4, root=0x105)
    second = bytearray(0x1000)
    struct.pack_into("<III", second, 0, 0, size, size - 4)
    struct.pack_into("<I", second, 0xC, 0x348)
    for offset, value in fields.items():
        struct.pack_into("<I", second, offset, value)
    with path.open("wb") as out:
        out.write(bytes(raw) + second + tail)
        out.truncate(size - 4)
        out.seek(size - 4)
        out.write(b"TRGD")


def many_blocks_that_overlap(path: Path) -> None:
    count = 1 << 16
    blocks = [
        struct.pack("<QII", 0xFFFFF80000000000 + 0x800 * (n * 7919 % count), 0x3000, 0x100000)
        for n in range(count)
    ]
    a_small_dump(path, {0x78: 0x3000, 0x7C: count}, b"".join(blocks), 1 << 30)


def many_drivers(path: Path) -> None:
    count, stride = 4096, 0xA8
    entries = bytearray(count * stride)
    names = 0x3000 + len(entries)
    for n in range(count):
        struct.pack_into("<I", entries, n * stride, names)
        struct.pack_into("<Q8xI", entries, n * stride + 0x38, 0xFFFFF80000000000 + 0x10000 * n, 0x10000)
    name = struct.pack("<I", 0xFFFFFFFF) + "A".encode("utf-16-le") * 4096
    fields = {0x30: 0x3000, 0x34: count, 0x38: names, 0x3C: len(name)}
    a_small_dump(path, fields, bytes(entries) + name, 1 << 24)


def everything_counted_by_the_maximum(path: Path) -> None:
    fields = dict.fromkeys((*range(0x10, 0x48, 4), 0x68, 0x6C, 0x70, 0x74, 0x78), 0x3000)
    fields |= {0x2C: 0xFFFFFFFF, 0x34: 0xFFFFFFFF, 0x3C: 0xFFFFFFFF, 0x6C: 0xFFFFFFFF, 0x7C: 0xFFFFFFFF}
    a_small_dump(path, fields, b"\xff" * 0x10000, 1 << 30)


FILES = (
    an_empty_bitmap_of_8_tib,
    a_full_bitmap_of_512_gib,
    many_runs,
    runs_over_all_frames,
    many_blocks_that_overlap,
    many_drivers,
    everything_counted_by_the_maximum,
)


@pytest.mark.parametrize("make", FILES, ids=lambda make: make.__name__)
def test_large_numbers(make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "MEMORY.DMP"
    make(path)

    def run(_: bytes) -> None:
        try:
            triage(path)
        except LabError:
            try:
                triage(path, allow_incomplete=True)
            except LabError:
                read_everything(FileSource(path))

    before = resident()
    outcome = attempt(run, b"")
    print(f"{make.__name__}: {outcome.seconds:.3f} s, {(resident() - before) >> 20} MiB")
    assert outcome.problem == "", outcome.trace
    assert resident() - before < MEMORY


# --- symbol files ---------------------------------------------------------------------------------


def _msf(*streams: bytes) -> bytes:
    """A PDB with these streams, in blocks of 4 KiB one after the other (LLVM's "The MSF File Format")."""
    blocks: list[bytes] = []

    def put(data: bytes) -> list[int]:
        first = len(blocks) + 3
        blocks.extend(data[at : at + 0x1000].ljust(0x1000, b"\0") for at in range(0, len(data), 0x1000))
        return list(range(first, len(blocks) + 3))

    places = [put(stream) for stream in streams]
    directory = struct.pack(f"<{len(streams) + 1}I", len(streams), *(len(stream) for stream in streams))
    directory += b"".join(struct.pack(f"<{len(place)}I", *place) for place in places)
    (listed,) = put(struct.pack(f"<{len(where)}I", *where)) if (where := put(directory)) else (0,)
    start = b"Microsoft C/C++ MSF 7.00\r\n\x1aDS\0\0\0"
    head = struct.pack("<32s6I", start, 0x1000, 1, len(blocks) + 3, len(directory), 0, listed)
    return head.ljust(0x3000, b"\0") + b"".join(blocks)


def _pdb(types: bytes = b"", names: bytes = b"", modules: bytes = b"") -> bytes:
    information = struct.pack("<3I16s", 20000404, 0, 1, bytes(16))
    sections = struct.pack("<8sIIII16xI", b".text", 1 << 31, 0, 1 << 31, 0, 0x60000020)
    dbi = struct.pack("<iII6H", -1, 19990903, 1, 9, 0, 9, 0, 5, 0)
    dbi += struct.pack("<5iI2i2HI", len(modules), 0, 0, 0, 0, 0, 22, 0, 0, 0, 0)
    dbi += modules + struct.pack("<11H", *[0xFFFF] * 5, 6, *[0xFFFF] * 5)
    head = struct.pack("<5I", 20040203, 56, 0x1000, 0x1000 + len(types) // 8, len(types)).ljust(56, b"\0")
    return _msf(b"", information, head + types, dbi, b"", names, sections)


def many_types() -> bytes:
    """Structures without a field list, all of one name, which refer forward to the one that never comes."""
    record = struct.pack("<HHHHIIIH", 26, 0x1505, 0, 0x80, 0, 0, 0, 8) + b"_IRP\0\0"
    return _pdb(record * (60_000_000 // len(record)))


def many_plain_types() -> bytes:
    """As many pointers as a stream that is read whole may hold."""
    return _pdb(struct.pack("<HHII", 10, 0x1002, 0x74, 0x1000C) * 5_000_000)


def nested_field_lists() -> bytes:
    """A structure whose list of fields continues in itself, and has nameless members of its own type."""
    structure = struct.pack("<HHHHIIIH", 26, 0x1505, 1, 0, 0x1001, 0, 0, 8) + b"_IRP\0\0"
    member = struct.pack("<HHIHB", 0x150D, 3, 0x1000, 0, 0) + b"\xf1"
    fields = (member * 5400) + struct.pack("<HHI", 0x1404, 0, 0x1001)
    return _pdb(structure + struct.pack("<HH", len(fields) + 2, 0x1203) + fields)


def many_names() -> bytes:
    """More names than any kernel has, each with an address of its own."""
    count = 700_000
    return _pdb(
        names=b"".join(struct.pack("<HHIIH8s", 20, 0x110E, 2, n, 1, b"%07d" % n) for n in range(count))
    )


def names_of_no_length() -> bytes:
    return _pdb(names=struct.pack("<HHIIHH", 14, 0x110E, 2, 0x1000, 1, 0) * 4_000_000)


@pytest.mark.parametrize(
    "make", [many_types, many_plain_types, nested_field_lists, many_names, names_of_no_length]
)
def test_large_symbol_files(make: Callable[[], bytes]) -> None:
    data = make()
    before = resident()
    outcome = attempt(BY_NAME["pdb"].run, data)
    print(f"{make.__name__}: {outcome.seconds:.3f} s, {(resident() - before) >> 20} MiB")
    assert outcome.problem == "", outcome.trace
    assert resident() - before < MEMORY


def test_the_large_pdbs_are_pdbs() -> None:
    assert len(list(Pdb(Bytes(many_names()), "many.pdb").names())) > 500_000
    assert Pdb(Bytes(nested_field_lists()), "nested.pdb").size("_IRP") == 8
