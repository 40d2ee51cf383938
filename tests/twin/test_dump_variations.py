"""What the twin's memory holds when something about a crash is unusual, walked by the tests' own reader."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from capstone import CS_ARCH_X86, CS_MODE_64, Cs
from dump_writer_walk import APC_DISABLE, KERNEL_PDB, RVA, Absent, Dump
from test_dump_writer import BUILDS, IMAGES, LOG, STATE, driver_name

from lab.symbols.pdb import open_pdb
from lab.twin.crash import CrashState, Image, Instance, IrpLogEntry, Stop, Unloaded
from lab.twin.memory import BUILDS as ALL_BUILDS
from lab.twin.memory import write_dump, write_symbols

NEW = pytest.mark.parametrize("build", [17763, 20348])
SHARED_DATA = 0xFFFFF78000000000
BLAMED = (Stop.PAGED_AT_DISPATCH, Stop.POWER_IRP_BLOCKED, Stop.POOL_LEAKED, Stop.DPC_WATCHDOG)
Write = Callable[[CrashState], Dump]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(state: CrashState) -> Dump:
        write_dump(state, tmp_path / "MEMORY.DMP", filler_pages=4)
        return Dump(tmp_path / "MEMORY.DMP")

    return written


class Names:
    """Names of addresses, from the PDBs that belong to the images."""

    def __init__(self, dump: Dump, folder: Path) -> None:
        write_symbols(dump.build, folder, IMAGES)
        self.dump = dump
        self.pdbs = {}
        for image in dump.images:
            guid, age, name = dump.codeview(image.base)
            name = name.split("\\")[-1]
            self.pdbs[image.base] = open_pdb(folder / name / f"{guid}{age:X}" / name)

    def variable(self, name: str) -> int:
        rva = self.pdbs[self.dump.nt].rva(name)
        assert rva is not None
        return self.dump.nt + rva

    def of(self, address: int) -> str:
        image = self.dump.image_at(address)
        assert image is not None
        found = self.pdbs[image.base].nearest(address - image.base)
        assert found is not None
        return found[0]

    def stack(self) -> list[str]:
        return [self.of(frame.ip) for frame in self.dump.unwind()]


@BUILDS
def test_a_log_that_is_not_in_the_dump(write: Write, build: int) -> None:
    dump = write(replace(STATE, build=build, log_paged_out=True))
    log = dump.u64(dump.nt + RVA[build]["traces"])
    for offset in range(0, 0x80 * 0x40, 0x200):
        dump.translate(log + offset)  # mapped
        with pytest.raises(Absent):
            dump.read(log + offset, 8)
    assert dump.u32(dump.nt + RVA[build]["index"]) >= len(LOG)
    whole = write(replace(STATE, build=build))
    assert len(whole.frames) - len(dump.frames) in (0, 1, 2)


@BUILDS
@pytest.mark.parametrize("owner", ["fltmgr.sys", "VolFlt.sys"])
def test_a_record_on_the_stack(write: Write, tmp_path: Path, build: int, owner: str) -> None:
    dump = write(replace(STATE, build=build, state_on_stack=True, dispatch_owner=owner))
    names = Names(dump, tmp_path / "symbols").stack()
    assert names[:5] == [
        *("KeBugCheckEx", "VfBugCheckNoStackUsage", "VfAfterCallDriver"),
        *("IovpCallDriverWithStackBuffer", "IovCallDriver"),
    ]
    frames = dump.unwind()
    (record,) = dump.keeps(frames[2], 0x30, dump.header64(0x48))
    assert frames[3].sp <= record < record + 0xC0 <= frames[4].sp
    device = dump.u64(record + 0xA0)
    assert driver_name(dump, device) == (
        r"\FileSystem\FltMgr" if owner == "fltmgr.sys" else r"\Driver\VolFlt"
    )
    caller = names.index("IovCallDriver", 4) + 1
    assert dump.u64(record + 0xB0) == frames[caller].ip
    assert all(dump.calls_before(frame.ip) for frame in frames[1:])


@BUILDS
def test_only_minifilters_of_windows(write: Write, build: int) -> None:
    images = (*IMAGES, Image("fileinfo.sys", False))
    dump = write(
        replace(STATE, build=build, images=images, instances=(Instance("FileInfo", "45000", "fileinfo.sys"),))
    )
    (own,) = (image for image in dump.images if image.name == "fileinfo.sys")
    version = dump.read(own.base + dump.u32(dump._optional(own.base) + 112 + 16), 0x400)
    assert "Microsoft Corporation".encode("utf-16-le") in version


@BUILDS
def test_companies_and_versions(write: Write, build: int) -> None:
    images = (*IMAGES, Image("Quill.sys", True, company="Quillmere Software", version="4.2.1.9"))
    dump = write(replace(STATE, build=build, images=images))
    for image in dump.images:
        optional = dump._optional(image.base)
        rva, size = dump.u32(optional + 112 + 16), dump.u32(optional + 112 + 20)
        section = dump.read(image.base + rva, size)
        # three directories with one entry each, the leaf, the fixed part of VS_VERSIONINFO
        at = 0
        for number in (16, 1, 0x409):
            assert struct.unpack_from("<HH", section, at + 12) == (0, 1)
            entry, target = struct.unpack_from("<II", section, at + 16)
            assert entry == number
            at = target & 0x7FFFFFFF
        data, length = struct.unpack_from("<II", section, at)
        information = section[data - rva : data - rva + length]
        assert struct.unpack_from("<HHH", information) == (length, 52, 0)
        signature, _, high, low = struct.unpack_from("<4I", information, 40)
        assert signature == 0xFEEF04BD
        text = information.decode("utf-16-le", "replace")
        if image.name == "Quill.sys":
            assert (high, low) == (4 << 16 | 2, 1 << 16 | 9)
            assert "Quillmere Software" in text and "4.2.1.9" in text
        elif image.name == "ntoskrnl.exe":
            assert low >> 16 == build
            assert "Microsoft Corporation" in text and "ntkrnlmp.exe" in text


@BUILDS
def test_unloaded_drivers(write: Write, build: int) -> None:
    gone = tuple(Unloaded(f"old{n}.sys", 0x3000, 600.0 - n) for n in range(49))
    for count in (2, 49):
        dump = write(replace(STATE, build=build, unloaded=gone[:count]))
        block = dump.header64(0x80)
        table, last = dump.u64(dump.u64(block + 0x220)), dump.u32(dump.u64(block + 0x228))
        assert last == (3 + count) % 50
        ring = [table + 0x28 * ((last - 1 - age) % 50) for age in range(min(count, 48))]
        assert [dump.text(slot) for slot in ring] == [one.name for one in gone[:count]][::-1][:48]
        when = [dump.u64(slot + 0x20) for slot in ring]
        assert when == sorted(when, reverse=True)
        assert all(dump.u64(slot + 0x18) - dump.u64(slot + 0x10) == 0x3000 for slot in ring)
        assert all(dump.image_at(dump.u64(slot + 0x10)) is None for slot in ring)


@BUILDS
def test_images_without_headers(write: Write, build: int) -> None:
    dump = write(replace(STATE, build=build, without_headers=("BadDriver.sys",)))
    for image in dump.images:
        if image.name == "BadDriver.sys":
            with pytest.raises(Absent):
                dump.read(image.base, 2)
            assert dump.read(image.base + 0x1000, 2)
        else:
            assert dump.read(image.base, 2) == b"MZ"


@pytest.mark.parametrize("build", [20348, 22000])
def test_page_tables_of_five_levels(write: Write, build: int) -> None:
    dump = write(replace(STATE, build=build, five_levels=True))
    with pytest.raises((Absent, AssertionError)):
        assert dump.images
    dump.above = (48,)
    assert [image.name for image in dump.images] == [image.name for image in IMAGES]
    processors = dump.u64(dump.header64(0x80) + 0x218)
    prcb = dump.u64(processors)
    assert dump.u64(prcb + 0x100 + 0x18) >> 12 & 1 == 1  # CR4.LA57
    assert dump.u64(prcb + 0x100 + 0x10) == dump.header64(0x10)


@pytest.mark.parametrize("build", ALL_BUILDS)
def test_what_differs_between_builds(write: Write, tmp_path: Path, build: int) -> None:
    """Offsets as the build's PDB has them, bits and versions as public symbols and headers tell them."""
    dump = write(replace(STATE, build=build))
    nt = Names(dump, tmp_path / "symbols").pdbs[dump.nt]

    def offset(structure: str, field: str) -> int:
        found = nt.offset(structure, field)
        assert found is not None
        return found

    block = dump.header64(0x80)
    context = offset("_KPRCB", "ProcessorState") + offset("_KPROCESSOR_STATE", "ContextFrame")
    assert dump.u16(block + 0x2BC) == context
    prcb = dump.u64(dump.u64(block + 0x218) + 8 * (STATE.seed % STATE.processors))
    assert dump.read(prcb + context, 0x4D0) == dump.bytes[0x348 : 0x348 + 0x4D0]
    thread = dump.u64(prcb + 8)
    assert dump.u32(thread + offset("_ETHREAD", "CrossThreadFlags")) == 2  # ThreadInserted
    system_thread = {7601: 13, 9600: 11}.get(build, 10)
    assert dump.u32(thread + offset("_KTHREAD", "MiscFlags")) == 1 << system_thread
    version = {7601: (6, 1), 9600: (6, 3)}.get(build, (10, 0))
    assert (dump.u32(SHARED_DATA + 0x26C), dump.u32(SHARED_DATA + 0x270)) == version
    assert dump.u32(SHARED_DATA + 0x260) == (build if version[0] == 10 else 0)  # NtBuildNumber


@NEW
def test_an_encoded_debugger_block(write: Write, tmp_path: Path, build: int) -> None:
    plain = write(replace(STATE, build=build))
    expected = plain.read(plain.header64(0x80), 0x360)
    dump = write(replace(STATE, build=build, encoded_kdbg=True))
    names = Names(dump, tmp_path / "symbols")
    never, always = dump.u64(names.variable("KiWaitNever")), dump.u64(names.variable("KiWaitAlways"))
    key = names.variable("KdpDataBlockEncoded")
    words = []
    for (word,) in struct.iter_unpack("<Q", dump.read(dump.header64(0x80), 0x360)):
        turned = word ^ never
        turn = never & 0x3F
        turned = (turned << turn | turned >> 64 - turn) & (1 << 64) - 1
        words.append(int.from_bytes((turned ^ key).to_bytes(8, "big"), "little") ^ always)
    assert struct.pack(f"<{len(words)}Q", *words) == expected
    assert expected[0x10:0x14] == b"KDBG" != dump.read(dump.header64(0x80) + 0x10, 4)


@NEW
@pytest.mark.parametrize("count", [5, 128])
def test_the_irp_log(write: Write, tmp_path: Path, build: int, count: int) -> None:
    log = tuple(
        IrpLogEntry(7 if n % 2 else 30, ("allocate", "complete")[n % 3 == 0], "BadDriver.sys", -(n > 2))
        for n in range(count)
    )
    dump = write(replace(STATE, build=build, irp_log=log))
    names = Names(dump, tmp_path / "symbols")
    ring = dump.u64(names.variable("IovIrpTraces"))
    index, length = (dump.u32(names.variable(f"IovIrpTraces{part}")) for part in ("Index", "Length"))
    assert length == 128
    for age, expected in enumerate(reversed(log)):
        entry = ring + (index - age & length - 1) * 0x80
        irp, thread, apc, special, irql = struct.unpack("<QQhhB", dump.read(entry, 21))
        assert irp and dump.u16(thread) & 0xFF == 6
        assert (apc, special, irql) == (expected.apc, 0, 0)
        stack = [address for address in struct.unpack("<13Q", dump.read(entry + 0x18, 104)) if address]
        routine = "IovAllocateIrp" if expected.action == "allocate" else "IovCompleteRequest"
        assert names.of(stack[0]) == routine
        image = dump.image_at(stack[1])
        assert image is not None and image.name == expected.image
        assert all(dump.calls_before(address) for address in stack)
    assert dump.u64(ring + (index - count & 127) * 0x80) == 0 or count == 128


def nodes(dump: Dump, node: int, parent: int) -> list[int]:
    """The nodes of an RTL_AVL_TABLE in order; links up must fit links down."""
    if not node:
        return []
    assert dump.u64(node) == parent
    return [*nodes(dump, dump.u64(node + 8), node), node, *nodes(dump, dump.u64(node + 16), node)]


@BUILDS
def test_loaded_verified_drivers(write: Write, tmp_path: Path, build: int) -> None:
    dump = write(
        replace(STATE, build=build, verified=("Suspect.sys", "BadDriver.sys", "VolFlt.sys", "Gone.sys"))
    )
    names = Names(dump, tmp_path / "symbols")
    own = names.pdbs[dump.nt]
    tree = names.variable("ViTargetDriversAvl")
    table = dump.u64(tree + (own.offset("_VF_AVL_TREE", "Tables") or 0))
    assert dump.u32(tree + (own.offset("_VF_AVL_TREE", "TablesNo") or 0)) == 1
    assert dump.u32(table + 0x2C) == 3
    found = nodes(dump, dump.u64(table + 0x10), table)
    assert [dump.u64(node + 0x20) for node in found] == sorted(
        image.base for image in dump.images if image.name in ("Suspect.sys", "BadDriver.sys", "VolFlt.sys")
    )
    at = own.offset("_VF_TARGET_DRIVER", "VerifiedData")
    now, peak = (
        own.offset("_VF_TARGET_VERIFIED_DRIVER_DATA", f"{when}NonPagedPoolAllocations")
        for when in ("Current", "Peak")
    )
    assert at is not None and now is not None and peak is not None
    for node in found:
        data = dump.u64(node + 0x20 + at)
        image = dump.image_at(dump.u64(node + 0x20))
        assert image is not None
        assert dump.text(dump.u64(data) + 0x18) == image.name  # its VF_SUSPECT_DRIVER_ENTRY
        assert 0 < dump.u32(data + now) < dump.u32(data + peak)


@BUILDS
@pytest.mark.parametrize("count", [1, -2])
def test_counts_of_either_sign(write: Write, tmp_path: Path, build: int, count: int) -> None:
    dump = write(replace(STATE, build=build, apc_now=count))
    assert struct.unpack_from("<Q", dump.bytes, 0x50) == (count & 0xFFFF,)
    names = Names(dump, tmp_path / "symbols")
    noted = dump.read(names.variable("VfBugcheckTmpData"), 40)
    assert noted == struct.pack("<Q", 0xC4) + dump.bytes[0x40:0x60]
    threads = {
        dump.u64(dump.u64(dump.u64(dump.header64(0x80) + 0x218) + 8 * n) + 8) for n in range(STATE.processors)
    }
    assert count in {struct.unpack("<h", dump.read(t + APC_DISABLE[build], 2))[0] for t in threads}


def blame(build: int, stop: Stop) -> CrashState:
    level = 8 if stop is Stop.POOL_LEAKED else 0
    return replace(
        STATE, build=build, stop=stop, dispatch_owner="BadDriver.sys", verifier_level=level, region_log=()
    )


IDLE = ["KiProcessExpiredTimerList", "KiExecuteAllDpcs", "KiRetireDpcList", "KiIdleLoop"]


@BUILDS
def test_paged_memory_at_dispatch_level(write: Write, tmp_path: Path, build: int) -> None:
    dump = write(blame(build, Stop.PAGED_AT_DISPATCH))
    names = Names(dump, tmp_path / "symbols")
    assert names.stack() == ["KeBugCheckEx", "KiBugCheckDispatch", "KiPageFault", "TimerDpc", *IDLE]
    address, irql, access, ip = struct.unpack_from("<4Q", dump.bytes, 0x40)
    assert (dump.header32(0x38), irql, access) == (0xD1, 2, 0)
    with pytest.raises(Absent):
        dump.translate(address)
    frames = dump.unwind()
    assert dump.registers()["rcx"] == dump.u64(frames[0].sp + 8) == 0xA, "KeBugCheckEx was given 0xA"
    fault = frames[3]
    assert fault.ip == ip
    # the instruction reads through a register that has the address
    instruction = next(Cs(CS_ARCH_X86, CS_MODE_64).disasm(dump.read(ip, 16), ip))
    base = instruction.op_str.split("[")[1].rstrip("]")
    assert instruction.mnemonic == "mov" and fault.registers[base] == address
    trap = frames[2].sp
    assert dump.u64(trap + 0x168) == ip and dump.u64(trap + 0x180) == fault.sp
    assert dump.read(trap + 0x29, 1) == b"\x02" and dump.u64(trap + 0xD0) == address
    assert dump.text(dump.u64(names.variable("KiBugCheckDriver"))) == "BadDriver.sys"


@NEW
def test_a_dpc_that_takes_too_long(write: Write, tmp_path: Path, build: int) -> None:
    dump = write(blame(build, Stop.DPC_WATCHDOG))
    names = Names(dump, tmp_path / "symbols")
    clock = ["KeBugCheckEx", "KeAccumulateTicks", "KeClockInterruptNotify", "KiInterruptDispatchNoLock"]
    assert names.stack() == [*clock, "TimerDpc", *IDLE]
    assert dump.header32(0x38) == 0x133
    kind, ticks, limit, _ = struct.unpack_from("<4Q", dump.bytes, 0x40)
    assert kind == 0 and ticks > limit


@BUILDS
def test_a_blocked_power_request(write: Write, tmp_path: Path, build: int) -> None:
    dump = write(blame(build, Stop.POWER_IRP_BLOCKED))
    watchdog = ["PopCheckIrpWatchdog"] if build == 7601 else ["PopIrpWatchdogBugcheck", "PopIrpWatchdog"]
    assert Names(dump, tmp_path / "symbols").stack() == ["KeBugCheckEx", *watchdog, *IDLE]
    kind, physical, triage, irp = struct.unpack_from("<4Q", dump.bytes, 0x40)
    assert (dump.header32(0x38), kind, dump.u16(triage), dump.u16(irp)) == (0x9F, 3, 0x8000, 6)
    location = dump.u64(irp + 0xB8)
    assert dump.read(location, 2) == b"\x16\x02"  # IRP_MJ_POWER, IRP_MN_SET_POWER
    device = dump.u64(location + 0x28)
    assert (driver_name(dump, device), driver_name(dump, physical)) == (r"\Driver\BadDriver", r"\Driver\pci")
    assert dump.u64(physical + 0x18) == device
    assert list(dump.list(dump.u64(triage + 8))) == []


@BUILDS
def test_pool_that_an_unloading_driver_leaves(write: Write, tmp_path: Path, build: int) -> None:
    dump = write(replace(blame(build, Stop.POOL_LEAKED), leaks=5))
    names = Names(dump, tmp_path / "symbols")
    stack = names.stack()
    assert stack[:3] == ["KeBugCheckEx", "VerifierBugCheckIfAppropriate", "VfPoolCheckForLeaks"]
    assert stack[-4:-1] == ["IopLoadUnloadDriver", "ExpWorkerThread", "PspSystemThreadStartup"]
    sub, text, data, leaks = struct.unpack_from("<4Q", dump.bytes, 0x40)
    assert (dump.header32(0x38), sub, leaks) == (0xC4, 0x62, 5)
    assert dump.read(text, 26).decode("utf-16-le") == "BadDriver.sys"
    now = names.pdbs[dump.nt].offset("_VF_TARGET_VERIFIED_DRIVER_DATA", "CurrentNonPagedPoolAllocations")
    assert now is not None and dump.u32(data + now) == 5


@BUILDS
@pytest.mark.parametrize("stop", BLAMED)
def test_stacks_are_made_of_calls(write: Write, tmp_path: Path, build: int, stop: Stop) -> None:
    if (build, stop) == (7601, Stop.DPC_WATCHDOG):
        with pytest.raises(ValueError, match=r"^stop: 7601"):
            write(blame(build, stop))
        return
    dump = write(blame(build, stop))
    frames = dump.unwind()
    interrupted = [f.ip for f in frames if dump.runtime_function(f.ip) and f is frames[3]]
    assert all(dump.calls_before(f.ip) for f in frames[1:] if f.ip not in interrupted)
    assert all(lower.sp < upper.sp for lower, upper in pairwise(frames))
    assert dump.codeview(dump.nt)[0] == KERNEL_PDB[build]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"stop": Stop.PAGED_AT_DISPATCH}, "dispatch_owner"),
        ({"irp_log": (IrpLogEntry(1, "allocate", "BadDriver.sys"),)}, "irp_log"),
        ({"build": 17763, "irp_log": (IrpLogEntry(1, "cancel", "BadDriver.sys"),)}, "irp_log"),
        ({"build": 17763, "irp_log": (IrpLogEntry(1, "complete", "Gone.sys"),)}, "irp_log"),
        ({"without_headers": ("ntoskrnl.exe",)}, "without_headers"),
        ({"encoded_kdbg": True}, "encoded_kdbg"),
        ({"five_levels": True}, "five_levels"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, change: dict[str, object], field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        write_dump(replace(STATE, **change), tmp_path / "MEMORY.DMP")  # type: ignore[arg-type]
