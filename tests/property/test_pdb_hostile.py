"""A damaged PDB, cabinet or ISF file: an answer or our own error, soon, in little memory."""

from __future__ import annotations

import io
import json
import lzma
import os
import resource
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))  # the samples live with the unit tests

from cabinets import cabinet, mszip, stored
from pdb_samples import by_hand, container, content, info, public, record, streams, tpi

from lab.model import ConfigurationError
from lab.symbols.cabinet import expand
from lab.symbols.files import Bytes
from lab.symbols.isf import load_isf
from lab.symbols.pdb import Pdb
from lab.symbols.place import read_pointer
from lab.symbols.port import PdbId

LIMIT = 10.0  # seconds of processor time; ten times what any of it takes, far below a hang
MEMORY = 512 << 20

relaxed = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def use_pdb(data: bytes) -> None:
    """All that the analyser asks of a PDB; for a fuzzer as well."""
    try:
        found = Pdb(Bytes(data), "x.pdb")
    except ConfigurationError as error:
        assert str(error)
        return
    found.rva("Visible")
    found.nearest(0x1234)
    for name in ("_IRP", "_THREAD", "storage::Derived", "_WIDE", "S"):
        found.size(name)
        found.offset(name, "Tail.Overlay.CurrentStackLocation")
        found.offset(name, "InBase")
    for rva in dict(found.names()).values():
        assert 0 <= rva < 1 << 32
    assert all(found.notes)


def use_cabinet(data: bytes) -> None:
    """What is done with a compressed file; for a fuzzer as well."""
    target = io.BytesIO()
    try:
        expand(Bytes(data), "layouts.pdb", target, 1 << 24)
    except ConfigurationError as error:
        assert str(error)
    assert target.tell() <= 1 << 24


def soon(use: Callable[[bytes], None], data: bytes) -> None:
    started = time.process_time()
    use(data)
    assert time.process_time() - started < LIMIT


def within_limits(use: Callable[[bytes], None], data: bytes) -> None:
    """In a process of its own, which may take 512 MiB more than this one has."""
    child = os.fork()
    if not child:
        failed = 1
        try:
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
            soon(use, data)
            failed = 0
        finally:
            os._exit(failed)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


PDBS = [content("layouts.pdb"), content("classes.pdb")]
CABINETS = [
    cabinet(mszip(PDBS[0]), "layouts.pdb", method=1, checksums=False),
    cabinet(stored(PDBS[0]), "layouts.pdb", checksums=False),
    content("lzx-verbatim.cab"),
    content("lzx-aligned.cab"),
]
numbers = st.one_of(
    st.sampled_from([0, 1, 4, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]),
    st.integers(0, 1 << 32),
).map(lambda n: struct.pack("<I", n & 0xFFFFFFFF))
patches = st.lists(
    st.tuples(st.floats(0, 1), st.one_of(st.binary(min_size=1, max_size=8), numbers)), min_size=1, max_size=8
)


def patched(data: bytes, changes: list[tuple[float, bytes]]) -> bytes:
    changed = bytearray(data)
    for share, value in changes:
        at = int(share * (len(changed) - 1))
        changed[at : at + len(value)] = value
    return bytes(changed)


@relaxed
@given(st.sampled_from(PDBS), patches)
def test_pdbs_with_changes_anywhere(data: bytes, changes: list[tuple[float, bytes]]) -> None:
    soon(use_pdb, patched(data, changes))


@relaxed
@given(st.sampled_from(PDBS), st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 9]), patches)
def test_pdbs_with_changes_in_one_stream(
    data: bytes, number: int, changes: list[tuple[float, bytes]]
) -> None:
    """The container is sound: what is changed gets as far as the readers of records."""
    parts = streams(data)
    parts[number] = patched(parts[number], changes) if parts[number] else b""
    soon(use_pdb, container(parts))


@relaxed
@given(st.sampled_from(PDBS), st.floats(0, 1))
def test_pdbs_cut_off(data: bytes, share: float) -> None:
    soon(use_pdb, data[: int(len(data) * share)])


@relaxed
@given(
    st.lists(
        st.tuples(st.sampled_from([0x1203, 0x1504, 0x1505, 0x1506, 0x1001, 0x1609]), st.binary(max_size=60))
    )
)
def test_type_records_of_anything(records: list[tuple[int, bytes]]) -> None:
    soon(use_pdb, by_hand(tpi(*(record(kind, body) for kind, body in records))))


@relaxed
@given(st.binary(max_size=300))
def test_symbol_records_of_anything(records: bytes) -> None:
    soon(use_pdb, by_hand(symbols=records))


@relaxed
@given(st.sampled_from(CABINETS), patches)
def test_cabinets_with_changes_anywhere(data: bytes, changes: list[tuple[float, bytes]]) -> None:
    soon(use_cabinet, patched(data, changes))


@relaxed
@given(st.sampled_from(CABINETS), st.floats(0, 1))
def test_cabinets_cut_off(data: bytes, share: float) -> None:
    soon(use_cabinet, data[: int(len(data) * share)])


@relaxed
@given(
    st.lists(st.tuples(st.binary(max_size=400), st.integers(0, 40_000)), max_size=4),
    st.sampled_from([1, 0xF03, 0x1503]),
)
def test_blocks_of_anything(blocks: list[tuple[bytes, int]], method: int) -> None:
    if method == 1:
        blocks = [(b"CK" + data, size) for data, size in blocks]
    soon(use_cabinet, cabinet(blocks, "layouts.pdb", method=method, checksums=False))


@given(st.binary(max_size=100))
def test_pointers_of_anything(data: bytes) -> None:
    for start in (b"", b"PATH:", b"MSG:"):
        try:
            assert read_pointer(start + data).isprintable()
        except ConfigurationError as error:
            assert str(error).isprintable()


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["address", "size", "fields", "offset", "type", "name", "kind", "Tail", "_IRP", "Age"]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=20,
)


@relaxed
@given(json_values, json_values, st.one_of(st.just(1), json_values))
def test_isf_files_of_anything(
    tmp_path_factory: pytest.TempPathFactory, symbols: object, types: object, age: object
) -> None:
    path = tmp_path_factory.getbasetemp() / "x.json"
    identity = {"GUID": "A" * 32, "age": age, "database": "x.pdb"}
    content = {"metadata": {"windows": {"pdb": identity}}, "symbols": symbols, "user_types": types}
    path.write_text(json.dumps(content))
    try:
        found = load_isf(path, PdbId("x.pdb", "A" * 32, 1))
    except ConfigurationError as error:
        assert str(error)
        return
    if found is not None:
        found.rva("Tail")
        found.nearest(5)
        found.size("_IRP")
        found.offset("_IRP", "Tail.Tail")


# --- what is large on purpose ----------------------------------------------------------------


def _many_types() -> bytes:
    return by_hand(tpi(record(0x1001, bytes(4)) * 3_000_000))


def _many_publics() -> bytes:
    return by_hand(symbols=b"".join(public(f"Name{n:06}", 1, n) for n in range(300_000)) * 4)


def _many_strings() -> bytes:
    return by_hand(symbols=b"".join(public(f"??_C@{n:06}", 1, 5) for n in range(300_000)))


def _long_chain() -> bytes:
    """Field lists that go on in each other, all members at hand."""
    member = struct.pack("<HHI", 0x150D, 3, 0x74) + b"\x00\x00" + b"A" * 9 + b"\0"
    lists = [
        record(0x1203, member * 3000 + struct.pack("<HHI", 0x1404, 0, 0x1000 + n + 1)) for n in range(400)
    ]
    structure = struct.pack("<HHIII", 1, 0, 0x1000, 0, 0) + b"\x08\x00S\0"
    return by_hand(tpi(*lists, record(0x1505, structure)))


def _many_streams() -> bytes:
    return container([b"", info(), *[b"x"] * 60_000], 512)


@pytest.mark.parametrize(
    "make",
    [_many_types, _many_publics, _many_strings, _long_chain, _many_streams],
    ids=lambda f: f.__name__[1:],
)
def test_large_on_purpose(make: Callable[[], bytes]) -> None:
    within_limits(use_pdb, make())


def test_an_isf_file_of_many_small_objects(tmp_path: Path) -> None:
    head = b'{"metadata":{"windows":{"pdb":{"GUID":"' + b"A" * 32 + b'","age":1}}},"symbols":{},"x":['

    def use(data: bytes) -> None:
        path = tmp_path / "x.json.xz"
        path.write_bytes(data)
        assert load_isf(path, PdbId("x.pdb", "A" * 32, 1)) is not None

    within_limits(use, lzma.compress(head + b"{}," * 5_000_000 + b"{}]}", preset=0))
