"""From a dump to the kernel that stopped: modules, names, layouts, the crashing thread."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dumps_builder import (
    DRIVER,
    NT,
    NT_GUID,
    PAGE,
    POOL,
    STACK,
    World,
    add_modules,
    context,
    dump,
    image,
    slot,
    unwind_info,
)

from lab.dumps import Dump, open_dump
from lab.kernel.opening import open_kernel
from lab.kernel.target import Kernel
from lab.kernel.unwind import walk
from lab.model import DumpError
from lab.symbols import PdbId, SymbolStore, symbol_store
from lab.symbols.builtin import builtin_kernel

HEAD = NT + 0x239C90
SRV2_GUID = bytes(range(16))
Opener = Callable[..., Kernel]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opener]:
    dumps: list[Dump] = []

    def build(
        world: World, *, symbols: SymbolStore | None = None, rip: int = NT + 0x93EA0, **fields: object
    ) -> Kernel:
        path = tmp_path / "MEMORY.DMP"
        path.write_bytes(dump(world, 2, record=context(rip, STACK), **fields))  # type: ignore[arg-type]
        dumps.append(open_dump(path))
        return open_kernel(dumps[-1], symbols)

    yield build
    for each in dumps:
        each.close()


def _world(nt_guid: bytes = NT_GUID) -> World:
    world = World()
    world.write(NT, image("ntkrnlmp.pdb", nt_guid))
    world.write(DRIVER, image("d:\\build\\srv2.pdb", SRV2_GUID))
    add_modules(world, HEAD, [("ntoskrnl.exe", NT, 0x5DD000), ("srv2.sys", DRIVER, 0x8000)])
    return world


def test_modules_with_their_pdb_ids(opened: Opener) -> None:
    kernel = opened(_world())
    assert [(m.name, m.base, m.size, m.timestamp) for m in kernel.modules] == [
        ("ntoskrnl.exe", NT, 0x5DD000, 0x4CE7951A),
        ("srv2.sys", DRIVER, 0x8000, 0x4CE7951A),
    ]
    assert kernel.modules[1].full_name == "\\SystemRoot\\system32\\srv2.sys"
    assert kernel.nt.pdb == PdbId("ntkrnlmp.pdb", "339E74133576439CBCDF7E0229DA3773", 1)
    assert kernel.modules[1].pdb == PdbId("srv2.pdb", "000102030405060708090A0B0C0D0E0F", 1)
    assert kernel.notes == (
        f"the list of unloaded drivers cannot be read to its end: {NT + 0x29D1F0:#x} is not mapped",
    )
    assert kernel.module_at(DRIVER) == kernel.module_at(DRIVER + 0x7FFF) == kernel.module("srv2")
    assert kernel.module_at(DRIVER + 0x8000) is None
    assert kernel.module_at(DRIVER - 1) is None
    assert kernel.module("nt") is kernel.nt is kernel.module("NTOSKRNL.EXE")


def test_names_of_the_built_in_table(opened: Opener) -> None:
    kernel = opened(_world())
    assert kernel.address("nt!VfKeCriticalRegionTraces") == NT + 0x54A118
    assert kernel.address("PsLoadedModuleList") == HEAD
    assert kernel.address("nt!NoSuchName") is None
    assert kernel.address("nosuch!Name") is None
    assert kernel.symbol(NT + 0x510950) == "nt!VfAfterCallDriver"
    assert kernel.symbol(NT + 0x510951) == "nt+0x510951"  # not guessed without unwind data
    assert kernel.symbol(DRIVER + 0xAAF) == "srv2+0xaaf"
    assert kernel.symbol(0x1234) == "0x0000000000001234"
    assert kernel.offset("_KTHREAD", "KernelApcDisable") == 0x1C4
    assert kernel.size("_ETHREAD") == 0x4A8
    with pytest.raises(DumpError, match=r"nt!_KTHREAD\.NoSuchField is not known for build 7601"):
        kernel.offset("_KTHREAD", "NoSuchField")
    with pytest.raises(DumpError, match=r"srv2!_WORKER"):
        kernel.size("_WORKER", "srv2")


def test_names_of_isf_files(opened: Opener, tmp_path: Path) -> None:
    guid = SRV2_GUID.hex().upper()
    content = {
        "metadata": {"windows": {"pdb": {"GUID": guid, "age": 1, "database": "srv2.pdb"}}},
        "symbols": {"Smb2ExecuteRead": {"address": 0x1000}, "SrvProcWorkerThread": {"address": 0x2000}},
        "user_types": {
            "_WORKER": {"size": 0x40, "fields": {"Thread": {"offset": 8, "type": {"kind": "pointer"}}}}
        },
    }
    (tmp_path / "srv2.pdb").mkdir()
    (tmp_path / "srv2.pdb" / f"{guid}-1.json").write_text(json.dumps(content))
    world = _world()
    # A part of Smb2ExecuteRead that the linker moved behind the other function, and one before it.
    root = unwind_info(slot(4, 2, 3), prologue=4)
    part = unwind_info(chained=(0x1800, 0x1A00, 0x6000))
    world.write(
        DRIVER,
        image(
            "srv2.pdb",
            SRV2_GUID,
            functions=[(0x1000, 0x1040, part), (0x1800, 0x1A00, root), (0x3000, 0x3040, part)],
        ),
    )
    content["symbols"] = {
        "Smb2ExecuteRead": {"address": 0x1800},
        "Other": {"address": 0x2FF0},
        "Early": {"address": 0xFF0},
    }
    (tmp_path / "srv2.pdb" / f"{guid}-1.json").write_text(json.dumps(content))
    kernel = opened(world, symbols=symbol_store([tmp_path]))
    assert kernel.address("srv2!Smb2ExecuteRead") == DRIVER + 0x1800
    assert kernel.offset("_WORKER", "Thread", "srv2") == 8
    assert kernel.symbol(DRIVER + 0x19A6) == "srv2!Smb2ExecuteRead+0x1a6"
    assert kernel.symbol(DRIVER + 0x3010) == "srv2!Smb2ExecuteRead+0x1810"
    assert (
        kernel.symbol(DRIVER + 0x1010) == "srv2!Smb2ExecuteRead+0xffffffff`fffff810"
    )  # as the debugger has it
    # Behind the last instruction of a function that ends in a call.
    assert kernel.symbol(DRIVER + 0x1A00, returns=True) == "srv2!Smb2ExecuteRead+0x200"
    assert kernel.symbol(DRIVER + 0x2FF4) == "srv2!Other+0x4"  # no unwind data: a leaf
    assert kernel.address("nt!KeBugCheckEx") is not None  # the directory has no ISF file of the kernel


def test_unknown_kernel_of_a_known_build(opened: Opener) -> None:
    """Its layouts are those of the build; its names would be guesses."""
    kernel = opened(_world(bytes(16)))
    assert kernel.nt.pdb is not None and kernel.nt.pdb.guid == "0" * 32
    assert kernel.address("nt!KeBugCheckEx") is None
    assert kernel.offset("_KTHREAD", "KernelApcDisable") == 0x1C4
    assert "no symbols of the kernel" in kernel.notes[0]
    kernel = opened(_world(bytes(16)), build=26100)
    assert kernel.nt_symbols is None
    with pytest.raises(DumpError, match="not known for build 26100"):
        kernel.offset("_KTHREAD", "KernelApcDisable")


def test_kernel_whose_debug_directory_is_paged_out(opened: Opener) -> None:
    world = _world()
    del world.frames[world.map(NT + 0x7000)]
    rows = builtin_kernel(PdbId("ntkrnlmp.pdb", NT_GUID.hex().upper(), 1))
    assert rows is not None
    kernel = opened(world, process_list=NT + rows.rvas["PsActiveProcessHead"])
    assert kernel.nt.pdb == rows.pdb
    assert "identified by its list heads" in kernel.notes[0]


def test_module_list_that_is_not_there(opened: Opener) -> None:
    """The kernel is still found by its list heads, as long as its headers are in the dump."""
    rows = builtin_kernel(PdbId("ntkrnlmp.pdb", NT_GUID.hex().upper(), 1))
    assert rows is not None
    heads = {"process_list": NT + rows.rvas["PsActiveProcessHead"]}
    world = _world()
    world.write(NT + 0x98 + 0x38, struct.pack("<I", 0x5DD000))  # SizeOfImage
    del world.frames[world.map(HEAD)]
    kernel = opened(world, **heads)
    assert [m.name for m in kernel.modules] == ["ntoskrnl.exe"]
    assert "loaded module list cannot be read" in kernel.notes[0]
    assert kernel.symbol(NT + rows.rvas["KeBugCheckEx"]) == "nt!KeBugCheckEx"
    del world.frames[world.map(NT)]
    with pytest.raises(DumpError, match="no module of MEMORY"):
        opened(world, **heads)


def test_module_list_that_bites_its_tail(opened: Opener) -> None:
    world = _world()
    world.write_words(POOL + 0x400, POOL)  # the second entry's Flink: back to the first
    kernel = opened(world)
    assert len(kernel.modules) == 2
    assert "does not close" in kernel.notes[0]


def test_module_list_that_breaks_off(opened: Opener) -> None:
    world = _world()
    world.write_words(POOL + 0x400, 0xFFFFDEADDEAD0000)
    kernel = opened(world)
    assert len(kernel.modules) == 2
    assert "breaks off after 2 modules" in kernel.notes[0]


def test_names_that_are_paged_out(opened: Opener) -> None:
    world = _world()
    world.write(POOL + 0x400 + 0x48, struct.pack("<HHIQ", 8, 8, 0, 0xFFFFDEADDEAD0000))
    world.write(POOL + 0x400 + 0x58, struct.pack("<HHIQ", 8, 8, 0, 0xFFFFDEADDEAD0000))
    kernel = opened(world)
    assert kernel.modules[1].name == f"{DRIVER:x}"


def test_crashing_thread_by_the_stack_pointer(opened: Opener) -> None:
    """Of two processors the one whose saved context is the header's."""
    world = _world()
    rows = builtin_kernel(PdbId("ntkrnlmp.pdb", NT_GUID.hex().upper(), 1))
    assert rows is not None
    prcbs = (POOL + 0x10000, POOL + 0x20000)
    world.write_words(NT + rows.rvas["KiProcessorBlock"], *prcbs)
    for index, prcb in enumerate(prcbs):
        world.write_words(prcb + 8, POOL + 0x40000 + index)
        world.write_words(prcb + 0x53E0, prcb + 0x8000)
        world.write(prcb + 0x8000, context(NT + 0x93EA0, STACK if index == 1 else 0x1234))
    kernel = opened(world)
    assert kernel.processor == prcbs[1]
    assert kernel.thread == POOL + 0x40001
    assert opened(_world()).thread is None


def test_unloaded_drivers(opened: Opener) -> None:
    world = _world()
    rows = builtin_kernel(PdbId("ntkrnlmp.pdb", NT_GUID.hex().upper(), 1))
    assert rows is not None
    table = POOL + 0x30000
    world.write_words(NT + rows.rvas["MmUnloadedDrivers"], table)
    world.write(table, bytes(50 * 0x28))
    for index, when in ((0, 132_582_767_020_000_000), (7, 132_582_767_010_000_000)):
        name = f"gone{index}.sys".encode("utf-16-le")
        world.write(table + 0x1000 + 64 * index, name)
        start = 0xFFFFF88006000000 + 0x10000 * index
        raw = struct.pack(
            "<HHIQQQQ", len(name), len(name), 0, table + 0x1000 + 64 * index, start, start + 0x8000, when
        )
        world.write(table + 0x28 * index, raw)
    kernel = opened(world)
    assert [(u.name, u.when) for u in kernel.unloaded] == [
        ("gone7.sys", "2021-02-20T06:38:21Z"),
        ("gone0.sys", "2021-02-20T06:38:22Z"),
    ]
    assert kernel.symbol(0xFFFFF88006000123) == "<unloaded gone0.sys>+0x123"


def test_the_stack_of_the_article(opened: Opener) -> None:
    """Child-SPs of `kn` in the 0xC4/0xC5 dump: each frame as large as its prologue says."""
    frame_sizes = [  # (RVA of the function, return offset in it, bytes of its frame without return address)
        (0x510950, 0x33E, 0x48),  # nt!VfAfterCallDriver: three pushes and sub rsp, 30h
        (0x5167F0, 0x57E, 0x58),  # nt!IovCallDriver
    ]
    world = World()
    functions = [(0x93EA0, 0x93FA0, 0x6000), (0x510950, 0x510D50, 0x6010), (0x5167F0, 0x516E00, 0x6020)]
    world.write(NT, image("ntkrnlmp.pdb", NT_GUID, functions=[(b, e, b"") for b, e, _ in functions]))
    world.write(NT + 0x5000, b"".join(struct.pack("<III", *f) for f in functions))
    world.write(NT + 0x6000, unwind_info(slot(9, 2, 4), prologue=9))
    world.write(
        NT + 0x6010,
        unwind_info(slot(24, 2, 5), slot(20, 0, 13), slot(18, 0, 12), slot(16, 0, 7), prologue=24),
    )
    world.write(NT + 0x6020, unwind_info(slot(8, 2, 10), prologue=8))
    world.write(DRIVER, image("srv2.pdb", SRV2_GUID))
    add_modules(world, HEAD, [("ntoskrnl.exe", NT, 0x5DD000), ("srv2.sys", DRIVER, 0x8000)])
    world.write(STACK, bytes(PAGE))
    at = STACK
    for rva, offset, size in frame_sizes:
        world.write_words(at, NT + rva + offset)
        at += 8 + size
    world.write_words(at, 0)
    kernel = opened(world, rip=NT + 0x93EA0)
    frames = walk(kernel)
    assert [f.symbol for f in frames][1:] == ["nt!VfAfterCallDriver+0x33e", "nt!IovCallDriver+0x57e"]
    assert [f.child_sp - STACK for f in frames] == [0, 8, 0x58]
    assert frames[1].child_sp - frames[0].child_sp == 8
    assert frames[2].child_sp - frames[1].child_sp == 0x50  # fffff880`05db1ba0 - fffff880`05db1b50
