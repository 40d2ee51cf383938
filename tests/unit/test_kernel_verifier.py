"""Driver Verifier's level, driver list and critical-region log."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import kernel_bytes as kb
import pytest

from lab.kernel.regionlog import read_region_log
from lab.kernel.verifier import options, read_drivers, read_level, read_verifier
from lab.model import DumpError

LOG = kb.POOL + 0x200000
THREAD = kb.POOL + 0x300000

Entry = tuple[int, list[int]]  # (thread, stack)


def memory(entries: dict[int, Entry], index: int, *, length: int = 8, size: int = 0x40) -> kb.Bytes:
    """A log with `entries` by slot; `index` is the number of the last call."""
    found = kb.Bytes()
    found.u32(kb.NT + kb.LEVEL, 0x810)
    found.u64(kb.NT + kb.TRACES, LOG)
    found.u32(kb.NT + kb.INDEX, index)
    found.u32(kb.NT + kb.LENGTH, length)
    found.u64(kb.NT + kb.SUSPECTS, kb.NT + kb.SUSPECTS, kb.NT + kb.SUSPECTS)
    found.fill(LOG, length * size)
    found.put(THREAD, b"\x06" + bytes(0x20))
    for slot, (thread, stack) in entries.items():
        found.put(LOG + slot * size, struct.pack(f"<{1 + len(stack)}Q", thread, *stack))
    return found


def enter(image: int) -> Entry:
    return THREAD, [kb.NT + kb.ENTER + 0x92, image + 0x62A3, kb.NT + 0x100]


def leave(image: int) -> Entry:
    return THREAD, [kb.NT + kb.LEAVE + 0xC3, image + 0xAAFA]


def test_levels_in_the_debuggers_words() -> None:
    assert options(0x810) == ("Io subsystem checking enabled", "Miscellaneous checks enabled")
    assert options(0) == ()
    assert options(0x800 | 1 << 30) == ("Miscellaneous checks enabled", "Unknown options 0x40000000 enabled")


def test_the_log_newest_first() -> None:
    kernel = kb.kernel(memory({1: enter(kb.BAD), 2: leave(kb.BAD), 3: enter(kb.OTHER)}, index=3))
    log = read_region_log(kernel)
    assert [(e.direction, e.caller) for e in log.entries] == [
        ("enter", "Other.sys"),
        ("leave", "BadDriver.sys"),
        ("enter", "BadDriver.sys"),
    ]
    assert log.entries[0].stack[:2] == ("nt!VerifierKeEnterCriticalRegion+0x92", "Other+0x62a3")
    assert (log.allocated, log.capacity, log.note) == (True, 8, "")


def test_a_ring_that_wrapped_is_unrolled() -> None:
    slots = {slot: enter(kb.BAD if slot == 1 else kb.OTHER) for slot in range(8)}
    log = read_region_log(kb.kernel(memory(slots, index=0x1_0000_0001 & 0xFFFFFFFF)))
    assert [e.caller for e in log.entries] == ["BadDriver.sys"] + ["Other.sys"] * 7


def test_no_log_and_an_empty_log_are_two_things() -> None:
    nothing = memory({}, 0)
    nothing.u64(kb.NT + kb.TRACES, 0)
    assert not read_region_log(kb.kernel(nothing)).allocated
    empty = read_region_log(kb.kernel(memory({}, 0)))
    assert empty.allocated
    assert empty.entries == ()


@pytest.mark.parametrize("length", [0, 1 << 20])
def test_a_length_out_of_bounds_is_not_believed(length: int) -> None:
    found = memory({}, 0)
    found.u32(kb.NT + kb.LENGTH, length)
    log = read_region_log(kb.kernel(found))
    assert (log.allocated, log.entries) == (False, ())
    assert "damaged" in log.note


def test_entries_that_are_not_in_the_dump_are_counted() -> None:
    found = memory({1: enter(kb.BAD)}, index=1)
    for address in range(LOG + 4 * 0x40, LOG + 8 * 0x40):
        del found.cells[address]
    log = read_region_log(kb.kernel(found))
    assert len(log.entries) == 1
    assert "4 of 8 entries" in log.note


def test_longer_entries_are_recognised_without_symbols() -> None:
    direct = (THREAD, [kb.BAD + 0x62A3, kb.NT + 0x100])  # such kernels do not log the verifier's own frame
    found = memory(dict.fromkeys(range(1, 7), direct), index=6, size=0x50)
    log = read_region_log(kb.kernel(found, size=None))
    assert [(e.direction, e.caller) for e in log.entries] == [("unknown", "BadDriver.sys")] * 6
    assert "0x50" in log.note


def test_verified_drivers() -> None:
    found = memory({}, 0)
    head, first, second = kb.NT + kb.SUSPECTS, kb.POOL + 0x100, kb.POOL + 0x200
    for here, following, name in ((first, second, "BadDriver.sys"), (second, head, "Other.sys")):
        found.fill(here, 0x28)
        found.u64(here, following)
        found.text(here + 0x18, name, here + 0x80)
    found.u64(head, first)
    assert read_drivers(kb.kernel(found)) == ("BadDriver.sys", "Other.sys")
    found.u64(second, first)  # a cycle that misses the head
    assert len(read_drivers(kb.kernel(found))) == 2


def test_one_part_that_is_missing_leaves_the_others() -> None:
    found = kb.Bytes()
    found.u32(kb.NT + kb.LEVEL, 0x800)
    facts, notes = read_verifier(kb.kernel(found))
    assert (facts.level, facts.drivers, facts.log_allocated) == (0x800, (), False)
    assert [note.split(" could")[0] for note in notes] == [
        "The list of verified drivers",
        "The critical-region log",
        "Verifier's tree of loaded drivers",
    ]


def test_a_small_dump_carries_the_level_itself() -> None:
    small = SimpleNamespace(verifier_level=0x9BB, thread_address=None)
    assert read_level(kb.kernel(kb.Bytes(), small=small)) == 0x9BB


def test_no_level_is_an_error() -> None:
    with pytest.raises(DumpError):
        read_verifier(kb.kernel(kb.Bytes()))
