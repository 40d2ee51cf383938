"""Page tables of four and five levels, large pages, and entries that are not valid."""

from __future__ import annotations

import struct

import pytest
from dumps_builder import DRIVER, NT, PAGE, POOL, World, add_modules, dump, image, small_world, stored

from lab.dumps import Dump, NotInDump, NotPresent, open_dump
from lab.dumps.paging import Paging
from lab.dumps.source import BytesSource
from lab.kernel.lists import follow
from lab.kernel.opening import open_kernel
from lab.model import DumpError

BASE = 0xFFFFF8A000000000
HIGH = 0xFF30_0000_0000_0000  # canonical with five levels only
MASK = (1 << 64) - 1


def _open(world: World, kind: int = 6, **fields: object) -> Dump:
    return open_dump(BytesSource(dump(world, kind, **fields)))


# --- levels ---------------------------------------------------------------------------------------


def _world(levels: int, nt: int = NT) -> World:
    world = World(levels)
    world.write(nt, image("ntkrnlmp.pdb"))
    add_modules(world, nt + 0x239C90, [("ntoskrnl.exe", nt, 0x5DD000), ("srv2.sys", DRIVER, 0x8000)])
    return world


@pytest.mark.parametrize("levels", (4, 5))
def test_levels_are_found_by_the_kernels_own_lists(levels: int) -> None:
    with _open(_world(levels)) as opened:
        assert opened.paging == Paging(levels, True)
        assert opened.memory.read(NT, 2) == b"MZ"
        assert opened.defects == ()


def test_a_kernel_above_what_four_levels_reach() -> None:
    with _open(_world(5, HIGH), module_list=HIGH + 0x239C90) as opened:
        assert opened.paging.levels == 5
        assert opened.memory.read(HIGH, 2) == b"MZ"
        with pytest.raises(NotPresent, match="canonical"):
            opened.memory.read(0x0100_0000_0000_0000, 1)
    with _open(_world(4)) as opened, pytest.raises(NotPresent, match="canonical"):
        opened.memory.read(HIGH, 1)


def test_all_of_the_kernel_is_found_above_what_four_levels_reach() -> None:
    """Lists, processors and KDBG there are no less the kernel's than where four levels have them."""
    world, head, block = _world(5, HIGH), HIGH + 0x239C90, HIGH + 0x300000
    world.write(block, struct.pack("<QQ4sIQ", block, block, b"KDBG", 0x340, HIGH).ljust(0x340, b"\0"))
    world.write_words(block + 0x218, HIGH + 0x310000)  # KiProcessorBlock
    world.write_words(HIGH + 0x310000, HIGH + 0x320000)
    world.write_words(HIGH + 0x320000, 0, HIGH + 0x330000)  # KPRCB.CurrentThread
    with _open(world, module_list=head, debugger_data=block) as opened:
        kernel = open_kernel(opened)
        assert [(m.name, m.base) for m in kernel.modules] == [("ntoskrnl.exe", HIGH), ("srv2.sys", DRIVER)]
        assert kernel.address("nt!KiProcessorBlock") == HIGH + 0x310000
        assert [(each.address, each.thread) for each in kernel.processors] == [
            (HIGH + 0x320000, HIGH + 0x330000)
        ]
        assert follow(kernel.memory, head, 10).broken == ""


@pytest.mark.parametrize("levels", (4, 5))
def test_the_process_list_serves_as_well(levels: int) -> None:
    world = _world(levels)
    del world.frames[world.mapped[(NT + 0x239C90) & ~0xFFF]]
    head = POOL + 0x8000
    world.write_words(head, head + 0x40, head + 0x80)
    world.write_words(head + 0x40, head + 0x80, head)
    world.write_words(head + 0x80, head, head + 0x40)
    with _open(world, process_list=head) as opened:
        assert opened.paging == Paging(levels, True)


def test_an_error_names_the_first_byte_that_lacks() -> None:
    world = _world(4)
    world.write(POOL, bytes(PAGE))
    with _open(world) as opened:
        with pytest.raises(NotPresent, match=f"^{BASE + 0x123:#x} is not mapped"):
            opened.memory.read(BASE + 0x123, 4)
        with pytest.raises(NotPresent, match=f"^{POOL + PAGE:#x} is not mapped"):
            opened.memory.read(POOL + 0xFFE, 4)


def test_nothing_tells() -> None:
    """Four levels are taken, and said to lead nowhere."""
    world = World()
    world.write(NT, b"MZ")
    with _open(world) as opened:
        assert opened.paging == Paging(4, False)
        assert [defect.id for defect in opened.defects] == ["kernel-unreadable"]
        assert opened.memory.read(NT, 2) == b"MZ"


def test_of_cr3_only_the_page_counts() -> None:
    """Its low bits are a PCID, bit 63 says that nothing is to be flushed."""
    data = bytearray(dump(small_world(), 6))
    (root,) = struct.unpack_from("<Q", data, 0x10)
    struct.pack_into("<Q", data, 0x10, root | 1 << 63 | 0x802)
    with open_dump(BytesSource(bytes(data))) as opened:
        assert opened.defects == ()
        assert opened.memory.read(NT, 2) == b"MZ"


@pytest.mark.parametrize("levels", (4, 5))
def test_other_page_tables_of_the_same_dump(levels: int) -> None:
    """A header with a user-mode CR3 maps no kernel; the tables of the System process do."""
    world, user = _world(levels), World()
    user._next = 0x4000
    user.write(0x7FF6_0000_0000, b"user")
    frames = {**world.frames, **{f: p for f, p in user.frames.items() if f != user.root}}
    frames[0x3FFF] = user.frames[user.root]
    with open_dump(BytesSource(stored(frames, 6, root=0x3FFF))) as opened:
        assert [defect.id for defect in opened.defects] == ["kernel-unreadable"]
        assert opened.memory.read(0x7FF6_0000_0000, 4) == b"user"
        with pytest.raises(NotPresent):
            opened.memory.read(NT, 2)
        assert opened.with_root(world.root << 12 | 2).read(NT, 2) == b"MZ"
        with pytest.raises(NotInDump):
            opened.with_root(0x55000).read(NT, 2)


def test_a_small_dump_has_no_page_tables() -> None:
    from dumps_small import Small, small_dump

    with open_dump(BytesSource(small_dump(Small()))) as opened, pytest.raises(DumpError, match="no physical"):
        opened.with_root(0x1000)


# --- large pages ----------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", (4, 5))
@pytest.mark.parametrize("size", (1 << 21, 1 << 30))
@pytest.mark.parametrize("pat", (0, 1 << 12))
def test_large_pages(levels: int, size: int, pat: int) -> None:
    """Bit 12 of such an entry is PAT, not part of the frame."""
    world = _world(levels)
    large, first = 0xFFFFF90000000000, size >> 12
    world.map_large(large, size, first, 0xE3 | pat | 1 << 63)
    world.frames[first + 3] = bytearray(b"third page".ljust(PAGE, b"."))
    world.frames[2 * first - 1] = bytearray(b"." * (PAGE - 4) + b"last")
    with _open(world) as opened:
        assert opened.memory.read(large + 0x3000, 10) == b"third page"
        assert opened.memory.read(large + size - 4, 4) == b"last"
        assert opened.memory.translate(large + 0x3123) == size + 0x3123  # type: ignore[attr-defined]
        with pytest.raises(NotInDump):
            opened.memory.read(large + 0x4000, 1)
        with pytest.raises(NotPresent):
            opened.memory.read(large + size, 1)


# --- entries that are not valid -------------------------------------------------------------------


def _pages(count: int) -> tuple[World, list[int]]:
    """A world with so many pages from BASE on, "page N" in each, and their frames."""
    world = small_world()
    for index in range(count):
        world.write(BASE + PAGE * index, f"page {index}".encode())
    return world, [world.map(BASE + PAGE * index) for index in range(count)]


def _entry(world: World, index: int, value: int) -> None:
    world.set_word(*world.pte(BASE + PAGE * index), value & MASK)


def test_pages_in_transition_are_read() -> None:
    world, frames = _pages(3)
    _entry(world, 1, frames[1] << 12 | 1 << 11 | 0x80)
    _entry(world, 2, frames[2] << 12 | 1 << 11 | 1 << 45)  # with the bit of the L1TF mitigation
    with _open(world) as opened:
        for index in range(3):
            assert opened.memory.read(BASE + PAGE * index, 6) == f"page {index}".encode()


def test_a_page_in_transition_that_the_dump_lacks() -> None:
    world, frames = _pages(4)
    _entry(world, 1, frames[1] << 12 | 1 << 11)
    del world.frames[frames[1]]
    _entry(world, 2, 1 << 47 | 1 << 11)  # the mask alone: frame 0, which is not stored
    _entry(world, 3, frames[3] << 12 | 1 << 45 | 1 << 11 | 1 << 4)  # bit 4: the frame is meant as it stands
    with _open(world) as opened:
        for index in (1, 2, 3):
            with pytest.raises(NotInDump, match=f"{BASE + PAGE * index:#x}"):
                opened.memory.read(BASE + PAGE * index, 1)


def test_a_page_table_in_transition_is_walked() -> None:
    world, _ = _pages(1)
    place = world.table(BASE, 1 << 21)
    table = world.word(*place) >> 12 & 0xFFFFFFFFF
    world.set_word(*place, table << 12 | 1 << 11)
    with _open(world) as opened:
        assert opened.memory.read(BASE, 6) == b"page 0"
    world.set_word(*place, 0x12345 << 32 | 0x80)
    with _open(world) as opened, pytest.raises(NotPresent, match="paged out"):
        opened.memory.read(BASE, 6)
    world.set_word(*place, BASE << 16 & MASK | 1 << 10)  # page tables are never shared
    with _open(world) as opened, pytest.raises(NotPresent):
        opened.memory.read(BASE, 6)


def _shared(world: World, index: int, pointer: int, *, flags: int = 0, mask: int = 0) -> None:
    _entry(world, index, (pointer & (1 << 48) - 1) << 16 | 1 << 10 | flags | mask)


def test_shared_pages_are_followed() -> None:
    world, frames = _pages(6)
    prototypes = BASE + 5 * PAGE + 0x800
    world.write_words(prototypes, frames[1] << 12 | 0x63, frames[2] << 12 | 1 << 11, frames[3] << 12 | 0x63)
    _shared(world, 1, prototypes)
    _shared(world, 2, prototypes + 8)
    assert not prototypes & 1 << 29
    _shared(world, 3, prototypes + 16, mask=1 << 45)  # the mask of the L1TF mitigation falls into the pointer
    _shared(world, 4, prototypes + 16, mask=1 << 45, flags=1 << 4)  # bit 4: it is meant as it stands
    with _open(world) as opened:
        for index in (1, 2, 3):
            assert opened.memory.read(BASE + PAGE * index, 6) == f"page {index}".encode()
        with pytest.raises(NotPresent, match="its prototype is not to be read"):
            opened.memory.read(BASE + PAGE * 4, 1)


def test_shared_pages_that_lead_nowhere() -> None:
    world, frames = _pages(9)
    prototypes = BASE + 8 * PAGE + 0x800
    world.write_words(prototypes, 0, 0x12345 << 32 | 0x80, prototypes << 16 & MASK | 1 << 10)
    gone = BASE + 7 * PAGE
    del world.frames[frames[7]]
    expected: list[tuple[int, type[DumpError], str]] = [
        (0xFFFF_FFFF_FFFF_0000, NotPresent, "prototype that leads nowhere"),  # a VAD describes it
        (prototypes, NotPresent, "not mapped"),
        (prototypes + 8, NotPresent, "paged out"),
        (prototypes + 16, NotPresent, "belongs to a file"),
        (gone, NotInDump, "its prototype is not in the dump"),
        (0xFFFFD00000000000, NotPresent, "its prototype is not to be read"),
    ]
    for index, (pointer, _, _) in enumerate(expected):
        _shared(world, index, pointer)
    with _open(world) as opened:
        for index, (_, error, says) in enumerate(expected):
            with pytest.raises(error, match=says):
                opened.memory.read(BASE + PAGE * index, 1)


def test_prototypes_that_describe_themselves_end() -> None:
    world, _ = _pages(1)
    place = world.pte(BASE)
    _shared(world, 0, BASE + place[1])
    with _open(world) as opened, pytest.raises(NotPresent):
        opened.memory.read(BASE, 1)


def test_page_tables_that_are_their_own() -> None:
    """The self-map: every table is also a page, and a walk ends however the entries point."""
    world = small_world()
    world.set_word(world.root, 0x1ED * 8, world.root << 12 | 0x63)
    with _open(world) as opened:
        pxe = opened.memory.read(0xFFFFF6FB7DBED000 + 0x1ED * 8, 8)
        assert int.from_bytes(pxe, "little") == world.root << 12 | 0x63


def test_absent_is_told_apart_from_unmapped() -> None:
    world = small_world()
    del world.frames[world.mapped[DRIVER + 0x2000]]
    table, _ = world.pte(POOL)
    with _open(world) as opened:
        with pytest.raises(NotInDump, match=f"{DRIVER + 0x2000:#x}: physical page"):
            opened.memory.read(DRIVER + 0x2000, 8)
        with pytest.raises(NotInDump, match=f"{DRIVER + 0x2000:#x}: physical page"):
            opened.memory.read(DRIVER + 0x1FFC, 8)
        with pytest.raises(NotPresent):
            opened.memory.read(0xFFFFD00000000000, 8)
        with pytest.raises(NotPresent):
            opened.memory.read(0x0000_9000_0000_0000, 8)  # not canonical
        with pytest.raises(NotPresent):
            opened.memory.read(MASK - 3, 8)
        with pytest.raises(NotPresent):
            opened.memory.read(-8, 8)
        with pytest.raises(DumpError):
            opened.memory.read(NT, 1 << 40)
        assert opened.memory.read(0xFFFFD00000000000, 0) == b""
    del world.frames[table]
    with _open(world) as opened, pytest.raises(NotInDump, match="a page table is not in the dump"):
        opened.memory.read(POOL, 8)
