"""The lists of loaded and unloaded drivers, as the kernel keeps them."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any, cast

import kernel_bytes as kb
import pytest

from lab.kernel.modules import LoadedModule, read_modules, read_unloaded

HEAD = kb.NT + 0x239C90
ENTRIES = kb.POOL + 0x1000
DEBUGGER = kb.NT + 0x1F0000


def entry(memory: kb.Bytes, index: int, name: str, base: int, *, size: int = 0x10000, stamp: int = 0) -> int:
    """A KLDR_DATA_TABLE_ENTRY (public symbols from 14393 on; flags, names and base alike before)."""
    at = ENTRIES + 0x1000 * index
    memory.fill(at, 0xA0)
    memory.u64(at + 0x30, base)
    memory.u32(at + 0x40, size)
    memory.text(at + 0x48, rf"\SystemRoot\System32\drivers\{name}", at + 0x200)
    memory.text(at + 0x58, name, at + 0x400)
    memory.u32(at + 0x68, 0x49104000)
    memory.u64(
        at + 0x80, 0xFFFFF8000DEAD000
    )  # CoverageSection, LoadedImports: what an LDR entry has is elsewhere
    memory.u32(at + 0x9C, stamp)
    return at


def linked(memory: kb.Bytes, entries: list[int]) -> kb.Bytes:
    ring = [HEAD, *entries, HEAD]
    for index in range(len(ring) - 1):
        memory.u64(ring[index], ring[index + 1])
    return memory


def read(
    memory: kb.Bytes, build: int = 17763, **header: Any
) -> tuple[tuple[LoadedModule, ...], tuple[str, ...]]:
    fields = {"build": build, "module_list": HEAD, "debugger_data": None} | header
    dump = SimpleNamespace(triage=None, header=SimpleNamespace(**fields), memory=memory)
    return read_modules(cast(Any, dump), memory)


def three() -> kb.Bytes:
    memory = kb.Bytes()
    bases = {"ntoskrnl.exe": kb.NT, "win32k.sys": 0xFFFFF96000000000, "BadDriver.sys": kb.BAD}
    entries = [entry(memory, i, name, base, stamp=0x5000 + i) for i, (name, base) in enumerate(bases.items())]
    return linked(memory, entries)


def test_in_load_order_with_what_the_list_says() -> None:
    found, notes = read(three())
    assert [(m.name, m.base) for m in found] == [
        ("ntoskrnl.exe", kb.NT),
        ("win32k.sys", 0xFFFFF96000000000),
        ("BadDriver.sys", kb.BAD),
    ]
    assert found[2].full_name == r"\SystemRoot\System32\drivers\BadDriver.sys"
    assert {m.flags for m in found} == {0x49104000}
    assert notes == ()


@pytest.mark.parametrize(("build", "expected"), [(7601, [0, 0, 0]), (17763, [0x5000, 0x5001, 0x5002])])
def test_the_timestamp_is_where_the_kernel_keeps_it(build: int, expected: list[int]) -> None:
    """KLDR_DATA_TABLE_ENTRY.TimeDateStamp; Windows 7 keeps none. The images are not in the dump."""
    found, _ = read(three(), build)
    assert [m.timestamp for m in found] == expected


def test_a_session_image_that_cannot_be_read_survives() -> None:
    found, _ = read(three())
    assert (found[1].name, found[1].pdb) == ("win32k.sys", None)


def test_an_entry_without_an_image_is_passed_over() -> None:
    memory = kb.Bytes()
    entries = [entry(memory, 0, "ntoskrnl.exe", kb.NT), entry(memory, 1, "odd", 0)]
    entries += [entry(memory, 2, "none.sys", kb.OTHER, size=0), entry(memory, 3, "BadDriver.sys", kb.BAD)]
    found, notes = read(linked(memory, entries))
    assert [m.name for m in found] == ["ntoskrnl.exe", "BadDriver.sys"]
    assert notes == ()


def test_names_that_were_paged_out() -> None:
    memory = three()
    for at in range(ENTRIES + 0x2400, ENTRIES + 0x2500):
        memory.cells.pop(at, None)
    assert read(memory)[0][2].name == "BadDriver.sys", "the path has it too"
    for at in range(ENTRIES + 0x2200, ENTRIES + 0x2300):
        memory.cells.pop(at, None)
    assert read(memory)[0][2].name == f"{kb.BAD:x}"


def test_a_damaged_list_is_kept_as_far_as_it_goes() -> None:
    memory = three()
    memory.u64(ENTRIES + 0x1000, 0xFFFFFA8099999990)
    found, notes = read(memory)
    assert [m.name for m in found] == ["ntoskrnl.exe", "win32k.sys"]
    assert "breaks off after 2 modules" in notes[0]
    memory.u64(ENTRIES + 0x1000, ENTRIES)
    found, notes = read(memory)
    assert len(found) == 2
    assert "does not close" in notes[0]


def test_the_debugger_data_know_where_the_list_is() -> None:
    memory = three()
    block = bytearray(0x340)
    struct.pack_into("<4sIQ", block, 0x10, b"KDBG", 0x340, kb.NT)
    struct.pack_into("<Q", block, 0x48, HEAD)
    memory.put(DEBUGGER, bytes(block))
    assert len(read(memory, module_list=None, debugger_data=DEBUGGER)[0]) == 3
    found, notes = read(three(), module_list=None, debugger_data=DEBUGGER)
    assert found == ()
    assert "neither header nor debugger data" in notes[0]


def test_unloaded_drivers_in_the_order_of_their_time() -> None:
    memory = kb.Bytes()
    table, variable = kb.POOL + 0x9000, kb.NT + 0x29D1F0
    memory.u64(variable, table)
    memory.fill(table, 50 * 0x28)
    day = 129_700_000_000_000_000  # FILETIME in January 2012
    for slot, (name, when) in enumerate((("second.sys", day + 10_000_000), ("first.sys", day))):
        memory.text(table + 0x28 * slot, name, table + 0x1000 + 0x100 * slot)
        memory.u64(
            table + 0x28 * slot + 0x10, kb.BAD + 0x100000 * slot, kb.BAD + 0x100000 * slot + 0x4000, when
        )
    dump = cast(Any, SimpleNamespace(triage=None))

    def address(name: str) -> int | None:
        return variable if name == "nt!MmUnloadedDrivers" else None

    found, note = read_unloaded(dump, memory, address)
    assert note == ""
    assert [(u.name, u.when) for u in found] == [
        ("first.sys", "2012-01-02T17:46:40Z"),
        ("second.sys", "2012-01-02T17:46:41Z"),
    ]
    del memory.cells[table + 0x28]
    found, note = read_unloaded(dump, memory, address)
    assert [u.name for u in found] == ["second.sys"]
    assert note.startswith("the list of unloaded drivers cannot be read to its end")
    assert read_unloaded(dump, memory, lambda _: None) == ((), "")
