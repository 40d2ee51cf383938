"""kdmp-parser, written by others in another language, agrees page by page and address by address."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from dumps_builder import DRIVER, NT, PAGE, POOL, STACK, World, context, dump, small_world, stored
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.dumps import Dump, NotInDump, NotPresent, expected_length, open_dump
from lab.dumps.virtual import PagedMemory
from lab.twin.crash import CrashState, Image, Stop
from lab.twin.memory import write_dump

kdmp = pytest.importorskip("kdmp_parser")

KINDS = (1, 5, 6, 8, 9, 0xA)
"""What it reads: not the summary dumps of 2008 R2, and no small dumps."""

modest = settings(max_examples=40, deadline=None)


@contextmanager
def _both(data: bytes) -> Iterator[tuple[Dump, Any]]:
    with tempfile.NamedTemporaryFile(suffix=".dmp") as file:
        file.write(data)
        file.flush()
        with open_dump(file.name, allow_incomplete=True) as ours:
            yield ours, kdmp.KernelDumpParser(file.name)


@st.composite
def layouts(draw: st.DrawFn) -> tuple[int, dict[int, bytes]]:
    """(dump type, page frames): runs and holes; frame 0 where the type can hold it."""
    kind = draw(st.sampled_from(KINDS))
    lowest = 1 if kind in (8, 9, 0xA) else 0  # frame 0 ends their tables
    frames: dict[int, bytes] = {}
    at = draw(st.integers(lowest, 40))
    for _ in range(draw(st.integers(1, 20))):
        length = draw(st.integers(1, 9))
        for frame in range(at, at + length):
            frames[frame] = frame.to_bytes(4, "little") * (PAGE // 4)
        at += length + draw(st.one_of(st.integers(1, 12), st.sampled_from([0x8000, 0x7FFF, 0x40000])))
    return kind, frames


@modest
@given(layouts(), st.randoms(use_true_random=False))
def test_every_page_and_no_other(layout: tuple[int, dict[int, bytes]], random: Any) -> None:
    kind, frames = layout
    # The oracle ignores a last byte of the bitmap that is not whole.
    data = stored(frames, kind, root=min(frames), surplus=0)
    with _both(data) as (ours, oracle):
        assert ours.physical is not None
        assert expected_length(data) == ours.physical.map.end == len(data)
        around = {frame + step for frame in frames for step in (-1, 0, 1)}
        around |= {random.randrange(max(frames) + 64) for _ in range(64)}
        for frame in sorted(around - {-1}):
            theirs = oracle.read_physical_page(frame * PAGE)
            assert (theirs is not None) is (frame in frames)
            if theirs is not None:
                assert ours.physical.page(frame) == bytes(theirs) == frames[frame]
            else:
                with pytest.raises(NotInDump):
                    ours.physical.page(frame)


def _translated(memory: PagedMemory, address: int) -> int | None:
    try:
        return memory.translate(address)
    except (NotInDump, NotPresent):
        return None


@pytest.mark.parametrize("kind", KINDS)
def test_a_kernel_with_large_pages(kind: int) -> None:
    world = small_world()
    world.map_large(0xFFFFF90000000000, 1 << 21, 0x400)
    world.map_large(0xFFFFF90040000000, 1 << 30, 0)
    world.frames[0x401] = bytearray(b"in a large page".ljust(PAGE, b"."))
    data = dump(world, kind, surplus=0, record=context(NT + 0x1000, 0xFFFF0000))
    addresses = [NT, NT + 0x7123, DRIVER, DRIVER + 0x2000, POOL + 0x400, STACK + 0x2FF8, NT + 0x239C90]
    addresses += [0xFFFFF90000001005, 0xFFFFF90040401005, 0xFFFFF90080000000, 0xFFFFD00000000000, 0]
    with _both(data) as (ours, oracle):
        memory = ours.memory
        assert isinstance(memory, PagedMemory)
        for address in addresses:
            assert oracle.translate_virtual(address) == _translated(memory, address), hex(address)
        assert memory.read(0xFFFFF90000001000, 5) == memory.read(0xFFFFF90040401000, 5) == b"in a "
        assert oracle.context.Rip == ours.context.rip == NT + 0x1000
        assert oracle.directory_table_base == ours.header.directory_table_base


@modest
@given(
    st.lists(st.tuples(st.integers(0, (1 << 36) - 1), st.booleans()), min_size=1, max_size=30, unique=True),
    st.lists(st.integers(0, (1 << 64) - 1), max_size=20),
)
def test_random_address_spaces(pages: list[tuple[int, bool]], others: list[int]) -> None:
    world = World()
    addresses = []
    for page, kernel in pages:
        address = (page << 12 & 0x7FFF_FFFF_F000) | (0xFFFF_8000_0000_0000 if kernel else 0)
        world.write(address, address.to_bytes(8, "little"))
        addresses.append(address)
    with _both(dump(world, 6, surplus=0)) as (ours, oracle):
        memory = ours.memory
        assert isinstance(memory, PagedMemory)
        for address in addresses:
            assert memory.read(address, 8) == address.to_bytes(8, "little")
            assert bytes(oracle.read_virtual_page(address))[:8] == address.to_bytes(8, "little")
        for address in (a ^ flip for a in addresses for flip in (0, 0x123, 0x1000, 0x200000, 1 << 39)):
            assert oracle.translate_virtual(address) == _translated(memory, address)
        for address in others:
            if address >> 47 in (0, 0x1FFFF):  # the oracle does not look at the bits above
                assert oracle.translate_virtual(address) == _translated(memory, address)


@pytest.fixture(scope="module", params=[17763, 20348])
def twin_dump(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("twin") / "MEMORY.DMP"
    system = ("ntoskrnl.exe", "hal.dll", "fltmgr.sys", "Ntfs.sys", "srv2.sys")
    images = tuple(Image(name, False) for name in system)
    images += (Image("BadDriver.sys", True),)
    write_dump(CrashState(request.param, 1, Stop.APC_PENDING_DURING_EXIT, images, 7), path, filler_pages=64)
    return path


def test_a_whole_kernel(twin_dump: Path) -> None:
    oracle = kdmp.KernelDumpParser(twin_dump)
    with open_dump(twin_dump) as ours:
        assert ours.physical is not None
        assert isinstance(ours.memory, PagedMemory)
        found = 0
        for chunk in range(0, ours.physical.map.limit, 61):
            assert (oracle.read_physical_page(chunk * PAGE) is None) is (
                ours.physical.map.offset_of(chunk) is None
            )
        for frame in _stored_frames(twin_dump):
            page = oracle.read_physical_page(frame * PAGE)
            assert page is not None and bytes(page) == ours.physical.page(frame)
            found += 1
        assert found == ours.physical.map.pages
        head = ours.header.module_list
        assert head is not None
        for address in (head, head & ~0xFFFFF, ours.context.rip, ours.context.rsp, head + (1 << 38)):
            assert oracle.translate_virtual(address) == _translated(ours.memory, address)
        assert oracle.context.Rip == ours.context.rip
        assert oracle.context.Rsp == ours.context.rsp


def _stored_frames(path: Path) -> list[int]:
    """Set bits of the bitmap, read without any code of ours."""
    data = path.read_bytes()
    bits = int.from_bytes(data[0x2030:0x2038], "little")
    bitmap = data[0x2038 : 0x2038 + (bits + 7) // 8]
    return [8 * i + bit for i, byte in enumerate(bitmap) if byte for bit in range(8) if byte >> bit & 1]
