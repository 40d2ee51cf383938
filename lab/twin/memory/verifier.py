"""Driver Verifier's state: level, suspects, the critical region log, and what a bad IoCallDriver leaves.

Structures: MM_DRIVER_VERIFIER_DATA, VF_SUSPECT_DRIVER_ENTRY, VF_KE_CRITICAL_REGION_TRACE. The call-driver
data has no public type; its offsets are those of the published analysis of such a crash.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from random import Random

from lab.twin.crash import CrashState, RegionLogEntry
from lab.twin.memory.checks import IO_VERIFICATION, LOG_LENGTH
from lab.twin.memory.layout import Layout
from lab.twin.memory.physical import PAGE, Memory, Pool
from lab.twin.memory.records import Record
from lab.twin.memory.targets import write_targets

_IRP_TRACE = 0x80
_MISCELLANEOUS_CHECKS = 0x800
THUNKS = {
    "KeEnterCriticalRegion": "VerifierKeEnterCriticalRegion",
    "KeLeaveCriticalRegion": "VerifierKeLeaveCriticalRegion",
}
"""Imports of verified drivers that lead to Driver Verifier."""

_VARIABLES = (
    "MmVerifierData",
    "VfOptionFlags",
    "VfSuspectDriversList",
    "VfKeCriticalRegionTraces",
    "VfKeCriticalRegionTracesIndex",
    "VfKeCriticalRegionTracesLength",
    "VfBugcheckTmpData",
    "VfErrorBugcheckData",
    "IovIrpTraces",
    "IovIrpTracesIndex",
    "IovIrpTracesLength",
)


def write_verifier(
    memory: Memory, pool: Pool, at: Layout, state: CrashState, threads: Mapping[int, int], rng: Random
) -> dict[str, int]:
    """Level, verified drivers, and the logs; returns the address of each loaded driver's counters by name.

    `threads` gives the ETHREAD of each key.
    """
    for name in _VARIABLES:
        memory.u64(at.variable(name), 0)
    data = Record(0xB0)
    verified = [name for name in state.verified if at.has(name)]
    data.u32(0, state.verifier_level)
    if state.verified:
        data.u32(0x34 if state.build >= 20348 else 0x30, len(verified))
        for offset, most in ((4, 40_000), (8, 900_000), (0xC, 3000), (0x10, 600_000)):
            data.u32(offset, rng.randrange(most // 2, most))
    memory.write(at.variable("MmVerifierData"), data.data[: _data_size(state.build)])
    memory.u32(at.variable("VfOptionFlags"), state.verifier_level)
    memory.u32(at.variable("KernelVerifier"), 0)
    suspects = _suspects(memory, pool, at, state)
    memory.u32(at.variable("VfKeCriticalRegionTracesLength"), LOG_LENGTH)
    if state.verifier_level & _MISCELLANEOUS_CHECKS:
        _log(memory, pool, at, state, threads, rng)
    memory.u32(at.variable("IovIrpTracesLength"), LOG_LENGTH)
    if state.verifier_level & IO_VERIFICATION and state.build >= 9600:
        _irp_log(memory, pool, at, state, threads, rng)
    return write_targets(memory, pool, at, state, suspects, rng)


def _data_size(build: int) -> int:
    """Of MM_DRIVER_VERIFIER_DATA."""
    if build <= 9600:
        return 0xA0
    return 0xB0 if build >= 20348 or build == 14393 else 0xA8


def _suspects(memory: Memory, pool: Pool, at: Layout, state: CrashState) -> dict[str, int]:
    head = at.variable("VfSuspectDriversList")
    entries = [pool.take(0x28, b"VfSd") for _ in state.verified]
    ring = [head, *entries]
    for index, (name, address) in enumerate(zip(state.verified, entries, strict=True)):
        links = struct.pack("<QQII", ring[(index + 2) % len(ring)], ring[index], int(at.has(name)), 0)
        memory.write(address, links + pool.string(name, b"VfSd"))
    memory.write(head, struct.pack("<QQ", ring[1 % len(ring)], ring[-1]))
    return {name.casefold(): entry for name, entry in zip(state.verified, entries, strict=True)}


def _log(
    memory: Memory, pool: Pool, at: Layout, state: CrashState, threads: Mapping[int, int], rng: Random
) -> None:
    """The ring: the writer increments the index, then uses slot index & 127."""
    count = len(state.region_log)
    index = count if count < LOG_LENGTH else LOG_LENGTH + rng.randrange(1 << 20)
    ring = Record(LOG_LENGTH * 0x40)
    for age, entry in enumerate(reversed(state.region_log)):
        slot = (index - age) % LOG_LENGTH
        stack = _stack(at, state, entry)[:7]
        ring.bytes(slot * 0x40, struct.pack(f"<{1 + len(stack)}Q", threads[entry.thread], *stack))
    address = pool.take(len(ring.data), b"VfCR", align=PAGE if state.log_paged_out else 16)
    memory.write(address, ring.data)
    if state.log_paged_out:
        pool.skip_page()
        memory.leave_out(address, len(ring.data))
    memory.u64(at.variable("VfKeCriticalRegionTraces"), address)
    memory.u32(at.variable("VfKeCriticalRegionTracesIndex"), index)


def _irp_log(
    memory: Memory, pool: Pool, at: Layout, state: CrashState, threads: Mapping[int, int], rng: Random
) -> None:
    """The ring of IOV_IRP_TRACEs: allocated and completed requests, with APC disable counts."""
    count = len(state.irp_log)
    index = count if count < LOG_LENGTH else LOG_LENGTH + rng.randrange(1 << 20)
    ring = Record(LOG_LENGTH * _IRP_TRACE)
    for age, entry in enumerate(reversed(state.irp_log)):
        slot = (index - age) % LOG_LENGTH * _IRP_TRACE
        routine = f"nt!Iov{'AllocateIrp' if entry.action == 'allocate' else 'CompleteRequest'}"
        first = at.after_call(routine, "nt!RtlCaptureStackBackTrace")
        stack = [first, *_stack(at, state, RegionLogEntry(entry.thread, "enter", entry.image))[1:]]
        ring.u64(slot, pool.start + 0x40000 + age * 0x400)
        ring.u64(slot + 8, threads[entry.thread])
        ring.u16(slot + 0x10, entry.apc)
        ring.bytes(slot + 0x18, struct.pack(f"<{len(stack)}Q", *stack))
    memory.u64(at.variable("IovIrpTraces"), pool.put(ring.data, b"IovT"))
    memory.u32(at.variable("IovIrpTracesIndex"), index)


def _stack(at: Layout, state: CrashState, entry: RegionLogEntry) -> list[int]:
    """Return addresses of the logged call, innermost first."""
    enters = entry.direction == "enter"
    verifier = f"nt!VerifierKe{'Enter' if enters else 'Leave'}CriticalRegion"
    first = at.after_call(verifier, "nt!RtlCaptureStackBackTrace")
    module = at.module(entry.image)
    name = module.prefix
    if not module.has("Worker"):
        own = next(function for function in module.blueprint.functions if function.calls)
        return [first, module.base + own.rva + own.calls[0][0]]
    if entry.image.casefold() in {instance.image.casefold() for instance in state.instances}:
        watched = state.verifier_level & IO_VERIFICATION
        bottom = (
            ("nt!IovCallDriver", "fltmgr!FltpDispatch")
            if watched
            else ("srv2!Smb2ExecuteRead", "nt!IovCallDriver")
        )
        pairs = [("fltmgr!FltpDispatch", "fltmgr!FltpPassThrough"), bottom]
        through = "fltmgr!FltpLegacyProcessingAfterPreCallbacksCompleted"
        if enters:
            pairs[:0] = [
                (f"{name}!PreRead", verifier),
                ("fltmgr!FltpPerformPreCallbacks", "driver!PreRead"),
                ("fltmgr!FltpPassThroughInternal", "fltmgr!FltpPerformPreCallbacks"),
                ("fltmgr!FltpPassThrough", "fltmgr!FltpPassThroughInternal"),
            ]
        else:
            pairs[:0] = [
                (f"{name}!PostRead", verifier),
                ("fltmgr!FltpPerformPostCallbacks", "driver!PostRead"),
                ("fltmgr!FltpPassThroughCompletion", "fltmgr!FltpPerformPostCallbacks"),
                (through, "fltmgr!FltpPassThroughCompletion"),
                ("fltmgr!FltpPassThrough", through),
            ]
    else:
        pairs = [
            ("nt!IopLoadUnloadDriver", f"{name}!Worker"),
            ("nt!ExpWorkerThread", "nt!IopLoadUnloadDriver"),
            ("nt!PspSystemThreadStartup", "nt!ExpWorkerThread"),
            ("nt!KxStartSystemThread", "nt!PspSystemThreadStartup"),
        ]
        if enters:
            own_frames = [(f"{name}!Enter", verifier), (f"{name}!Start", f"{name}!Enter")]
            own_frames.append((f"{name}!Worker", f"{name}!Start"))
        else:
            own_frames = [(f"{name}!Leave", verifier), (f"{name}!Worker", f"{name}!Leave")]
        pairs = own_frames + pairs
    return [first, *(at.after_call(*pair) for pair in pairs)]


def call_driver_data(
    *, dispatch: int, device: int, irp: int, caller: int, before: int, status: int = 0
) -> bytes:
    """Verifier's record of one IoCallDriver."""
    record = Record(0xC0)
    record.u64(0x30, dispatch)
    record.u32(0x98, 1)
    record.u64(0xA0, device)
    record.u64(0xA8, irp)
    record.u64(0xB0, caller)
    record.u32(0xB8, status)
    record.u32(0xBC, before)
    return bytes(record.data)
