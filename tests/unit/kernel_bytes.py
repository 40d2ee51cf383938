"""A kernel laid out by hand from published offsets: what the readers of lab/kernel are held to."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from lab.dumps.memory import NotPresent
from lab.kernel.modules import LoadedModule
from lab.kernel.target import Kernel
from lab.model import Bugcheck, Frame
from lab.symbols.port import ModuleSymbols, PdbId

NT = 0xFFFFF80001600000
FLTMGR = 0xFFFFF88001300000
NTFS = 0xFFFFF88001400000
SRV2 = 0xFFFFF88004040000
BAD = 0xFFFFF88005000000
OTHER = 0xFFFFF88005100000
POOL = 0xFFFFFA804A3B0000
STACK = 0xFFFFF88005DB1B08

ENTER, LEAVE, AFTER, IOV = 0x507190, 0x510210, 0x510950, 0x5167F0  # RVAs, 7601.24540
TRACES, INDEX, LENGTH, LEVEL, SUSPECTS = 0x54A118, 0x54A150, 0x54A040, 0x23A0E0, 0x21A230
PROCESSORS = 0x29D480

OFFSETS: dict[int, dict[tuple[str, str], int]] = {
    7601: {
        ("_KTHREAD", "KernelApcDisable"): 0x1C4,
        ("_KTHREAD", "SpecialApcDisable"): 0x1C6,
        ("_KTHREAD", "StackBase"): 0x278,
        ("_KTHREAD", "StackLimit"): 0x30,
        ("_KTHREAD", "Process"): 0x210,
        ("_ETHREAD", "Win32StartAddress"): 0x418,
        ("_ETHREAD", "Cid"): 0x3B8,
        ("_ETHREAD", "ThreadListEntry"): 0x428,
        ("_EPROCESS", "ImageFileName"): 0x2E0,
        ("_EPROCESS", "ActiveProcessLinks"): 0x188,
        ("_EPROCESS", "ThreadListHead"): 0x308,
        ("_KPRCB", "Context"): 0x53E0,
    },
    20348: {
        ("_KTHREAD", "KernelApcDisable"): 0x1E4,
        ("_KTHREAD", "SpecialApcDisable"): 0x1E6,
        ("_KTHREAD", "StackBase"): 0x38,
        ("_KTHREAD", "StackLimit"): 0x30,
        ("_KTHREAD", "Process"): 0x220,
        ("_ETHREAD", "Win32StartAddress"): 0x520,
        ("_ETHREAD", "Cid"): 0x4C8,
        ("_ETHREAD", "ThreadListEntry"): 0x538,
        ("_EPROCESS", "ImageFileName"): 0x5A8,
        ("_EPROCESS", "ActiveProcessLinks"): 0x448,
        ("_EPROCESS", "ThreadListHead"): 0x5E0,
        ("_KPRCB", "Context"): 0x8980,
    },
}
"""Facts, section 3.3 (public symbols of the builds)."""


VIOLATION = Bugcheck(0xC4, (0xC5, 0, 0, 0))


class Bytes:
    """Sparse memory: what was never written is not present."""

    def __init__(self) -> None:
        self.cells: dict[int, int] = {}

    def read(self, address: int, size: int) -> bytes:
        try:
            return bytes(self.cells[address + i] for i in range(size))
        except KeyError as missing:
            raise NotPresent(f"{missing.args[0]:#x} is not mapped") from None

    def put(self, address: int, data: bytes) -> None:
        self.cells.update((address + i, byte) for i, byte in enumerate(data))

    def fill(self, address: int, size: int) -> int:
        self.put(address, bytes(size))
        return address

    def u16(self, address: int, value: int) -> None:
        self.put(address, struct.pack("<H", value & 0xFFFF))

    def u32(self, address: int, value: int) -> None:
        self.put(address, struct.pack("<I", value & 0xFFFFFFFF))

    def u64(self, address: int, *values: int) -> None:
        self.put(address, struct.pack(f"<{len(values)}Q", *values))

    def text(self, address: int, value: str, buffer: int) -> None:
        """A UNICODE_STRING at `address` whose text lies at `buffer`."""
        raw = value.encode("utf-16-le")
        self.put(address, struct.pack("<HH4xQ", len(raw), len(raw), buffer))
        self.put(buffer, raw)


@dataclass(frozen=True)
class TableSymbols:
    """Symbols from two small tables."""

    names: dict[str, int]
    offsets: dict[tuple[str, str], int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    source: str = "test"

    def rva(self, name: str) -> int | None:
        return self.names.get(name)

    def nearest(self, rva: int) -> tuple[str, int] | None:
        below = [(at, name) for name, at in self.names.items() if at <= rva]
        return (max(below)[1], rva - max(below)[0]) if below else None

    def offset(self, type_name: str, field: str) -> int | None:
        return self.offsets.get((type_name, field))

    def size(self, type_name: str) -> int | None:
        return self.sizes.get(type_name)


class OneStore:
    def __init__(self, known: dict[str, TableSymbols]) -> None:
        self.known = known

    @property
    def places(self) -> tuple[str, ...]:
        return ("the test",)

    notes: tuple[str, ...] = ()

    def find(self, pdb: PdbId) -> ModuleSymbols | None:
        return self.known.get(pdb.name)

    def answers(self, pdb: PdbId) -> tuple[str, ...]:
        return ("the test: not there",)


def kernel(
    memory: Bytes,
    build: int = 7601,
    *,
    rsp: int = STACK,
    rip: int = NT,
    small: Any = None,
    size: int | None = 0x40,
    processors: int = 1,
    debugger_data: int | None = None,
    bugcheck: Bugcheck = VIOLATION,
    more: dict[str, int] | None = None,
    offsets: dict[tuple[str, str], int] | None = None,
    sizes: dict[str, int] | None = None,
    others: dict[str, TableSymbols] | None = None,
) -> Kernel:
    """A kernel over `memory` with the modules of the article. `more` are further names of nt, `offsets` and
    `sizes` further layouts, `others` symbols of other modules by their PDB.
    """
    names = (more or {}) | {
        "KeBugCheckEx": 0x93EA0,
        "VerifierKeEnterCriticalRegion": ENTER,
        "VerifierKeLeaveCriticalRegion": LEAVE,
        "VfAfterCallDriver": AFTER,
        "IovCallDriver": IOV,
        "VfKeCriticalRegionTraces": TRACES,
        "VfKeCriticalRegionTracesIndex": INDEX,
        "VfKeCriticalRegionTracesLength": LENGTH,
        "MmVerifierData": LEVEL,
        "VfSuspectDriversList": SUSPECTS,
        "KiProcessorBlock": PROCESSORS,
    }
    known = {"_VF_KE_CRITICAL_REGION_TRACE": size} if size else {}
    symbols = TableSymbols(names, OFFSETS.get(build, {}) | (offsets or {}), known | (sizes or {}))
    srv2 = TableSymbols({"Smb2ExecuteRead": 0x14000, "SrvProcWorkerThread": 0xB400})
    modules = tuple(
        LoadedModule(name, rf"\SystemRoot\System32\drivers\{name}", base, size, 1, PdbId(pdb, "0" * 32, 1))
        for name, base, size, pdb in (
            ("ntoskrnl.exe", NT, 0x600000, "ntkrnlmp.pdb"),
            ("fltmgr.sys", FLTMGR, 0x50000, "fltMgr.pdb"),
            ("Ntfs.sys", NTFS, 0x100000, "ntfs.pdb"),
            ("srv2.sys", SRV2, 0x40000, "srv2.pdb"),
            ("BadDriver.sys", BAD, 0x10000, "bad.pdb"),
            ("Other.sys", OTHER, 0x10000, "other.pdb"),
        )
    )
    dump = SimpleNamespace(
        memory=memory,
        header=SimpleNamespace(
            build=build,
            processors=processors,
            process_list=NT + 0x21BA00,
            module_list=None,
            debugger_data=debugger_data,
        ),
        bugcheck=bugcheck,
        context=SimpleNamespace(rip=rip, rsp=rsp),
        triage=small,
    )
    return Kernel(
        cast(Any, dump), modules, modules[0], OneStore({"srv2.pdb": srv2} | (others or {})), symbols
    )


def driver_object(memory: Bytes, at: int, name: str, start: int, size: int, routine: int) -> int:
    memory.fill(at, 0x150)
    memory.u16(at, 4)
    memory.u16(at + 2, 0x150)
    memory.u64(at + 0x18, start)
    memory.u32(at + 0x20, size)
    memory.text(at + 0x38, name, at + 0x400)
    memory.u64(at + 0x70, *([routine] * 28))
    return at


def device_object(memory: Bytes, at: int, driver: int, *, above: int = 0, below: int = 0) -> int:
    """A DEVICE_OBJECT with its extension at +0x150 and its DEVOBJ_EXTENSION at +0x1A8, as in the article."""
    memory.fill(at, 0x250)
    memory.u16(at, 3)
    memory.u64(at + 0x8, driver)
    memory.u64(at + 0x18, above)
    memory.u64(at + 0x40, at + 0x150)
    memory.u64(at + 0x138, at + 0x1A8)
    memory.u64(at + 0x1A8 + 0x8, at)
    memory.u64(at + 0x1A8 + 0x30, below)
    return at


def irp(
    memory: Bytes,
    at: int,
    devices: list[int],
    *,
    current: int,
    major: int = 3,
    minor: int = 0,
    file: int = 0,
    thread: int = 0,
) -> int:
    """An IRP with one stack location for each of `devices`, the lowest first; IO_TYPE_IRP is 6."""
    size = 0xD0 + 0x48 * len(devices)
    memory.fill(at, size)
    memory.u16(at, 6)
    memory.u16(at + 2, size)
    memory.put(at + 0x42, bytes((len(devices), current)))
    memory.u64(at + 0x98, thread)
    memory.u64(at + 0xB8, at + 0xD0 + 0x48 * (current - 1))
    for index, device in enumerate(devices):
        location = at + 0xD0 + 0x48 * index
        memory.put(location, bytes((major, minor)))
        memory.u64(location + 0x28, device, file)
    return at


def file_object(memory: Bytes, at: int, name: str, device: int = 0) -> int:
    memory.fill(at, 0xD8)
    memory.u16(at, 5)
    memory.u64(at + 8, device)
    memory.text(at + 0x58, name, at + 0x100)
    return at


def frame(index: int, child_sp: int, symbol: str, **registers: int) -> Frame:
    return Frame(index, child_sp, 0, 0, symbol, "ntoskrnl.exe", "unwound", "", tuple(registers.items()))
