"""The stops: their parameters, and the functions on their stacks."""

from __future__ import annotations

from lab.twin.crash import CrashState, Stop
from lab.twin.memory.checks import BLAMING
from lab.twin.memory.layout import Layout

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
IN_IDLE_THREAD = frozenset({Stop.PAGED_AT_DISPATCH, Stop.POWER_IRP_BLOCKED, Stop.DPC_WATCHDOG})
"""Stops in a deferred procedure call that the idle loop runs."""

DISPATCH_LEVEL = 2
_WATCHDOG_TICKS = 0x500


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
