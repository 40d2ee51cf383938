"""Verifier's trees, counters and IRP log, by the layouts of several builds."""

from __future__ import annotations

import struct

import kernel_bytes as kb
import pytest

from lab.kernel.irplog import read_irp_log
from lab.kernel.verified import read_verified
from lab.kernel.verifier import COUNTERS, read_global_counters, read_verifier
from lab.model import Bugcheck, DumpError
from lab.symbols.layouts import layouts

AVL, TMP, IRPS, IRP_INDEX, IRP_LENGTH = 0x1FA6C0, 0x524098, 0x20F4F8, 0x20F500, 0x1DF558
TABLES, NODES, SUSPECTS, DATA = kb.POOL + 0x1000, kb.POOL + 0x2000, kb.POOL + 0x4000, kb.POOL + 0x5000
LOG, THREAD = kb.POOL + 0x20000, kb.POOL + 0x80000
KNOWN = [7601, 9600, 14393, 17763, 19041, 20348]
NAMES = {
    "ViTargetDriversAvl": AVL,
    "VfBugcheckTmpData": TMP,
    "IovIrpTraces": IRPS,
    "IovIrpTracesIndex": IRP_INDEX,
    "IovIrpTracesLength": IRP_LENGTH,
}


def tree(build: int) -> kb.Bytes:
    """BadDriver.sys as the root of the second table, Other.sys its left child, and one unloaded image."""
    types = layouts(build)
    found = kb.Bytes()
    address = kb.NT + AVL
    found.fill(address, 0x40)
    found.u64(address + types["_VF_AVL_TREE"][1]["Tables"], TABLES)
    found.u32(address + types["_VF_AVL_TREE"][1]["TablesNo"], 2)
    size = types["_VF_AVL_TABLE"][0] or 0
    found.fill(TABLES, 2 * size)
    nodes = [NODES, NODES + 0x100, NODES + 0x200]
    found.u64(TABLES + size + 0x10, nodes[0])
    found.u32(TABLES + size + 0x2C, 3)
    where = types["_VF_TARGET_DRIVER"][1]["VerifiedData"]
    fields = types["_VF_TARGET_VERIFIED_DRIVER_DATA"][1]
    for index, (node, base) in enumerate(zip(nodes, (kb.BAD, kb.OTHER, 0xFFFFF88009990000), strict=True)):
        found.fill(node, 0x60)
        data, suspect = DATA + 0x200 * index, SUSPECTS + 0x100 * index
        found.u64(node + 0x20, base)
        found.u64(node + 0x20 + where, data)
        found.fill(data, 0x140)
        found.u64(data, suspect)
        found.u32(data + fields["RaiseIrqls"], 100 + index)
        found.u64(data + fields["PagedBytes"], 0x1_0000_0000 + index)
        found.u32(data + fields["CurrentPagedPoolAllocations"], 7 + index)
    found.u64(nodes[0] + 8, nodes[1], nodes[2])
    return found


def kernel(memory: kb.Bytes, build: int, *, symbols: bool = True, **options: object) -> kb.Kernel:
    types = layouts(build) if symbols else {}
    offsets = {(name, field): at for name, (_, fields) in types.items() for field, at in fields.items()}
    sizes = {name: size for name, (size, _) in types.items() if size is not None}
    return kb.kernel(memory, build, more=NAMES, offsets=offsets, sizes=sizes, **options)  # type: ignore[arg-type]


ALL = frozenset(SUSPECTS + 0x100 * index for index in range(3))


@pytest.mark.parametrize("build", KNOWN)
def test_verified_drivers_in_memory_with_their_counters(build: int) -> None:
    found = read_verified(kernel(tree(build), build), ALL)
    assert [(driver.name, driver.base) for driver in found] == [
        ("BadDriver.sys", kb.BAD),
        ("Other.sys", kb.OTHER),
    ]
    for index, driver in enumerate(found):
        counters = dict(driver.counters)
        assert counters["RaiseIrqls"] == 100 + index
        assert counters["PagedBytes"] == 0x1_0000_0000 + index
        assert counters["CurrentPagedPoolAllocations"] == 7 + index
        assert counters["LockedBytes"] == 0


@pytest.mark.parametrize("build", KNOWN)
def test_without_symbols_the_tree_is_recognised(build: int) -> None:
    """What it holds is found; counters are not, since where they are differs."""
    found = read_verified(kernel(tree(build), build, symbols=False), ALL)
    assert [driver.name for driver in found] == ["BadDriver.sys", "Other.sys"]
    assert [driver.counters for driver in found] == [(), ()]


def test_data_that_lead_to_no_verified_driver_are_no_counters() -> None:
    memory = tree(17763)
    memory.u64(DATA, 0)
    found = read_verified(kernel(memory, 17763), ALL)
    assert [driver.counters for driver in found] == [(), ()]


def test_a_tree_that_bites_its_tail_ends() -> None:
    memory = tree(17763)
    memory.u64(NODES + 0x100 + 8, NODES, NODES + 0x100)
    assert len(read_verified(kernel(memory, 17763), ALL)) == 2


def test_no_tree_and_a_damaged_tree_are_two_things() -> None:
    memory = tree(17763)
    memory.fill(kb.NT + AVL, 0x40)
    assert read_verified(kernel(memory, 17763)) == ()
    memory.u64(kb.NT + AVL + 0x10, TABLES)
    memory.u32(kb.NT + AVL + 0x18, 1 << 20)
    with pytest.raises(DumpError, match="layout"):
        read_verified(kernel(memory, 17763))


@pytest.mark.parametrize("build", KNOWN)
def test_global_counters_by_their_names(build: int) -> None:
    memory = kb.Bytes()
    fields = layouts(build)["_MM_DRIVER_VERIFIER_DATA"][1]
    memory.fill(kb.NT + kb.LEVEL, 0xC0)
    for number, name in enumerate(name for name in COUNTERS if name in fields):
        value = 1000 + number
        address = kb.NT + kb.LEVEL + fields[name]
        memory.u64(address, value) if name.endswith("Bytes") else memory.u32(address, value)
    found = read_global_counters(kernel(memory, build))
    assert [value for _, value in found] == [1000 + number for number in range(len(found))]
    assert len(found) == len(COUNTERS) - (build < 20348)


# --- the IRP log ----------------------------------------------------------------------------------


def log(entries: dict[int, tuple[int, int, int]], index: int, length: int = 8) -> kb.Bytes:
    """`entries` by slot: (thread, kernel count, special count)."""
    found = kb.Bytes()
    found.u64(kb.NT + IRPS, LOG)
    found.u32(kb.NT + IRP_INDEX, index)
    found.u32(kb.NT + IRP_LENGTH, length)
    found.fill(LOG, length * 0x80)
    for slot, (thread, kernel_count, special_count) in entries.items():
        found.put(thread, b"\x06" + bytes(0x20))
        head = struct.pack("<QQhhB3x", kb.POOL + 0x90000 + slot, thread, kernel_count, special_count, 1)
        found.put(
            LOG + slot * 0x80, head + struct.pack("<3Q", kb.NT + 0x1234, kb.BAD + 0x62A3, kb.NT + 0x100)
        )
    return found


def test_the_irp_log_newest_first() -> None:
    memory = log({0: (THREAD, 0, 0), 1: (THREAD, -1, 0), 7: (THREAD + 0x1000, 0, -2)}, index=9)
    found = read_irp_log(kernel(memory, 17763))
    assert (found.allocated, found.capacity, found.note) == (True, 8, "")
    assert [(each.thread, each.kernel_apc_disable, each.special_apc_disable) for each in found.entries] == [
        (THREAD, -1, 0),
        (THREAD, 0, 0),
        (THREAD + 0x1000, 0, -2),
    ]
    first = found.entries[0]
    assert (first.caller, first.irql) == ("BadDriver.sys", 1)
    assert first.stack[1] == "BadDriver+0x62a3"
    assert len(first.stack) == 3


def test_of_a_long_log_the_newest_and_those_of_the_thread() -> None:
    other = THREAD + 0x1000
    memory = log(
        {slot: (THREAD if slot % 8 == 0 else other, slot, 0) for slot in range(64)}, index=63, length=64
    )
    found = read_irp_log(kernel(memory, 17763), THREAD, most=4)
    assert [each.kernel_apc_disable for each in found.entries] == [63, 62, 61, 60, 56, 48, 40, 32]


def test_on_windows_7_its_entries_are_not_public() -> None:
    found = read_irp_log(kernel(log({0: (THREAD, 0, 0)}, index=0), 7601))
    assert (found.allocated, found.entries) == (True, ())
    assert "layout of its entries is not known for build 7601" in found.note


def test_a_log_that_was_not_made_and_one_that_is_damaged() -> None:
    memory = log({}, 0)
    memory.u64(kb.NT + IRPS, 0)
    assert not read_irp_log(kernel(memory, 17763)).allocated
    damaged = log({}, 0)
    damaged.u32(kb.NT + IRP_LENGTH, 1 << 30)
    found = read_irp_log(kernel(damaged, 17763))
    assert (found.allocated, found.entries) == (False, ())
    assert "damaged" in found.note


def test_entries_of_the_log_that_are_not_in_the_dump_are_counted() -> None:
    memory = log({1: (THREAD, -1, 0)}, index=1)
    for address in range(LOG + 4 * 0x80, LOG + 8 * 0x80):
        del memory.cells[address]
    found = read_irp_log(kernel(memory, 17763))
    assert len(found.entries) == 1
    assert "4 of 8 entries" in found.note


# --- verifier's note of the violation -------------------------------------------------------------


def noted(*values: int) -> tuple[str, ...]:
    memory = kb.Bytes()
    memory.u32(kb.NT + kb.LEVEL, 0x10)
    memory.u64(kb.NT + TMP, *values)
    stop = Bugcheck(0xC4, (0xC5, kb.FLTMGR + 0x5610, 0xFFFF, 0))
    _, notes = read_verifier(kernel(memory, 17763, bugcheck=stop))
    return tuple(note for note in notes if note.startswith("Verifier noted"))


def test_the_note_of_the_violation() -> None:
    assert noted(0xC4, 0xC5, kb.FLTMGR + 0x5610, 0xFFFF, 0) == ()
    assert len(noted(0xC4, 0xC5, kb.FLTMGR + 0x5610, 0xFFFE, 0)) == 1
    assert noted(0, 0, 0, 0, 0) == (), "not every check of verifier leaves a note"
