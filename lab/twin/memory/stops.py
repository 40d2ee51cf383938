"""The stacks of the stops, and the processor as KeBugCheckEx saved it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from lab.twin.crash import CrashState, Stop
from lab.twin.memory.checks import BLAMING
from lab.twin.memory.layout import Layout
from lab.twin.memory.physical import Memory
from lab.twin.memory.stack import Frame, Registers, lay

_START = ("nt!KxStartSystemThread", "nt!PspSystemThreadStartup", "srv2!SrvProcWorkerThread")
_READ = (*_START, "srv2!SrvProcessPacket", "srv2!Smb2ExecuteRead", "nt!IovCallDriver")
_FILTERED = ("fltmgr!FltpDispatch", "fltmgr!FltpPassThrough")
_LEGACY = ("fltmgr!FltpLegacyProcessingAfterPreCallbacksCompleted", "nt!IovCallDriver")
_FILE_SYSTEM = ("Ntfs!NtfsFsdRead", "Ntfs!NtfsCommonRead", "Ntfs!NtfsNonCachedIo", "nt!IovCallDriver")
_CHECK = ("nt!VfAfterCallDriver", "nt!VfBugCheckNoStackUsage", "nt!KeBugCheckEx")
_EXIT = (
    *("srv2!SrvProcTerminateWorkerThreadInternal", "nt!PsTerminateSystemThread"),
    *("nt!PspTerminateThreadByPointer", "nt!PspExitThread", "nt!KeBugCheckEx"),
)
_BREAK = (
    *("nt!KiInterruptDispatchNoLock", "nt!KeAccumulateTicks", "nt!KdCheckForDebugBreak"),
    *("nt!DbgBreakPointWithStatus", "nt!KiBreakpointTrap", "nt!KiExceptionDispatch"),
    *("nt!KiDispatchException", "nt!KdpTrap", "nt!KdpReport", "nt!KdpReportExceptionStateChange"),
    *("nt!KdpSendWaitContinue", "nt!KeBugCheckEx"),
)
_IDLE = (
    *("nt!KiIdleLoop", "nt!KiRetireDpcList", "nt!KiExecuteAllDpcs"),
    "nt!KiProcessExpiredTimerList",
)
_UNLOAD = (
    *("nt!KxStartSystemThread", "nt!PspSystemThreadStartup", "nt!ExpWorkerThread", "nt!IopLoadUnloadDriver"),
    *("nt!IopUnloadDriver", "nt!ObfDereferenceObject", "nt!ObpRemoveObjectRoutine", "nt!IopDeleteDriver"),
    *("nt!MmUnloadSystemImage", "nt!MiUnloadSystemImage", "nt!VfDriverUnloadImage"),
    *("nt!VfTargetDriversRemove", "nt!VfPoolCheckForLeaks", "nt!VerifierBugCheckIfAppropriate"),
    "nt!KeBugCheckEx",
)
_WAIT = ("nt!KeRemoveQueueEx", "nt!KiCommitThreadWait", "nt!KiSwapContext", "nt!SwapContext")
_NMI_HARDWARE_FAILURE = 0x4F4454
_PREVIOUS_IRQL, _RAX, _RCX, _FAULT_ADDRESS = 0x29, 0x30, 0x38, 0xD0  # of KTRAP_FRAME
IN_IDLE_THREAD = frozenset({Stop.PAGED_AT_DISPATCH, Stop.POWER_IRP_BLOCKED, Stop.DPC_WATCHDOG})
"""Stops in a deferred procedure call that the idle loop runs."""

DISPATCH_LEVEL = 2
_WATCHDOG_TICKS = 0x500
_IN_ASSEMBLER = {"PspExitThread (split)": {"thread": "rbx"}}
"""Where variables are in code that has no description of them."""


def waiting_stack(start: str) -> tuple[str, ...]:
    """The functions on the stack of a thread that began in `start` and waits for work, outermost first."""
    return ("nt!KxStartSystemThread", "nt!PspSystemThreadStartup", start, *_WAIT)


def is_deep(state: CrashState) -> bool:
    """Whether the call that went wrong was made below the file system: its target is a class filter."""
    return state.dispatch_owner.casefold() not in ("fltmgr.sys", "ntfs.sys")


def names(state: CrashState, at: Layout) -> tuple[str, ...]:
    """The functions on the crashing stack, outermost first."""
    if state.stop is Stop.APC_PENDING_DURING_EXIT:
        return (*_START, *_EXIT)
    if state.stop is Stop.NMI:
        own = "nt" if at.nt.has("HalHandleNMI") else "hal"
        interrupt = ("nt!KiNmiInterrupt", "nt!KxNmiInterrupt", "nt!KiProcessNMI")
        return (*_START, *interrupt, f"{own}!HalHandleNMI", f"{own}!HalBugCheckSystem", "nt!KeBugCheckEx")
    if state.stop is Stop.MANUAL:
        return (*_START, _BREAK[0], *_clock(at), *_BREAK[1:])
    if state.stop in BLAMING:
        return _blaming(state, at)
    calls = _calls(state, at)
    if not state.state_on_stack:
        return calls
    found: list[str] = []
    for name in calls:
        found += [name, "nt!IovpCallDriverWithStackBuffer"] if name == "nt!IovCallDriver" else [name]
    return tuple(found)


def _clock(at: Layout) -> tuple[str, ...]:
    return ("nt!KeClockInterruptNotify",) if at.nt.has("KeClockInterruptNotify") else ()


def _blaming(state: CrashState, at: Layout) -> tuple[str, ...]:
    timer = f"{at.module(state.dispatch_owner).prefix}!TimerDpc"
    match state.stop:
        case Stop.PAGED_AT_DISPATCH:
            return (*_IDLE, timer, "nt!KiPageFault", "nt!KiBugCheckDispatch", "nt!KeBugCheckEx")
        case Stop.DPC_WATCHDOG:
            interrupt = ("nt!KiInterruptDispatchNoLock", *_clock(at), "nt!KeAccumulateTicks")
            return (*_IDLE, timer, *interrupt, "nt!KeBugCheckEx")
        case Stop.POWER_IRP_BLOCKED:
            new = at.nt.has("PopIrpWatchdog")
            watchdog = (
                ("nt!PopIrpWatchdog", "nt!PopIrpWatchdogBugcheck") if new else ("nt!PopCheckIrpWatchdog",)
            )
            return (*_IDLE, *watchdog, "nt!KeBugCheckEx")
    return _UNLOAD


def _calls(state: CrashState, at: Layout) -> tuple[str, ...]:
    if is_deep(state):
        return (*_READ, *_FILTERED, *_LEGACY, *_FILE_SYSTEM, *_CHECK)
    if state.dispatch_owner.casefold() == "ntfs.sys":
        return (*_READ, *_FILTERED, *_LEGACY, *_CHECK)
    return (*_READ, *_CHECK)


def dispatch_symbol(state: CrashState, at: Layout) -> str:
    """The dispatch routine that Driver Verifier accuses."""
    owner = at.module(state.dispatch_owner)
    return {"fltmgr": "fltmgr!FltpDispatch", "Ntfs": "Ntfs!NtfsFsdRead"}.get(
        owner.prefix, f"{owner.prefix}!Dispatch"
    )


def stop_of(state: CrashState, at: Layout) -> tuple[int, tuple[int, int, int, int]]:
    """Bugcheck code and parameters, as far as they do not depend on where things lie in pool.

    APC disable counts are the combined 32-bit value.
    """
    now, before = state.apc_now & 0xFFFF, state.apc_before & 0xFFFF
    if state.stop is Stop.APC_PENDING_DURING_EXIT:
        return 0x20, (0, now, 0, 1)
    if state.stop is Stop.DISPATCH_CHANGED_APC:
        return 0xC4, (0xC5, at.address(dispatch_symbol(state, at)), now, before)
    if state.stop is Stop.NMI:
        return 0x80, (_NMI_HARDWARE_FAILURE, 0, 0, 0)
    if state.stop is Stop.PAGED_AT_DISPATCH:
        faulted = at.after_call(
            f"{at.module(state.dispatch_owner).prefix}!TimerDpc", "nt!ObfDereferenceObject"
        )
        return 0xD1, (at.paged, DISPATCH_LEVEL, 0, faulted)
    if state.stop is Stop.DPC_WATCHDOG:
        return 0x133, (0, _WATCHDOG_TICKS + 1, _WATCHDOG_TICKS, 0)
    if state.stop in BLAMING:
        return (0x9F if state.stop is Stop.POWER_IRP_BLOCKED else 0xC4), (0, 0, 0, 0)
    return 0xE2, (0, 0, 0, 0)


@dataclass(frozen=True)
class Verified:
    """One IoCallDriver that Driver Verifier watches: its record, and what it was called with."""

    data: int  # address of the record in pool, 0 when it is on the stack
    device: int
    irp: int
    record: bytes


Values = Mapping[str, int]
"""Values of variables, by the names that the functions' sources give them."""


def frames(
    at: Layout, functions: tuple[str, ...], last: int, values: Mapping[int, Values], switch: int = 0
) -> tuple[Frame, ...]:
    """Frames for `functions`, outermost first; the innermost runs at `last`.

    `values` are those of each function's variables, by position: they go where the function keeps them.
    An interrupted function runs behind its first call, or has just been entered.
    """
    found = []
    for index, name in enumerate(functions):
        own = at.function(name)
        held: Mapping[str, str | int] = {}
        interrupted = index + 1 < len(functions) and at.function(functions[index + 1]).interrupt
        if index + 1 == len(functions):
            address = last
        elif interrupted:
            behind = own.calls[0][0] if own.calls else 0
            address, held = at.address(name) + behind, own.held.get(behind, {})
        else:
            address, part = at.resumes(name, functions[index + 1])
            held = part.held.get(address - at.address(name) + own.rva - part.rva, {})
            held = held or _IN_ASSEMBLER.get(part.name, {})
        sets: dict[str, int] = {}
        stores: dict[int, int] = {}
        for variable, value in values.get(index, {}).items():
            place = held.get(variable)
            if isinstance(place, str):
                sets[place] = value
            elif place is not None:
                stores[place] = value
        found.append(Frame(own, address, sets, stores, switch=switch if interrupted else 0))
    return tuple(found)


def lay_crash(
    memory: Memory,
    at: Layout,
    state: CrashState,
    top: int,
    thread: int,
    verified: tuple[Verified, ...],
    stop: tuple[int, tuple[int, int, int, int]],
) -> Registers:
    """Write the crashing stack from `top`; returns the processor at the entry of KeBugCheckEx.

    `verified` are the watched calls on the stack, outermost first; each stack call of IovCallDriver takes
    one. A call without a record in pool has it on the stack, in its buffer.
    """
    functions = names(state, at)
    code, parameters = stop
    values: dict[int, Values] = {}
    queue = at.address("srv2!SrvProcWorkerThread") & ~0xFFFF | 0x2D00
    everywhere = {"thread": thread, "tcb": thread, "Queue": at.pool + 0x9E0, "Context": at.pool + 0x9E0}
    everywhere |= {"paged": at.paged, "extension": at.pool + 0x1A0}
    device = irp = data = 0
    calls = iter(verified)
    for index, name in enumerate(functions):
        if name == "nt!IovCallDriver":
            call = next(calls)
            device, irp, data = call.device, call.irp, call.data
        own = {"device": device, "irp": irp, "data": data, "WorkItem": queue, "caller": 0}
        values[index] = everywhere | own
    # A debugger break runs on the thread's own stack; an NMI has a stack of its own.
    switch = at.processors + 0x80000000 - 0x40 if state.stop is Stop.NMI else 0
    entered = frames(at, functions, at.address("nt!KeBugCheckEx"), values, switch)
    entered = tuple(_trapped(frame, state, at) for frame in entered)
    start = {"rbx": thread, "rsi": at.pool + 0x9E0}
    registers, pointers = lay(memory, top, entered, start, entered=True)
    if state.state_on_stack and verified:
        buffers = _buffers(at, functions, pointers, values, verified, memory)
        entered = frames(at, functions, at.address("nt!KeBugCheckEx"), values | buffers, switch)
        registers, _ = lay(memory, top, entered, start, entered=True)
        _write_buffers(memory, at, functions, pointers, verified)
    for index, value in enumerate((code, *parameters)):
        memory.u64(registers.rsp + 8 + 8 * index, value)
    volatile = {"rcx": code, "rdx": parameters[0], "r8": parameters[1], "r9": parameters[2]}
    volatile["r10"] = at.address("nt!IovCallDriver") + 0x40
    return Registers(registers.rip, registers.rsp, registers.nonvolatile, volatile)


def _trapped(frame: Frame, state: CrashState, at: Layout) -> Frame:
    """A trap keeps the volatile registers, the IRQL, and the address that could not be reached."""
    if not frame.function.interrupt:
        return frame
    high = state.stop in IN_IDLE_THREAD
    kept = {_PREVIOUS_IRQL & ~7: (DISPATCH_LEVEL if high else 0) << 8 * (_PREVIOUS_IRQL & 7), _RAX: 0}
    if frame.function.name == "KiPageFault":
        kept |= {_RCX: at.paged, _FAULT_ADDRESS: at.paged}
    return replace(frame, stores={**frame.stores, **kept})


def _buffers(
    at: Layout,
    functions: tuple[str, ...],
    pointers: tuple[int, ...],
    values: Mapping[int, Values],
    verified: tuple[Verified, ...],
    memory: Memory,
) -> dict[int, Values]:
    """Where Driver Verifier's record of each call is, told to what is called with it."""
    found: dict[int, Values] = {}
    data = 0
    for index, name in enumerate(functions):
        if name == "nt!IovpCallDriverWithStackBuffer":
            data = pointers[index] + _buffer(at)
        if data:
            found[index] = {**values[index], "data": data}
    return found


def _buffer(at: Layout) -> int:
    """Offset of the record in the frame of the function that has it on the stack."""
    own = at.function("nt!IovpCallDriverWithStackBuffer")
    offset = next(iter(own.held.values()))["buffer"]
    assert isinstance(offset, int)
    return offset


def _write_buffers(
    memory: Memory,
    at: Layout,
    functions: tuple[str, ...],
    pointers: tuple[int, ...],
    verified: tuple[Verified, ...],
) -> None:
    calls = iter(verified)
    for index, name in enumerate(functions):
        if name == "nt!IovpCallDriverWithStackBuffer":
            memory.write(pointers[index] + _buffer(at), next(calls).record)
