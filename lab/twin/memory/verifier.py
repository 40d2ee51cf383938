"""Driver Verifier's state: level, suspects, the critical region log, and what a bad IoCallDriver leaves.

Structures: MM_DRIVER_VERIFIER_DATA, VF_SUSPECT_DRIVER_ENTRY, VF_KE_CRITICAL_REGION_TRACE. The call-driver
data has no public type; its offsets are those of the published analysis of such a crash.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from random import Random

from lab.twin.crash import CrashState, RegionLogEntry
from lab.twin.memory.checks import LOG_LENGTH
from lab.twin.memory.layout import Layout
from lab.twin.memory.physical import Memory, Pool
from lab.twin.memory.records import Record

_DATA_SIZES = {7601: 0xA0, 17763: 0xA8, 20348: 0xB0}  # MM_DRIVER_VERIFIER_DATA
_MISCELLANEOUS_CHECKS = 0x800
VARIABLES = (
    "MmVerifierData",
    "VfOptionFlags",
    "VfSuspectDriversList",
    "VfKeCriticalRegionTraces",
    "VfKeCriticalRegionTracesIndex",
    "VfKeCriticalRegionTracesLength",
    "VfBugcheckTmpData",
    "VfErrorBugcheckData",
    "ViTargetDriversAvl",
    "IovIrpTraces",
    "IovIrpTracesIndex",
    "IovIrpTracesLength",
)


def write_verifier(
    memory: Memory, pool: Pool, at: Layout, state: CrashState, threads: Mapping[int, int], rng: Random
) -> None:
    """Level, list of verified drivers, and the log. `threads` gives the ETHREAD of each key."""
    for name in VARIABLES:
        memory.u64(at.variable(name), 0)
    data = Record(0xB0)
    verified = [name for name in state.verified if at.has(name)]
    data.u32(0, state.verifier_level)
    if state.verified:
        data.u32(0x34 if state.build >= 20348 else 0x30, len(verified))
        for offset, most in ((4, 40_000), (8, 900_000), (0xC, 3000), (0x10, 600_000)):
            data.u32(offset, rng.randrange(most // 2, most))
    memory.write(at.variable("MmVerifierData"), data.data[: _DATA_SIZES[state.build]])
    memory.u32(at.variable("VfOptionFlags"), state.verifier_level)
    memory.u32(at.variable("KernelVerifier"), 0)
    _suspects(memory, pool, at, state)
    memory.u32(at.variable("VfKeCriticalRegionTracesLength"), LOG_LENGTH)
    if state.verifier_level & _MISCELLANEOUS_CHECKS:
        _log(memory, pool, at, state, threads, rng)
    else:
        memory.u64(at.variable("VfKeCriticalRegionTraces"), 0)
        memory.u32(at.variable("VfKeCriticalRegionTracesIndex"), 0)


def _suspects(memory: Memory, pool: Pool, at: Layout, state: CrashState) -> None:
    head = at.variable("VfSuspectDriversList")
    entries = [pool.take(0x28, b"VfSd") for _ in state.verified]
    ring = [head, *entries]
    for index, (name, address) in enumerate(zip(state.verified, entries, strict=True)):
        links = struct.pack("<QQII", ring[(index + 2) % len(ring)], ring[index], int(at.has(name)), 0)
        memory.write(address, links + pool.string(name, b"VfSd"))
    memory.write(head, struct.pack("<QQ", ring[1 % len(ring)], ring[-1]))


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
    memory.u64(at.variable("VfKeCriticalRegionTraces"), pool.put(ring.data, b"VfCR"))
    memory.u32(at.variable("VfKeCriticalRegionTracesIndex"), index)


def _stack(at: Layout, state: CrashState, entry: RegionLogEntry) -> list[int]:
    """Return addresses of the logged call, innermost first."""

    verifier = f"nt!VerifierKe{'Enter' if entry.direction == 'enter' else 'Leave'}CriticalRegion"
    first = at.after_call(verifier, "nt!ExpWorkerThread")
    module = at.module(entry.image)
    name = module.prefix
    if not any(function.name == f"{name}!Worker" for function in module.functions):
        own = next(function for function in module.functions if function.calls)
        return [first, module.base + own.rva + own.calls[0].offset]
    if entry.image.casefold() in {instance.image.casefold() for instance in state.instances}:
        callback = f"{name}!{'PreRead' if entry.direction == 'enter' else 'PostRead'}"
        return [
            first,
            at.after_call(callback, verifier),
            at.after_call("fltmgr!FltpPerformPreCallbacks", "driver"),
            at.after_call("fltmgr!FltpPassThroughInternal", "fltmgr!FltpPerformPreCallbacks"),
            at.after_call("fltmgr!FltpPassThrough", "fltmgr!FltpPassThroughInternal"),
            at.after_call("fltmgr!FltpDispatch", "fltmgr!FltpPassThrough"),
            at.after_call("srv2!Smb2ExecuteRead", "nt!IovCallDriver"),
        ]
    below = [
        at.after_call("nt!IopLoadUnloadDriver", f"{name}!Worker"),
        at.after_call("nt!ExpWorkerThread", "nt!IopLoadUnloadDriver"),
        at.after_call("nt!PspSystemThreadStartup", "srv2!SrvProcWorkerThread"),
        at.after_call("nt!KxStartSystemThread", "nt!PspSystemThreadStartup"),
    ]
    if entry.direction == "enter":
        own_frames = [(f"{name}!Enter", verifier), (f"{name}!Start", f"{name}!Enter")]
        own_frames.append((f"{name}!Worker", f"{name}!Start"))
    else:
        own_frames = [(f"{name}!Leave", verifier), (f"{name}!Worker", f"{name}!Leave")]
    return [first, *(at.after_call(*pair) for pair in own_frames), *below]


def call_driver_data(
    pool: Pool, *, dispatch: int, device: int, irp: int, caller: int, before: int, status: int = 0
) -> int:
    """Verifier's record of one IoCallDriver; returns its address."""
    record = Record(0xC0)
    record.u64(0x30, dispatch)
    record.u32(0x98, 1)
    record.u64(0xA0, device)
    record.u64(0xA8, irp)
    record.u64(0xB0, caller)
    record.u32(0xB8, status)
    record.u32(0xBC, before)
    return pool.put(record.data, b"VfIo")
