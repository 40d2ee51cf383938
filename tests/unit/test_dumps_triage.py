"""A real small dump, and what happens to it when it is damaged."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from dumps_builder import DRIVER, NT, STACK, context, small_world
from dumps_small import Small, small_dump, small_of

from lab.dumps import NotInDump, expected_length, open_dump, why_not_whole
from lab.dumps.blocks import Block, BlockMemory
from lab.dumps.drivers import TriageUnloaded
from lab.dumps.source import BytesSource
from lab.dumps.triage import MmStorage
from lab.kernel.opening import open_kernel
from lab.kernel.unwind import thread_bounds, walk
from lab.model import DumpError
from lab.symbols import symbol_store

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
TRIAGE = SHARED / "kernel-dumps" / "rizin-triage_x64.dmp"
ISF = SHARED / "isf"
real = pytest.mark.skipif(not TRIAGE.exists(), reason="the shared test data are not here")


@real
def test_facts_of_the_real_dump() -> None:
    with open_dump(TRIAGE) as dump:
        facts = dump.facts()
        assert (facts.dump_type_name, facts.build, facts.processors) == ("small (triage)", 19041, 16)
        assert (facts.complete, facts.warnings) == (True, ())
        assert facts.system_time == "2021-02-21T01:38:22Z"
        assert dump.bugcheck.title == "SYSTEM_THREAD_EXCEPTION_NOT_HANDLED_M (1000007e)"
        assert dump.bugcheck.parameters[:2] == (0xFFFFFFFFC0000005, 0xFFFFF8048B58334C)
        assert dump.context.plausible and dump.context.rip == dump.bugcheck.parameters[1]
        assert dump.triage is not None
        assert dump.triage.size == 0x13A28C
        assert expected_length(TRIAGE.read_bytes()[:0x2100]) == 0x13A28C
        assert dump.triage.verifier_level == 0
        assert dump.triage.thread_address == 0xFFFFC08BDE9E1640
        assert [u.name for u in dump.triage.unloaded] == [
            "dam.sys",
            "WdBoot.sys",
            "hwpolicy.sys",
            "mcupdate.dll",
        ]


@real
def test_drivers_of_the_real_dump() -> None:
    with open_dump(TRIAGE) as dump:
        kernel = open_kernel(dump)
        assert len(kernel.modules) == 151
        assert (kernel.nt.name, kernel.nt.base, kernel.nt.timestamp) == (
            "ntoskrnl.exe",
            0xFFFFF8047BA00000,
            0x0D8333E6,
        )
        fault = kernel.module_at(dump.bugcheck.parameters[1])
        assert fault is not None and fault.name == "amdppm.sys"
        assert kernel.symbol(dump.bugcheck.parameters[1]) == "amdppm+0x334c"
        assert kernel.module("AMDPPM") == fault == kernel.module("amdppm.SYS")
        assert kernel.module("clfs") is not None
        gone = dump.triage.unloaded[0]  # type: ignore[union-attr]
        assert kernel.symbol(gone.start + 0x10) == "<unloaded dam.sys>+0x10"


@real
def test_the_kernel_is_identified_without_its_debug_directory() -> None:
    """Its PDB id is not in the dump; list heads and debugger data block fit one build only."""
    with open_dump(TRIAGE) as dump:
        kernel = open_kernel(dump)
        assert kernel.nt.pdb is not None
        assert kernel.nt.pdb.key == "5278AFF86C341677D7D7835C85B7B844-1"
        assert kernel.nt_symbols is not None and "19041.804" in kernel.nt_symbols.source
        assert "identified by its list heads" in kernel.notes[0]
        # KdDebuggerDataBlock in the header is where that build has it: an independent witness.
        assert kernel.address("nt!KdDebuggerDataBlock") == dump.header.debugger_data
        assert kernel.memory.read(dump.header.debugger_data + 0x10, 4) == b"KDBG"  # type: ignore[operator]
        (base,) = struct.unpack("<Q", kernel.memory.read(dump.header.debugger_data + 0x18, 8))  # type: ignore[operator]
        assert base == kernel.nt.base  # KDBG.KernBase, read from the dump


@real
@pytest.mark.skipif(not ISF.exists(), reason="the shared ISF files are not here")
def test_the_stack_of_the_real_dump() -> None:
    """Started by the PnP manager on a system worker thread; every frame has to be scanned for."""
    with open_dump(TRIAGE) as dump:
        kernel = open_kernel(dump, symbol_store([ISF]))
        assert kernel.nt_symbols is not None and kernel.nt_symbols.source.startswith("ISF file 5278")
        bounds = thread_bounds(kernel)
        assert bounds is not None and bounds[0] < dump.context.rsp < bounds[1] == 0xFFFF850429893000
        frames = walk(kernel)
        assert frames[0].how == "context" and frames[0].module == "amdppm.sys"
        assert {f.how for f in frames[1:]} == {"scanned"}
        assert all(f.note for f in frames[1:])
        names = [f.symbol.partition("+")[0] for f in frames]
        wanted = ["nt!IofCallDriver", "nt!PnpStartDevice", "nt!PnpDeviceActionWorker", "nt!ExpWorkerThread",
                  "nt!PspSystemThreadStartup", "nt!KiStartSystemThread"]  # fmt: skip
        assert [n for n in names if n in wanted] == wanted
        assert frames[-1].return_address == 0
        assert [f.child_sp for f in frames] == sorted(f.child_sp for f in frames)


@real
@pytest.mark.parametrize("keep", [0x2040, 0x3000, 0x20000, 0x13A000])
def test_a_small_dump_cut_off(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "mini.dmp"
    path.write_bytes(TRIAGE.read_bytes()[:keep])
    with pytest.raises(DumpError, match=r"cut off|damaged"):
        open_dump(path)
    with open_dump(path, allow_incomplete=True) as dump:
        assert dump.bugcheck.code == 0x1000007E
        assert not dump.facts().complete
    assert why_not_whole(path.read_bytes()[:0x2100], keep) is not None


@real
def test_an_unknown_build_gets_no_names(tmp_path: Path) -> None:
    data = bytearray(TRIAGE.read_bytes())
    data[0x20:0x28] = struct.pack("<Q", 0xFFFFF8047C62A398)  # PsLoadedModuleList, eight bytes off
    path = tmp_path / "mini.dmp"
    path.write_bytes(data)
    with open_dump(path) as dump:
        kernel = open_kernel(dump)
        assert kernel.nt.pdb is None
        assert kernel.address("nt!KeBugCheckEx") is None
        assert kernel.symbol(kernel.nt.base + 0x3F5A80) == "nt+0x3f5a80"
        assert kernel.offset("_KTHREAD", "StackBase") == 0x38  # the same in every known kernel of the build
        assert "no known build" in kernel.notes[-1]


def test_blocks_touch_overlap_and_end() -> None:
    source = BytesSource(bytes(range(256)))
    memory = BlockMemory(
        source,
        [
            Block(0x1000, 16, 0),
            Block(0x1010, 16, 16),
            Block(0x1008, 16, 100),
            Block(0x101C, 8, 200),
            Block(0x2000, 64, 250),
        ],
    )
    assert memory.read(0x1000, 0x20) == bytes(range(32))  # what is listed first is kept
    assert memory.read(0x1000, 0x24) == bytes(range(32)) + bytes(range(204, 208))
    with pytest.raises(NotInDump, match="0x1024"):
        memory.read(0x1000, 0x25)
    with pytest.raises(NotInDump, match="end of the file"):
        memory.read(0x2000, 8)
    with pytest.raises(NotInDump):
        memory.read(0xFFF, 2)
    with pytest.raises(DumpError):
        memory.read(0x1000, 1 << 30)


@real
def test_the_rest_of_the_real_dump() -> None:
    with open_dump(TRIAGE) as dump:
        triage = dump.triage
        assert triage is not None
        assert triage.service_pack == 0 and triage.broken_driver == ""
        assert triage.mm == MmStorage(0, 0, 0, 0, *(0,) * 7)
        assert triage.debugger_data is not None and triage.debugger_data.size == 0x380
        assert dump.memory.read(triage.debugger_data.address + 0x10, 4) == b"KDBG"
        assert triage.stack is not None and triage.stack.address <= dump.context.rsp < triage.stack.end
        assert dump.exception is not None
        assert (dump.exception.code, dump.exception.address) == (0x80000003, 0xFFFFF8047BDF5A80)
        assert dump.defects == ()


@real
def test_secondary_data_of_the_real_dump() -> None:
    """Twenty blobs, two of them empty, which end where the file ends."""
    with open_dump(TRIAGE) as dump:
        assert len(dump.blobs) == 20
        assert dump.blobs[0].tag == "54c84888-01d1-4c1e-bed6-282c98241303"  # the framework's log
        assert [blob.size for blob in dump.blobs].count(0) == 2
        assert dump.blobs[-1].offset + dump.blobs[-1].size + 4 == TRIAGE.stat().st_size
        log = next(blob for blob in dump.blobs if blob.tag.startswith("67fc721a-2853"))
        assert dump.blob_bytes(log).startswith(b"DriverLog")


# --- small dumps made by hand ---------------------------------------------------------------------

DRIVERS = (
    ("\\SystemRoot\\system32\\ntoskrnl.exe", NT, 0x5DD000),
    ("\\SystemRoot\\System32\\drivers\\srv2.sys", DRIVER, 0x8000),
    ("\\??\\C:\\Treiber\\Übung.sys", DRIVER + 0x10000, 0x4000),
)


@pytest.mark.parametrize("stride", (0x90, 0x98, 0xA8))
@pytest.mark.parametrize("gap", (0, 24))
def test_driver_entries_of_every_size(stride: int, gap: int) -> None:
    """Names that do not follow the list directly do not mislead: the size is one that is known."""
    with open_dump(BytesSource(small_dump(Small(drivers=DRIVERS, stride=stride, gap=gap)))) as dump:
        assert dump.triage is not None
        assert [(d.path, d.base, d.size) for d in dump.triage.drivers] == list(DRIVERS)
        # The kernel's own record of Windows 7 (0x98) has no timestamp; what lies in its place is a pointer.
        assert {d.timestamp for d in dump.triage.drivers} == {0 if stride == 0x98 else 0x4CE7951A}
        assert dump.defects == ()


def test_every_part_of_a_small_dump() -> None:
    content = Small(
        stack=b"stack".ljust(0x800, b"."),
        unloaded=(("gone.sys", DRIVER + 0x80000, DRIVER + 0x90000), ("averylongname", 5, 9)),
        broken="broken.sys",
        data_page=(0xFFFFFA8055555000, b"page".ljust(0x1000, b".")),
        debugger_data=bytes(16) + b"KDBG" + bytes(0x340 - 20),
        blocks=((0xFFFFFA8066666000, b"one"), (0xFFFFFA8066666003, b"two"), (0xFFFFFA8066667000, b"")),
        verifier_level=0x810,
    )
    with open_dump(BytesSource(small_dump(content))) as dump:
        triage = dump.triage
        assert triage is not None
        assert (triage.thread_address, triage.process_address) == (content.thread, content.process)
        assert triage.broken_driver == "broken.sys"
        assert triage.unloaded == (TriageUnloaded("gone.sys", DRIVER + 0x80000, DRIVER + 0x90000),)
        assert triage.mm == MmStorage(0x1234, 7, 0x810, 1, *range(100, 107))
        assert triage.verifier_level == 0x810
        read = dump.memory.read
        assert read(content.stack_at, 5) == b"stack"
        assert read(content.thread, 6) == b"thread" and read(content.process, 7) == b"process"
        assert read(0xFFFFFA8055555000, 4) == b"page"
        assert read(0xFFFFFA8066666000, 6) == b"onetwo"
        assert dump.header.debugger_data is not None
        assert read(dump.header.debugger_data + 16, 4) == b"KDBG"
        for address in (0xFFFFFA8066666006, 0xFFFFFA8066667000, content.stack_at + 0x800):
            with pytest.raises(NotInDump):
                read(address, 1)


def test_a_memory_manager_record_of_an_older_system() -> None:
    """It ends after the level; what lies behind it is something else."""
    with open_dump(BytesSource(small_dump(Small(mm_size=0x18, verifier_level=0xFFFFFFFF)))) as dump:
        assert dump.triage is not None
        assert dump.triage.mm == MmStorage(0x1234, 7, 0, 1)


def test_where_the_process_is_told_depends_on_the_build() -> None:
    for build in (7601, 9600, 20348):
        with open_dump(BytesSource(small_dump(Small(build=build)))) as dump:
            assert dump.triage is not None and dump.triage.process_address == Small.process


def test_a_small_dump_of_a_whole_kernel() -> None:
    """Every reader that asks for memory works on data blocks as on pages."""
    data = small_of(small_world(), context(DRIVER + 0x1000, STACK + 0x2F00))
    with open_dump(BytesSource(data)) as dump:
        kernel = open_kernel(dump)
        assert [module.name for module in kernel.modules] == ["ntoskrnl.exe", "srv2.sys"]
        assert kernel.nt.pdb is not None and kernel.nt.pdb.key.startswith("339E7413")
        assert walk(kernel)[0].module == "srv2.sys"
