"""Driver Verifier in the stopped kernel: level, counters, drivers, and its logs."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TypeVar

from lab.dumps.memory import u32, unicode_string
from lab.kernel.irplog import IrpLog, read_irp_log
from lab.kernel.lists import follow
from lab.kernel.record import Record
from lab.kernel.regionlog import RegionLog, read_region_log
from lab.kernel.target import Kernel
from lab.kernel.verified import read_counters, read_verified
from lab.model import DumpError, VerifiedDriver, VerifierFacts

T = TypeVar("T")

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
IO_CHECKS = 0x10
VIOLATION = 0xC4

COUNTERS = (
    *("RaiseIrqls", "AcquireSpinLocks", "SynchronizeExecutions"),
    *("AllocationsAttempted", "AllocationsSucceeded", "AllocationsSucceededSpecialPool"),
    *("AllocationsWithNoTag", "AllocationsFailed", "AllocationsFailedDeliberately", "AllocationFreed"),
    *("TrimRequests", "Trims", "UserTrims", "SessionTrims", "Loads", "Unloads", "UnTrackedPool"),
    *("CurrentPagedPoolAllocations", "CurrentNonPagedPoolAllocations"),
    *("PeakPagedPoolAllocations", "PeakNonPagedPoolAllocations"),
    *("PagedBytes", "NonPagedBytes", "PeakPagedBytes", "PeakNonPagedBytes"),
    *("BurstAllocationsFailedDeliberately", "OptionChanges"),
)
"""Counters of MM_DRIVER_VERIFIER_DATA; those whose name ends in Bytes are 64 bits wide."""


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

    def part(what: str, read: Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        except DumpError as error:
            notes.append(f"{what} could not be read: {error}.")
            return otherwise

    nothing: dict[int, str] = {}
    named = part("The list of verified drivers", lambda: _suspects(kernel), nothing)
    log = part("The critical-region log", lambda: read_region_log(kernel), RegionLog(False, 0))
    irps = IrpLog(False, 0)
    if level & IO_CHECKS:
        irps = part("The IRP log", lambda: read_irp_log(kernel), irps)
    loaded: tuple[VerifiedDriver, ...] = ()
    if kernel.dump.triage is None:
        loaded = part(
            "Verifier's tree of loaded drivers", lambda: read_verified(kernel, frozenset(named)), loaded
        )
    notes += [note for note in (log.note, irps.note, check_violation(kernel)) if note]
    facts = VerifierFacts(
        level=level,
        options=options(level),
        drivers=tuple(name for name in named.values() if name),
        log_allocated=log.allocated,
        log_capacity=log.capacity,
        log=log.entries,
        counters=read_global_counters(kernel),
        loaded=loaded,
        irp_log=irps.entries,
        log_missing=log.missing,
    )
    return facts, tuple(notes)


def read_level(kernel: Kernel) -> int:
    """MmVerifierData.Level, the same bits as `verifier /flags`; in a small dump the copy it carries."""
    with kernel.reading("verifier settings") as used:
        small = kernel.dump.triage
        if small is not None and small.verifier_level is not None:
            used.check("the level is the small dump's own copy (DUMP_MM_STORAGE64)")
            return small.verifier_level
        return u32(kernel.memory, kernel.need("nt!MmVerifierData"))


def read_global_counters(kernel: Kernel) -> tuple[tuple[str, int], ...]:
    """(name, value) of MM_DRIVER_VERIFIER_DATA's counters; empty when they are not in the dump."""
    with kernel.reading("verifier counters"):
        address = kernel.address("nt!MmVerifierData")
        if address is None:
            return ()
        fields = [(name, kernel.find_offset("_MM_DRIVER_VERIFIER_DATA", name)) for name in COUNTERS]
        size = kernel.find_size("_MM_DRIVER_VERIFIER_DATA") or 0
        return read_counters(Record(kernel.memory, address, size), fields)


def read_drivers(kernel: Kernel) -> tuple[str, ...]:
    """Names of VfSuspectDriversList, as they were given to verifier.exe. DumpError when it is not known."""
    return tuple(name for name in _suspects(kernel).values() if name)


def _suspects(kernel: Kernel) -> dict[int, str]:
    """VF_SUSPECT_DRIVER_ENTRY -> its BaseName, "" when that is not in the dump."""
    with kernel.reading("verified drivers") as used:
        head = kernel.need("nt!VfSuspectDriversList")
        kernel.memory.read(head, 8)
        links = follow(kernel.memory, head, MOST_DRIVERS)
        if not links.broken:
            used.check(f"the list of {len(links.found)} drivers closes")
        found: dict[int, str] = {}
        for link in links.found:
            try:
                found[link] = unicode_string(kernel.memory, link + 0x18)  # BaseName
            except DumpError:
                found[link] = ""
        return found


def check_violation(kernel: Kernel) -> str:
    """What is wrong with nt!VfBugcheckTmpData, or "": verifier notes code and parameters there just before
    it stops the system, so that they must be those of the stop.
    """
    stop = kernel.bugcheck
    if stop.code != VIOLATION:
        return ""
    with kernel.reading("verifier's note of the violation") as used:
        address = kernel.address("nt!VfBugcheckTmpData")
        if address is None:
            return ""
        try:
            code, *parameters = struct.unpack("<5Q", kernel.memory.read(address, 40))
        except DumpError:
            return ""
        if (code, tuple(parameters)) == (stop.code, stop.parameters):
            used.check("nt!VfBugcheckTmpData holds code and parameters of the stop")
            return ""
        if code != VIOLATION:
            return ""  # not every check of verifier leaves a note
        seen = ", ".join(f"{value:#x}" for value in parameters)
        return f"Verifier noted another violation than the one of the stop: {code:#x} ({seen})."
