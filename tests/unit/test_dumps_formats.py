"""Each dump type from its own bytes, against what was put in and against an independent reader."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from dumps_builder import DRIVER, NT, PAGE, POOL, World, context, dump, header, small_world

from lab.dumps import NotInDump, NotPresent, expected_length, open_dump, why_not_whole
from lab.dumps.length import PREFIX
from lab.model import ConfigurationError, DumpError

ALL = (1, 2, 5, 6, 8, 0xA)
SHARED = Path(__file__).parents[2].parent / "shared" / "data"
TRIAGE = SHARED / "kernel-dumps" / "rizin-triage_x64.dmp"
HEADER_ONLY = SHARED / "kernel-dumps" / "imhex-dmp64-header-16k.bin"


def _file(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "MEMORY.DMP"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", ALL)
def test_every_stored_page_reads_back(tmp_path: Path, kind: int) -> None:
    world = small_world()
    with open_dump(_file(tmp_path, dump(world, kind, record=context(NT + 0x1000, 0xFFFF0000)))) as opened:
        assert opened.physical is not None
        assert opened.physical.map.pages == len(world.frames)
        for frame, content in world.frames.items():
            assert opened.physical.page(frame) == bytes(content)
        for frame in set(range(max(world.frames) + 20)) - set(world.frames):
            with pytest.raises(NotInDump):
                opened.physical.page(frame)
        assert opened.memory.read(NT, 2) == b"MZ"
        assert opened.memory.read(DRIVER + 0xFFE, 4) == bytes(4)  # across a page boundary
        assert opened.context.rip == NT + 0x1000


@pytest.mark.parametrize("kind", ALL)
def test_facts_and_header(tmp_path: Path, kind: int) -> None:
    data = dump(small_world(), kind, record=context(1, 2))
    with open_dump(_file(tmp_path, data)) as opened:
        facts = opened.facts()
        assert (facts.dump_type, facts.build, facts.machine, facts.processors) == (kind, 7601, "x64", 2)
        assert (facts.system_time, facts.uptime) == ("2021-02-20T06:38:22Z", 3600.0)
        assert (facts.size, facts.complete, facts.warnings) == (len(data), True, ())
        assert opened.bugcheck.title == "KERNEL_APC_PENDING_DURING_EXIT (20)"
        assert opened.bugcheck.parameters == (0, 0xFFFF, 0, 1)
        header_fields = opened.header
        assert header_fields.exception_code is None  # the pattern PAGE, not a number
        assert header_fields.required_space is None
        assert header_fields.attributes is None


@pytest.mark.parametrize("kind", (1, 5, 6, 8, 0xA))
def test_an_independent_reader_agrees(tmp_path: Path, kind: int) -> None:
    kdmp = pytest.importorskip("kdmp_parser")
    world = small_world()
    # The oracle ignores a last byte of the bitmap that is not whole.
    path = _file(tmp_path, dump(world, kind, surplus=0, record=context(NT + 0x1000, 0xFFFF0000)))
    oracle = kdmp.KernelDumpParser(path)
    with open_dump(path) as opened:
        memory = opened.memory
        for frame in world.frames:
            assert bytes(oracle.read_physical_page(frame * PAGE)) == opened.physical.page(frame)  # type: ignore[union-attr]
        for address in (NT, NT + 0x7000, DRIVER, POOL + 0x400):
            assert oracle.translate_virtual(address) == memory.translate(address)  # type: ignore[attr-defined]
        assert oracle.context.Rip == opened.context.rip


@pytest.mark.parametrize("kind", ALL)
def test_length_is_told_from_the_first_bytes(kind: int) -> None:
    data = dump(small_world(), kind)
    start = data[:PREFIX]
    assert expected_length(start) == len(data)
    assert why_not_whole(start, len(data)) is None
    assert "of" in (why_not_whole(start, len(data) - PAGE) or "")
    assert expected_length(data[:0x1FFF]) is None
    assert expected_length(b"\0" * PREFIX) is None


def test_second_header_is_believed_over_the_type_number(tmp_path: Path) -> None:
    """Summary dumps have 32-bit fields, bitmap dumps 64-bit ones; a file may carry either number."""
    world = small_world()
    for written, said in ((2, 6), (6, 2), (5, 2)):
        data = bytearray(dump(world, written))
        struct.pack_into("<I", data, 0xF98, said)
        assert expected_length(bytes(data[:PREFIX])) == len(data)
        with open_dump(_file(tmp_path, bytes(data))) as opened:
            assert opened.memory.read(NT, 2) == b"MZ"


# --- paging ---------------------------------------------------------------------------------------


def _open(tmp_path: Path, world: World) -> bytes:
    return dump(world, 6)


def test_large_pages(tmp_path: Path) -> None:
    world = small_world()
    large = 0xFFFFF80040000000  # 2 MiB page at frame 0x200, 1 GiB page at frame 0
    table, _ = world.pte(large)
    directory = world.frames[world.root]
    pdpt = struct.unpack_from("<Q", directory, (large >> 39 & 0x1FF) * 8)[0] >> 12
    pd = world.word(pdpt, (large >> 30 & 0x1FF) * 8) >> 12
    world.set_word(pd, (large >> 21 & 0x1FF) * 8, 0x200 << 12 | 0xE3)
    world.set_word(pdpt, ((large >> 30) + 1 & 0x1FF) * 8, 0xE3)
    world.frames[0x203] = bytearray(b"two mebibytes".ljust(PAGE, b"."))
    assert table in world.frames
    with open_dump(_file(tmp_path, dump(world, 6))) as opened:
        assert opened.memory.read(large + 0x3000, 13) == b"two mebibytes"
        assert opened.memory.read(large + 0x40000000 + 0x203000, 13) == b"two mebibytes"
        with pytest.raises(NotInDump):
            opened.memory.read(large + 0x4000, 1)


def test_pages_that_are_not_valid(tmp_path: Path) -> None:
    world = small_world()
    base = 0xFFFFF8A000000000
    for index in range(8):
        world.write(base + PAGE * index, f"page {index}".encode())
    frames = [world.map(base + PAGE * index) for index in range(8)]
    table, first = world.pte(base)
    protos = base + 7 * PAGE + 0x800
    entries = {
        1: frames[1] << 12 | 1 << 11 | 0x80,  # in transition: still in memory
        2: frames[2] << 12 | 1 << 11 | 1 << 40,  # the same with the L1TF bit set
        3: (protos & 0xFFFFFFFFFFFF) << 16 | 1 << 10,  # prototype whose page is valid
        4: 0xFFFFFFFF00000000 << 16 & (1 << 64) - 1 | 1 << 10,  # described by a VAD
        5: 0x12345 << 32 | 0x80,  # in the page file
        6: 0,
    }
    for index, entry in entries.items():
        world.set_word(table, first + 8 * index, entry)
    world.write_words(protos, frames[3] << 12 | 0x63)
    with open_dump(_file(tmp_path, dump(world, 2))) as opened:
        for index in (0, 1, 2, 3):
            assert opened.memory.read(base + PAGE * index, 6) == f"page {index}".encode()
        for index in (4, 5, 6):
            with pytest.raises(NotPresent):
                opened.memory.read(base + PAGE * index, 1)


def test_absent_is_told_apart_from_unmapped(tmp_path: Path) -> None:
    world = small_world()
    del world.frames[world.map(DRIVER + 0x2000)]
    with open_dump(_file(tmp_path, dump(world, 6))) as opened:
        with pytest.raises(NotInDump):
            opened.memory.read(DRIVER + 0x2000, 8)
        with pytest.raises(NotInDump):
            opened.memory.read(DRIVER + 0x1FFC, 8)
        with pytest.raises(NotPresent):
            opened.memory.read(0xFFFFD00000000000, 8)
        with pytest.raises(NotPresent):
            opened.memory.read(0x0000_9000_0000_0000, 8)  # not canonical
        with pytest.raises(NotPresent):
            opened.memory.read((1 << 64) - 4, 8)
        with pytest.raises(DumpError):
            opened.memory.read(NT, 1 << 40)


# --- files that are something else, or not whole --------------------------------------------------


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04" + bytes(9000), "is not a Windows dump"),
        (b"MDMP" + bytes(9000), "user-mode process"),
        (b"PAGEDUMP" + b"PAGE" * 3000, "32-bit system"),
        (bytes(9000), "still being written"),
        (b"PAGE" * 3000, "still being written"),
        (bytes(header(6))[:0x1000], "cut off within its header: 4096 of 8192"),
        (bytes(header(6, machine=0xAA64)) + bytes(PAGE), "ARM64"),
        (bytes(header(0x55)) + bytes(PAGE), "no dump type 0x55"),
        (bytes(header(6)) + bytes(PAGE), "second header makes no sense"),
    ],
)
def test_what_is_not_a_dump_is_said_in_one_sentence(tmp_path: Path, content: bytes, says: str) -> None:
    path = _file(tmp_path, content)
    for allow in (False, True):
        with pytest.raises(DumpError, match=says):
            open_dump(path, allow_incomplete=allow)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d[: 0x2000 + 0x2000], "cut off: 16384 of"),
        (lambda d: d[:-PAGE], "cut off"),
        (lambda d: d[:0x2000], "only its header"),
        (lambda d: d[:0xF98] + struct.pack("<I", 3) + d[0xF9C:], "only its header"),
        (lambda d: d[:0xF98] + b"PAGE" + d[0xF9C:], "still being written"),
        (lambda d: d[:0x1050] + struct.pack("<I", 1 << 8) + d[0x1054:], "encrypted"),
    ],
)
def test_what_is_not_whole_can_still_be_opened(tmp_path: Path, change, says: str) -> None:  # type: ignore[no-untyped-def]
    path = _file(tmp_path, change(dump(small_world(), 6, record=context(1, 2))))
    with pytest.raises(DumpError, match=says):
        open_dump(path)
    with open_dump(path, allow_incomplete=True) as opened:
        facts = opened.facts()
        assert not facts.complete
        assert says in facts.warnings[0]
        assert opened.bugcheck.code == 0x20
        assert opened.context.rip == 1
        with pytest.raises((NotInDump, DumpError)):
            opened.memory.read(0xFFFFF6FB7DBED000, 8)


def test_damaged_bitmap(tmp_path: Path) -> None:
    data = bytearray(dump(small_world(), 6))
    data[0x2038] |= 1
    with pytest.raises(DumpError, match="page bitmap is damaged"):
        open_dump(_file(tmp_path, bytes(data)))


def test_page_table_root_that_is_not_there(tmp_path: Path) -> None:
    world = small_world()
    root = world.root
    data = bytearray(dump(world, 6))
    struct.pack_into("<Q", data, 0x10, root + 0x400 << 12)
    with pytest.raises(DumpError, match="root of the page tables"):
        open_dump(_file(tmp_path, bytes(data)))


def test_a_path_that_leads_nowhere(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        open_dump(tmp_path / "none.dmp")
    with pytest.raises(ConfigurationError):
        open_dump(tmp_path)


@pytest.mark.skipif(not HEADER_ONLY.exists(), reason="the shared test data are not here")
def test_the_first_16_kib_of_a_real_complete_dump() -> None:
    """Its header says how much is missing, and still tells build and time."""
    start = HEADER_ONLY.read_bytes()
    assert expected_length(start) == 0x7FE88000
    with pytest.raises(DumpError, match="16384 of 2145943552 bytes"):
        open_dump(HEADER_ONLY)
    with open_dump(HEADER_ONLY, allow_incomplete=True) as opened:
        assert opened.header.dump_type == 1
        assert opened.header.runs is not None and len(opened.header.runs) == 5
        assert opened.header.build == 19045
        assert opened.header.comment == ""
        assert opened.facts().system_time == "2024-10-12T12:57:59Z"
