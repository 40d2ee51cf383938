"""Driver Verifier in the stopped kernel: level, verified drivers, and the critical-region log."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lab.dumps.memory import u32, u64, unicode_string
from lab.kernel.target import KERNEL_SPACE, Kernel
from lab.model import CriticalRegionEntry, DumpError, VerifierFacts

OPTIONS = {
    0x1: "Special pool enabled",
    0x2: "Force IRQL checking enabled",
    0x4: "Low resources simulation enabled",
    0x8: "Pool tracking enabled",
    0x10: "Io subsystem checking enabled",
    0x20: "Deadlock detection enabled",
    0x40: "Enhanced Io checking enabled",
    0x80: "DMA checking enabled",
    0x100: "Security checks enabled",
    0x200: "Force pending I/O requests enabled",
    0x400: "IRP logging enabled",
    0x800: "Miscellaneous checks enabled",
    0x2000: "Invariant MDL checking for stack enabled",
    0x4000: "Invariant MDL checking for driver enabled",
    0x8000: "Power framework delay fuzzing enabled",
    0x10000: "Port/miniport interface checking enabled",
    0x20000: "DDI compliance checking enabled",
    0x40000: "Systematic low resources simulation enabled",
    0x80000: "DDI compliance checking (additional) enabled",
    0x200000: "NDIS/WIFI verification enabled",
    0x800000: "Kernel synchronization delay fuzzing enabled",
    0x1000000: "VM switch verification enabled",
    0x2000000: "Code integrity checks enabled",
}
"""Bits of the level in the wording of the debugger's `!verifier`."""

MOST_DRIVERS = 1024
MOST_ENTRIES = 4096
STACK_DEPTH = 7
ENTRY_SIZES = (0x40, 0x50)
"""Sizes of _VF_KE_CRITICAL_REGION_TRACE: public symbols up to Windows 11 21H2, and later kernels."""

_THREAD_TYPE = 6  # KOBJECTS.ThreadObject, first byte of every KTHREAD


@dataclass(frozen=True)
class RegionLog:
    """The Enter/Leave Critical Region log. `entries` newest first."""

    allocated: bool
    capacity: int
    entries: tuple[CriticalRegionEntry, ...] = ()
    note: str = ""


def options(level: int) -> tuple[str, ...]:
    """The names of the bits of `level`; bits without a name as hexadecimal."""
    named = tuple(text for bit, text in OPTIONS.items() if level & bit)
    rest = level & ~sum(OPTIONS)
    return (*named, f"Unknown options {rest:#x} enabled") if rest else named


def read_verifier(kernel: Kernel) -> tuple[VerifierFacts, tuple[str, ...]]:
    """(facts, notes). DumpError when not even the level can be read. What is off is not missed."""
    notes: list[str] = []
    level = read_level(kernel)
    if level == 0:
        return VerifierFacts(0, (), (), False, 0), ()
    try:
        drivers = read_drivers(kernel)
    except DumpError as error:
        drivers = ()
        notes.append(f"The list of verified drivers could not be read: {error}.")
    try:
        log = read_region_log(kernel)
        if log.note:
            notes.append(log.note)
    except DumpError as error:
        log = RegionLog(False, 0)
        notes.append(f"The critical-region log could not be read: {error}.")
    facts = VerifierFacts(level, options(level), drivers, log.allocated, log.capacity, log.entries)
    return facts, tuple(notes)


def read_level(kernel: Kernel) -> int:
    """MmVerifierData.Level, the same bits as `verifier /flags`; in a small dump the copy it carries."""
    small = kernel.dump.triage
    if small is not None and small.verifier_level is not None:
        return small.verifier_level
    return u32(kernel.memory, _global(kernel, "MmVerifierData"))


def read_drivers(kernel: Kernel) -> tuple[str, ...]:
    """Names of VfSuspectDriversList, as they were given to verifier.exe."""
    head = _global(kernel, "VfSuspectDriversList")
    names: list[str] = []
    seen = {head}
    link = u64(kernel.memory, head)
    while link >= KERNEL_SPACE and link not in seen and len(names) < MOST_DRIVERS:
        seen.add(link)
        try:
            names.append(unicode_string(kernel.memory, link + 0x18))  # BaseName
        except DumpError:
            names.append("")
        link = u64(kernel.memory, link)
    return tuple(name for name in names if name)


def read_region_log(kernel: Kernel) -> RegionLog:
    """The ring of calls to KeEnterCriticalRegion and KeLeaveCriticalRegion by verified drivers."""
    memory = kernel.memory
    log = u64(memory, _global(kernel, "VfKeCriticalRegionTraces"))
    length = u32(memory, _global(kernel, "VfKeCriticalRegionTracesLength"))
    index = u32(memory, _global(kernel, "VfKeCriticalRegionTracesIndex"))
    if log == 0:
        return RegionLog(False, length)
    if log < KERNEL_SPACE or not 0 < length <= MOST_ENTRIES:
        return RegionLog(False, 0, note=f"The critical-region log is damaged: {length} entries at {log:#x}.")
    size, note = _entry_size(kernel, log, length)
    entries: list[CriticalRegionEntry] = []
    missing = 0
    for back in range(length):
        slot = (index - back) % length  # length is a power of two; the index wraps with 32 bits
        try:
            raw = memory.read(log + slot * size, 8 * (1 + STACK_DEPTH))
        except DumpError:
            missing += 1
            continue
        thread, *stack = struct.unpack(f"<{1 + STACK_DEPTH}Q", raw)
        if thread:
            entries.append(_entry(kernel, thread, stack))
    if missing:
        note = f"{note} {missing} of {length} entries of the critical-region log are not in the dump.".strip()
    return RegionLog(missing < length, length, tuple(entries), note)


def _entry(kernel: Kernel, thread: int, stack: list[int]) -> CriticalRegionEntry:
    frames = stack[: stack.index(0)] if 0 in stack else stack
    symbols = tuple(kernel.symbol(address, returns=True) for address in frames)
    return CriticalRegionEntry(thread, _direction(symbols), _caller(kernel, frames), symbols)


def _direction(symbols: tuple[str, ...]) -> str:
    """By the function of frame 0; newer kernels do not log it, and then the direction is unknown."""
    function = symbols[0].split("+", 1)[0] if symbols else ""
    if not function.startswith("nt!"):
        return "unknown"
    if "EnterCriticalRegion" in function:
        return "enter"
    return "leave" if "LeaveCriticalRegion" in function else "unknown"


def _caller(kernel: Kernel, frames: list[int]) -> str:
    """The image of the first frame outside the kernel: the driver that made the call."""
    for address in frames:
        module = kernel.module_at(address)
        if module is not None and module.base != kernel.nt.base:
            return module.name
    return ""


def _entry_size(kernel: Kernel, log: int, length: int) -> tuple[int, str]:
    """(bytes of an entry, note): by symbols, else the size for which the slots look like entries."""
    symbols = kernel.nt_symbols
    told = symbols.size("_VF_KE_CRITICAL_REGION_TRACE") if symbols else None
    if told in ENTRY_SIZES:
        return told, ""
    scores = {size: _plausible(kernel, log, length, size) for size in ENTRY_SIZES}
    best = max(ENTRY_SIZES, key=lambda size: scores[size])
    if scores[best] == 0:
        return ENTRY_SIZES[0], ""
    note = (
        ""
        if best == ENTRY_SIZES[0]
        else f"Entries of the critical-region log were taken to be {best:#x} bytes."
    )
    return best, note


def _plausible(kernel: Kernel, log: int, length: int, size: int) -> int:
    """How many slots start with a thread and go on with addresses inside modules, less those that do not."""
    score = 0
    for slot in range(min(length, 32)):
        try:
            thread, first = struct.unpack("<QQ", kernel.memory.read(log + slot * size, 16))
            if thread == 0 and first == 0:
                continue
            inside = kernel.module_at(first) is not None
            is_thread = thread >= KERNEL_SPACE and kernel.memory.read(thread, 1)[0] & 0x7F == _THREAD_TYPE
        except DumpError:
            continue
        score += 1 if inside and is_thread else -1
    return max(score, 0)


def _global(kernel: Kernel, name: str) -> int:
    address = kernel.address(f"nt!{name}")
    if address is None:
        raise DumpError(f"the address of nt!{name} is not known for build {kernel.build}")
    return address
