"""Each dump type from its own bytes, against what was put in."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from dumps_builder import DRIVER, NT, PAGE, blobs, context, dump, header, small_world, stored
from dumps_small import small_of

from lab.dumps import DefectiveDump, NotInDump, expected_length, open_dump, why_not_whole
from lab.dumps.length import PREFIX
from lab.dumps.source import BytesSource
from lab.model import ConfigurationError, DumpError

PAGED = (1, 2, 5, 6, 8, 9, 0xA)
SHARED = Path(__file__).parents[2].parent / "shared" / "data"
HEADER_ONLY = SHARED / "kernel-dumps" / "imhex-dmp64-header-16k.bin"


def _whole(kind: int, **fields: object) -> bytes:
    world = small_world()
    record = context(NT + 0x1000, 0xFFFF0000)
    return small_of(world, record) if kind == 4 else dump(world, kind, record=record, **fields)


@pytest.mark.parametrize("kind", PAGED)
def test_every_stored_page_reads_back(kind: int) -> None:
    world = small_world()
    with open_dump(BytesSource(dump(world, kind, record=context(NT + 0x1000, 0xFFFF0000)))) as opened:
        assert opened.physical is not None
        assert opened.physical.map.pages == len(world.frames)
        for frame, content in world.frames.items():
            assert opened.physical.page(frame) == bytes(content)
        for frame in {-1, *range(max(world.frames) + 20), 1 << 51, 1 << 64} - set(world.frames):
            with pytest.raises(NotInDump):
                opened.physical.page(frame)


@pytest.mark.parametrize("kind", (*PAGED, 4))
def test_facts_and_header(kind: int) -> None:
    data = _whole(kind)
    with open_dump(BytesSource(data), name="C:/MEMORY.DMP") as opened:
        facts = opened.facts()
        assert (facts.path, facts.dump_type, facts.build) == ("C:/MEMORY.DMP", kind, 7601)
        assert (facts.machine, facts.processors) == ("x64", 2)
        assert (facts.system_time, facts.uptime) == ("2021-02-20T06:38:22Z", 3600.0)
        assert (facts.size, facts.complete, facts.warnings, facts.defects) == (len(data), True, (), ())
        assert opened.bugcheck.title == "KERNEL_APC_PENDING_DURING_EXIT (20)"
        assert opened.bugcheck.parameters == (0, 0xFFFF, 0, 1)
        assert opened.exception is None  # the pattern PAGE, not a number
        assert opened.header.required_space is None
        assert opened.header.attributes is None
        assert opened.memory.read(NT, 2) == b"MZ"
        assert opened.memory.read(DRIVER + 0xFFE, 4) == bytes(4)  # across a page boundary
        assert opened.context.rip == NT + 0x1000
        assert opened.blobs == ()


@pytest.mark.parametrize("kind", (*PAGED, 4))
def test_length_is_told_from_the_first_bytes(kind: int) -> None:
    data = _whole(kind)
    start = data[:PREFIX]
    assert expected_length(start) == len(data)
    assert why_not_whole(start, len(data)) is None
    assert "of" in (why_not_whole(start, len(data) - PAGE) or "")
    assert expected_length(data[:0x1FFF]) is None
    assert expected_length(b"\0" * PREFIX) is None


def test_second_header_is_believed_over_the_type_number() -> None:
    """Summary dumps have 32-bit fields, bitmap dumps 64-bit ones; a file may carry either number."""
    for written, said in ((2, 6), (6, 2), (5, 2), (6, 7)):
        data = bytearray(_whole(written))
        struct.pack_into("<I", data, 0xF98, said)
        assert expected_length(bytes(data[:PREFIX])) == len(data)
        with open_dump(BytesSource(bytes(data))) as opened:
            assert opened.memory.read(NT, 2) == b"MZ"


@pytest.mark.parametrize("surplus", range(8))
@pytest.mark.parametrize("kind", (2, 5, 6))
def test_bits_behind_the_end_of_the_bitmap_do_not_count(kind: int, surplus: int) -> None:
    frames = {number: bytes([number]) * PAGE for number in (1, 2, 9, 15)}
    data = bytearray(stored(frames, kind, root=1, surplus=surplus))
    with open_dump(BytesSource(bytes(data))) as opened:
        assert opened.physical is not None
        assert opened.physical.map.pages == 4
        assert opened.physical.map.limit == 24 - surplus
        assert opened.physical.page(15) == bytes([15]) * PAGE


def test_a_server_with_12_tebibytes(tmp_path: Path) -> None:
    """Its bitmap has 384 MiB; what is not stored of it, and of the dump, is a hole in the file."""
    bits, last = 12 << 28, (11 << 28) + 5
    data = 0x2038 + bits // 8 + 0xFFF & ~0xFFF
    path = tmp_path / "MEMORY.DMP"
    with path.open("wb") as file:
        file.write(header(6, root=1))
        file.write(struct.pack("<8s24xQQQ", b"SDMPDUMP", data, 2, bits))
        for frame in (1, last):
            file.seek(0x2038 + frame // 8)
            file.write(bytes([1 << frame % 8]))
        file.seek(data)
        file.write(b"\1" * PAGE + b"\2" * PAGE)
    with open_dump(path) as opened:
        assert opened.physical is not None
        assert opened.physical.page(last) == b"\2" * PAGE
        assert opened.physical.map.offset_of(last - 1) is None


def test_a_bitmap_of_many_chunks() -> None:
    """Frames at the edges of what is counted together: 4 KiB and 256 KiB of bitmap."""
    numbers = [1, 0x7FFF, 0x8000, 0x8001, 0x1FFFFF, 0x200000, 0x200001, 0x20FFFF]
    frames = {number: struct.pack("<I", number) * 1024 for number in numbers}
    with open_dump(BytesSource(stored(frames, 6, root=1))) as opened:
        assert opened.physical is not None
        for number, content in frames.items():
            assert opened.physical.page(number) == content
            if number + 1 not in frames:
                with pytest.raises(NotInDump):
                    opened.physical.page(number + 1)


@pytest.mark.parametrize("kind", (1, 8))
def test_runs_that_overlap_hide_no_page(kind: int) -> None:
    """A page is where it is listed first; the pages of later runs still count in the file."""
    runs = [(0x10, 6), (0x12, 1), (0x14, 4)]
    pages = [bytes([index]) * PAGE for index in range(11)]
    if kind == 1:
        data = bytearray(stored({0x10: bytes(PAGE)}, 1, root=0x10))
        struct.pack_into("<I4xQ6Q", data, 0x88, 3, 11, *(value for run in runs for value in run))
        data = data[:0x2000]
    else:
        data = bytearray(stored({0x10: b"", 0x20: b"", 0x30: b""}, 8, root=0x11))
        struct.pack_into("<6Q", data, 0x2030, *(value for run in runs for value in run))
    struct.pack_into("<Q", data, 0x10, 0x11000)
    with open_dump(BytesSource(bytes(data) + b"".join(pages))) as opened:
        assert opened.physical is not None
        where = [0, 1, 2, 3, 4, 5, 9, 10]
        assert [opened.physical.page(0x10 + i)[0] for i in range(8)] == where
        assert opened.physical.map.pages == 11


@pytest.mark.parametrize("kind", (1, 2, 4, 5, 6))
def test_secondary_data_lies_behind_the_dump(kind: int) -> None:
    tags = [bytes(range(16)), bytes(16), b"\xff" * 16]
    behind = blobs((tags[0], b"first", 0, 3), (tags[1], b"", 0, 0), (tags[2], b"third" * 100, 4, 1))
    with open_dump(BytesSource(_whole(kind) + behind + bytes(64))) as opened:
        assert [blob.tag for blob in opened.blobs] == [
            "03020100-0504-0706-0809-0a0b0c0d0e0f",
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
        ]
        assert [opened.blob_bytes(blob) for blob in opened.blobs] == [b"first", b"", b"third" * 100]
        assert opened.defects == ()
    with open_dump(BytesSource(_whole(kind) + behind[:-10])) as opened:
        assert len(opened.blobs) == 2  # the third is not whole


def test_the_exception_of_the_header() -> None:
    data = bytearray(_whole(6))
    struct.pack_into("<IIQQI4x2Q", data, 0xF00, 0xC0000005, 1, 0, NT + 0x1234, 2, 1, 0x20)
    with open_dump(BytesSource(bytes(data))) as opened:
        assert opened.exception is not None
        assert (opened.exception.code, opened.exception.address) == (0xC0000005, NT + 0x1234)
        assert opened.exception.parameters == (1, 0x20)


def test_a_path_that_leads_nowhere(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        open_dump(tmp_path / "none.dmp")
    with pytest.raises(ConfigurationError):
        open_dump(tmp_path)


class _Closing(BytesSource):
    closed = False

    def close(self) -> None:
        self.closed = True


def test_a_source_is_closed_with_the_dump() -> None:
    source = _Closing(_whole(6))
    with open_dump(source):
        assert not source.closed
    assert source.closed
    source = _Closing(b"nothing")
    with pytest.raises(DefectiveDump, match=r"MEMORY\.DMP: it is not a Windows dump"):
        open_dump(source, name="MEMORY.DMP")
    assert source.closed


def test_a_file_that_becomes_shorter_while_it_is_open(tmp_path: Path) -> None:
    """What is gone reads as not in the dump; the process lives on."""
    path = tmp_path / "MEMORY.DMP"
    data = _whole(6)
    path.write_bytes(data)
    with open_dump(path) as opened:
        assert opened.physical is not None
        last = max(f for f in range(opened.physical.map.limit) if opened.physical.map.offset_of(f))
        with path.open("r+b") as file:
            file.truncate(len(data) // 2)
        with pytest.raises(NotInDump, match="cut off"):
            opened.physical.page(last)


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
        # Written and not written, a byte of the pattern PAGE among them.
        assert (opened.header.attributes, opened.header.secondary_version) == (0x18, None)
        assert opened.facts().system_time == "2024-10-12T12:57:59Z"
        assert opened.facts().defects == ("cut-off", "no-page-tables")
