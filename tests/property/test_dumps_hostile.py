"""Whatever happened to a dump file, the reader says so in a DumpError, soon, and never otherwise."""

from __future__ import annotations

import struct
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))  # dumps_builder lives with the unit tests

from dumps_builder import DRIVER, NT, PAGE, POOL, STACK, blobs, context, dump, small_world
from dumps_small import Small, small_dump, small_of

from lab.dumps import RemoteSource, expected_length, open_dump, why_not_whole
from lab.dumps.blocks import Block, BlockMemory
from lab.dumps.source import BytesSource
from lab.dumps.user import summarise
from lab.kernel.opening import open_kernel
from lab.kernel.unwind import walk
from lab.model import DumpError

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
TRIAGE = SHARED / "kernel-dumps" / "rizin-triage_x64.dmp"
USER = SHARED / "user-dumps" / "rust-minidump-test.dmp"

RECORD = context(DRIVER + 0x1000, STACK + 0x2F00)
BEHIND = blobs((bytes(range(16)), b"secondary data", 0, 2), (bytes(16), b"", 0, 0))
WHOLE = {str(kind): dump(small_world(), kind, record=RECORD) + BEHIND for kind in (1, 2, 5, 6, 8, 9, 0xA)}
WHOLE["4"] = small_of(small_world(), RECORD) + BEHIND
WHOLE["4, every part"] = small_dump(
    Small(
        drivers=(("ntoskrnl.exe", NT, 0x5DD000), ("srv2.sys", DRIVER, 0x8000)),
        unloaded=(("gone.sys", DRIVER + 0x80000, DRIVER + 0x90000),),
        broken="broken.sys",
        data_page=(POOL, bytes(PAGE)),
        debugger_data=bytes(0x340),
        blocks=((NT, b"MZ"), (DRIVER, b"MZ")),
        record=RECORD,
    )
)
if TRIAGE.exists():
    WHOLE["4, real"] = TRIAGE.read_bytes()
LIMIT = 5.0  # seconds of processor time; far above what any of it takes, far below a hang

relaxed = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class _Remote:
    """The bytes as a server would give them."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read_at(self, offset: int, size: int) -> bytes:
        assert offset >= 0 and size > 0 and offset + size <= len(self._data)
        return self._data[offset : offset + size]

    def close(self) -> None:
        """Nothing to close."""


def _use(data: bytes) -> None:
    """All that the analyser does with a file."""
    started = time.process_time()
    for allow in (False, True):
        try:
            with open_dump(RemoteSource(_Remote(data), len(data)), allow_incomplete=allow) as opened:
                opened.facts()
                _ = opened.exception
                for blob in opened.blobs:
                    opened.blob_bytes(blob)
                kernel = open_kernel(opened)
                walk(kernel)
                kernel.symbol(kernel.nt.base + 0x1000)
                _ = kernel.thread
        except DumpError as error:
            assert str(error)
    expected_length(data[:0x2100])
    why_not_whole(data[:0x2100], len(data))
    assert time.process_time() - started < LIMIT


@relaxed
@given(st.sampled_from(sorted(WHOLE)), st.floats(0, 1))
def test_truncations(kind: str, share: float) -> None:
    data = WHOLE[kind]
    _use(data[: int(len(data) * share)])


# Where a change matters: headers, second headers, tables; and anywhere.
places = st.one_of(
    st.integers(0, 0x100),
    st.integers(0xF98, 0xFB0),
    st.integers(0x1030, 0x1058),
    st.integers(0x2000, 0x2100),
    st.integers(0, 1 << 22),
)
values = st.one_of(
    st.binary(min_size=1, max_size=1),
    st.sampled_from(
        [b"\xff" * 4, b"\xff" * 8, bytes(8), struct.pack("<Q", 1 << 63), struct.pack("<I", 0x7FFFFFFF)]
    ),
)


@relaxed
@given(st.sampled_from(sorted(WHOLE)), st.lists(st.tuples(places, values), min_size=1, max_size=6))
def test_changed_bytes(kind: str, changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(WHOLE[kind])
    for place, value in changes:
        place %= len(data)
        data[place : place + len(value)] = value
    _use(bytes(data))


@relaxed
@given(st.sampled_from(sorted(WHOLE)), st.binary(min_size=0x200, max_size=0x200))
def test_a_second_header_of_noise(kind: str, noise: bytes) -> None:
    data = bytearray(WHOLE[kind])
    keep = 12 if kind in ("8", "9", "10") else 8  # with its signature, so that it is looked into
    data[0x2000 + keep : 0x2000 + len(noise)] = noise[keep:]
    _use(bytes(data))


# Page-table entries as an attacker would write them: to themselves, to tables, nowhere, of every kind.
entries = st.builds(
    lambda frame, flags, high: frame << 12 | flags | high << 52,
    st.one_of(st.integers(0x100, 0x140), st.integers(0, (1 << 40) - 1)),
    st.integers(0, 0xFFF),
    st.integers(0, 0xFFF),
)


@relaxed
@given(
    st.sampled_from(["1", "2", "6", "9"]),
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 511), entries), min_size=1, max_size=40),
    st.lists(st.integers(0, (1 << 64) - 1), max_size=10),
)
def test_page_tables_of_an_attacker(
    kind: str, changes: list[tuple[int, int, int]], addresses: list[int]
) -> None:
    data = bytearray(WHOLE[kind])
    with open_dump(BytesSource(bytes(data))) as opened:
        assert opened.physical is not None
        pages = opened.physical.map
        places = [at for frame in range(pages.limit) if (at := pages.offset_of(frame)) is not None]
    for page, index, entry in changes:
        struct.pack_into("<Q", data, places[page % len(places)] + 8 * index, entry)
    _use(bytes(data))
    started = time.process_time()
    with open_dump(BytesSource(bytes(data)), allow_incomplete=True) as opened:
        for address in (NT, DRIVER, POOL, STACK, *addresses):
            try:
                assert len(opened.memory.read(address, 64)) == 64
            except DumpError as error:
                assert str(error)
    assert time.process_time() - started < LIMIT


@relaxed
@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 400), st.integers(0, 5000)), max_size=40))
def test_blocks_read_as_if_written_last_to_first(listed: list[tuple[int, int, int]]) -> None:
    """Against a plain model: a byte comes from the first block in the list that holds it."""
    content = bytes(index * 7 & 0xFF for index in range(5500))
    blocks = [Block(*entry) for entry in listed]
    model: dict[int, int] = {}
    for block in reversed(blocks):
        for inside in range(block.size):
            model[block.address + inside] = content[block.offset + inside]
    memory = BlockMemory(BytesSource(content), blocks)
    for address in range(0, 3500, 3):
        if address in model:
            assert memory.read(address, 1)[0] == model[address]
        else:
            with pytest.raises(DumpError):
                memory.read(address, 1)


@pytest.mark.parametrize(
    ("ranges", "step", "pages"),
    [(16_000, 1, 1 << 20), (520_000, 1, 1 << 20), (520_000, 2, 2), (520_000, 2, 1), (520_000, -2, 2)],
)
def test_tables_of_ranges_at_their_limits_stay_quick(ranges: int, step: int, pages: int) -> None:
    """Every range upon the next, or apart, in order or against it."""
    table = b"".join(struct.pack("<QQ", 0x200000 + step * index, pages) for index in range(ranges))
    second = struct.pack("<I8sIQQ16x", 0x40, b"RDMPDUMP", 0, len(table) + 0x10, 0x2030 + len(table))
    _use(WHOLE["8"][:0x2000] + second + table + bytes(PAGE))


def test_the_largest_bitmap_with_nothing_behind_it() -> None:
    bits = 1 << 34
    second = struct.pack("<8sI20xQQQ", b"SDMPDUMP", 1, 0x3000 + bits // 8, 1, bits)
    _use(WHOLE["6"][:0x2000] + second + bytes(PAGE))


def test_many_overlapping_blocks_stay_quick() -> None:
    started = time.process_time()
    small = [Block(16 * index, 8, 0) for index in range(30_000)]
    large = [Block(0, 16 * 30_000 + index, 0) for index in range(30_000)]
    BlockMemory(BytesSource(bytes(64)), small + large)
    assert time.process_time() - started < LIMIT


@pytest.mark.skipif(not USER.exists(), reason="the shared test data are not here")
@relaxed
@given(st.lists(st.tuples(st.integers(0, 3000), values), min_size=1, max_size=5), st.floats(0.2, 1))
def test_user_mode_dumps(changes: list[tuple[int, bytes]], share: float) -> None:
    started = time.process_time()
    data = bytearray(USER.read_bytes())
    data = data[: int(len(data) * share)]
    for place, value in changes:
        data[place : place + len(value)] = value
    with tempfile.NamedTemporaryFile(suffix=".dmp") as file:
        file.write(data)
        file.flush()
        try:
            summarise(file.name)
        except DumpError as error:
            assert str(error)
    assert time.process_time() - started < LIMIT
