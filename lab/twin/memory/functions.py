"""The functions that appear on the twin's stacks: where they are, their frames, and what they call.

Frame sizes and offsets of 7601 are those of the published debugger listing of such a crash; those of the
10 family keep within the functions' bounds in the kernels' symbols. Addresses in other modules than the
kernel are the twin's own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lab.twin.memory.prologue import Op, Prologue, interrupt_prologue, prologue
from lab.twin.memory.tables import Kernel

_ALL = "rbx rbp rsi rdi r12 r13 r14 r15"
_LEAF = Prologue()

_SHAPES: dict[str, Prologue] = {
    # The exit of a worker thread
    "nt!PspExitThread": prologue(pushes=_ALL, alloc=0xB8),
    "nt!PspTerminateThreadByPointer": prologue("rbx2 rsi4", "rdi", 0x40),
    "nt!PsTerminateSystemThread": prologue(alloc=0x28),
    "nt!PspSystemThreadStartup": prologue("", "rbx", 0x30),
    "nt!KxStartSystemThread": prologue(alloc=0x28),
    "srv2!SrvProcTerminateWorkerThreadInternal": prologue("", "rbx", 0x20),
    "srv2!SrvProcWorkerThread": prologue("", "rbx rbp rsi rdi r12", 0x50),
    "srv2!SrvProcessPacket": prologue("rbx2 rsi3", "rdi", 0x30),
    "srv2!Smb2ExecuteRead": prologue("rbx2", "rbp rsi rdi r12 r13 r14 r15", 0x40),
    # Driver Verifier
    "nt!VfBugCheckNoStackUsage": prologue(alloc=0x38),
    "nt!VfAfterCallDriver": prologue("rbx2 rbp3 rsi4", "rdi r12 r13", 0x30, moves="488bfa 488bd9"),
    "nt!IovCallDriver": prologue("rbx2 rbp3 rsi4", "rdi r12 r13", 0x40),
    "nt!VerifierKeEnterCriticalRegion": prologue("", "rbx", 0x20),
    "nt!VerifierKeLeaveCriticalRegion": prologue("rbx1", "rdi", 0x20),
    "nt!IopLoadUnloadDriver": prologue("rbx2", "rdi", 0x30),
    "nt!ExpWorkerThread": prologue("", "rbx rbp rsi rdi r12 r13 r14", 0x60),
    # The read path below the server
    "fltmgr!FltpDispatch": prologue("rbx1 rsi2", "rdi", 0x50),
    "fltmgr!FltReleasePushLock": prologue("", "rbx", 0x20),
    "fltmgr!FltpCreate": prologue("rbx1 rsi2", "rdi", 0x90),
    "fltmgr!FltpFsControl": prologue("rbx1", "rdi", 0x60),
    "fltmgr!FltpPassThrough": prologue("rbx1 rbp2 rsi3", "rdi r12 r13", 0x40),
    "fltmgr!FltpPassThroughInternal": prologue("rbx1", "rdi", 0x50),
    "fltmgr!FltpPerformPreCallbacks": prologue("", "rbx rbp rsi rdi r12 r13 r14 r15", 0x68),
    "fltmgr!FltpLegacyProcessingAfterPreCallbacksCompleted": prologue("rbx1 rbp2 rsi3", "rdi r12 r13", 0x40),
    "Ntfs!NtfsFsdRead": prologue("rbx1 rbp2", "rsi rdi r12", 0x70),
    "Ntfs!NtfsCommonRead": prologue("", _ALL, 0xC8),
    "Ntfs!NtfsNonCachedIo": prologue("rbx1", "rbp rsi rdi r12 r13 r14 r15", 0xC0),
    "Ntfs!NtfsFsdDispatch": prologue("rbx1", "rdi", 0x60),
    # Stops that the lab causes itself
    "nt!KeBugCheckEx": Prologue(
        (*prologue("rcx1 rdx2 r83 r94").ops, Op("pushfq"), Op("alloc", value=0x30)),
    ),
    "nt!KiNmiInterrupt": interrupt_prologue(),
    "nt!KxNmiInterrupt": prologue(alloc=0x138),
    "nt!KiProcessNMI": prologue("rbx1", "rdi", 0x40),
    "hal!HalHandleNMI": prologue("rbx1", "rdi", 0x40),
    "hal!HalBugCheckSystem": prologue("rbx1", "rdi", 0x30),
    "nt!HalHandleNMI": prologue("rbx1", "rdi", 0x40),
    "nt!HalBugCheckSystem": prologue("rbx1", "rdi", 0x30),
    "nt!KdpSendWaitContinue": prologue("rbx1", "rbp rsi rdi r12 r13 r14 r15", 0xD0),
    "nt!KdpReportExceptionStateChange": prologue("rbx2 rsi3", "rdi", 0x120),
    "nt!KdpReport": prologue("rbx1 rbp2 rsi3", "rdi", 0x30),
    "nt!KdpTrap": prologue("rbx1", "rdi", 0x40),
    "nt!KiDispatchException": prologue("", _ALL, 0x188),
    "nt!KiExceptionDispatch": prologue(alloc=0x1D8),
    "nt!KiBreakpointTrap": interrupt_prologue(),
    "nt!DbgBreakPointWithStatus": _LEAF,
    "nt!KdCheckForDebugBreak": prologue(alloc=0x28),
    "nt!KeAccumulateTicks": prologue("rbx1 rbp2", "rsi rdi r12", 0x30),
    "nt!KiInterruptDispatchNoLock": interrupt_prologue(),
    # Threads that wait
    "nt!KiIdleLoop": prologue(alloc=0x28),
    "nt!SwapContext": prologue("", "rbp", 0x20),
    "nt!KiSwapContext": prologue(alloc=0x138),
    "nt!KiCommitThreadWait": prologue("rbx1", "rbp rsi rdi", 0x50),
    "nt!KeRemoveQueueEx": prologue("", _ALL, 0x68),
}

_RVAS = {  # in other modules; of 7601, and shifted in later builds
    "srv2!SrvProcWorkerThread": 0x1B400,
    "srv2!SrvProcessPacket": 0x1B710,
    "srv2!Smb2ExecuteRead": 0x23DB0,
    "srv2!SrvProcTerminateWorkerThreadInternal": 0x266D0,
    "fltmgr!FltpLegacyProcessingAfterPreCallbacksCompleted": 0x2200,
    "fltmgr!FltpPerformPreCallbacks": 0x2A00,
    "fltmgr!FltpPassThroughInternal": 0x4A00,
    "fltmgr!FltpPassThrough": 0x4C00,
    "fltmgr!FltpDispatch": 0x5610,
    "fltmgr!FltReleasePushLock": 0x5710,
    "fltmgr!FltpFsControl": 0x9A40,
    "fltmgr!FltpCreate": 0xA2C0,
    "Ntfs!NtfsNonCachedIo": 0x6A80,
    "Ntfs!NtfsCommonRead": 0x8740,
    "Ntfs!NtfsFsdRead": 0x9B20,
    "Ntfs!NtfsFsdDispatch": 0xB1C0,
    "hal!HalHandleNMI": 0x8840,
    "hal!HalBugCheckSystem": 0x8A20,
}
_HAL_NMI = "hal!HalHandleNMI"
_SHIFT = {7601: 0, 17763: 0x6000, 20348: 0x9000}


@dataclass(frozen=True)
class Call:
    """A call in `caller`, returning to `offset` from its start. `how`: relative, import or pointer."""

    caller: str
    callee: str
    offset: int
    how: str = "relative"


_CALLS: tuple[tuple[str, str, tuple[int, int, int], str], ...] = (
    ("nt!PspExitThread", "nt!KeBugCheckEx", (-0x1C517, 0x5A3, 0x5C1), "relative"),
    ("nt!PspTerminateThreadByPointer", "nt!PspExitThread", (0x4D, 0x96, 0x9A), "relative"),
    ("nt!PsTerminateSystemThread", "nt!PspTerminateThreadByPointer", (0x22, 0x27, 0x27), "relative"),
    ("srv2!SrvProcTerminateWorkerThreadInternal", "nt!PsTerminateSystemThread", (0x99, 0xA3, 0xB7), "import"),
    ("srv2!SrvProcWorkerThread", "srv2!SrvProcTerminateWorkerThreadInternal", (0x1B6,) * 3, "relative"),
    ("srv2!SrvProcWorkerThread", "srv2!SrvProcessPacket", (0x2FB,) * 3, "relative"),
    ("srv2!SrvProcWorkerThread", "nt!KeRemoveQueueEx", (0x84,) * 3, "import"),
    ("srv2!SrvProcessPacket", "srv2!Smb2ExecuteRead", (0xA0, 0xB4, 0xC8), "pointer"),
    ("srv2!Smb2ExecuteRead", "nt!IovCallDriver", (0x9A6, 0x8EB, 0x92D), "import"),
    ("nt!PspSystemThreadStartup", "srv2!SrvProcWorkerThread", (0x5A, 0x55, 0x55), "pointer"),
    ("nt!KxStartSystemThread", "nt!PspSystemThreadStartup", (0x16, 0x28, 0x28), "pointer"),
    ("nt!VfBugCheckNoStackUsage", "nt!KeBugCheckEx", (0x30, 0x30, 0x30), "relative"),
    ("nt!VfAfterCallDriver", "nt!VfBugCheckNoStackUsage", (0x33E, 0x1B9, 0x1BD), "relative"),
    ("nt!IovCallDriver", "fltmgr!FltpDispatch", (0x566, 0x252, 0x23A), "pointer"),
    ("nt!IovCallDriver", "nt!VfAfterCallDriver", (0x57E, 0x27A, 0x262), "relative"),
    ("nt!IopLoadUnloadDriver", "driver", (0x1C, 0x4B, 0x4B), "pointer"),
    ("nt!ExpWorkerThread", "nt!IopLoadUnloadDriver", (0x111, 0x105, 0x155), "pointer"),
    ("nt!ExpWorkerThread", "nt!KeRemoveQueueEx", (0x9B, 0xB7, 0xE1), "relative"),
    ("nt!VerifierKeEnterCriticalRegion", "nt!ExpWorkerThread", (0x92, 0x5A, 0x5A), "relative"),
    ("nt!VerifierKeLeaveCriticalRegion", "nt!ExpWorkerThread", (0xC3, 0x8C, 0x8C), "relative"),
    ("fltmgr!FltpDispatch", "fltmgr!FltpPassThrough", (0xCF, 0xCE, 0xE1), "relative"),
    ("fltmgr!FltpPassThrough", "fltmgr!FltpPassThroughInternal", (0x2C9, 0x24D, 0x2E3), "relative"),
    ("fltmgr!FltpPassThroughInternal", "fltmgr!FltpPerformPreCallbacks", (0x8C, 0x9B, 0xA4), "relative"),
    ("fltmgr!FltpPerformPreCallbacks", "driver", (0x2F7, 0x2FD, 0x353), "pointer"),
    (
        "fltmgr!FltpPassThrough",
        "fltmgr!FltpLegacyProcessingAfterPreCallbacksCompleted",
        (0x2E9, 0x26F, 0x309),
        "relative",
    ),
    (
        "fltmgr!FltpLegacyProcessingAfterPreCallbacksCompleted",
        "nt!IovCallDriver",
        (0x24F, 0x1C5, 0x289),
        "import",
    ),
    ("Ntfs!NtfsFsdRead", "Ntfs!NtfsCommonRead", (0x1B8, 0x205, 0x219), "relative"),
    ("Ntfs!NtfsCommonRead", "Ntfs!NtfsNonCachedIo", (0xD5B, 0xE13, 0xDF7), "relative"),
    ("Ntfs!NtfsNonCachedIo", "nt!IovCallDriver", (0x5F3, 0x62C, 0x63A), "import"),
    ("hal!HalBugCheckSystem", "nt!KeBugCheckEx", (0xB9, 0xC7, 0xC7), "import"),
    ("hal!HalHandleNMI", "hal!HalBugCheckSystem", (0x145, 0x11B, 0x11B), "relative"),
    ("nt!HalBugCheckSystem", "nt!KeBugCheckEx", (0xC7, 0xC7, 0xC7), "relative"),
    ("nt!HalHandleNMI", "nt!HalBugCheckSystem", (0x11B, 0x11B, 0x11B), "relative"),
    ("nt!KiProcessNMI", _HAL_NMI, (0x131, 0xF7, 0x7C), "import"),
    ("nt!KxNmiInterrupt", "nt!KiProcessNMI", (0x82, 0x82, 0x82), "relative"),
    ("nt!KiNmiInterrupt", "nt!KxNmiInterrupt", (0x163, 0x21E, 0x256), "relative"),
    ("nt!KdpSendWaitContinue", "nt!KeBugCheckEx", (0x3A4, 0x6F1, 0x2E0), "relative"),
    ("nt!KdpReportExceptionStateChange", "nt!KdpSendWaitContinue", (0x8B, 0x9D, 0xB4), "relative"),
    ("nt!KdpReport", "nt!KdpReportExceptionStateChange", (0x82, 0xB2, 0x7A), "relative"),
    ("nt!KdpTrap", "nt!KdpReport", (0x98, 0x14D, 0x1A4), "relative"),
    ("nt!KiDispatchException", "nt!KdpTrap", (0x126, 0x164, 0x1BA), "relative"),
    ("nt!KiExceptionDispatch", "nt!KiDispatchException", (0xC2, 0x12C, 0x12C), "relative"),
    ("nt!KiBreakpointTrap", "nt!KiExceptionDispatch", (0xF4, 0x2BD, 0x2FD), "relative"),
    ("nt!KdCheckForDebugBreak", "nt!DbgBreakPointWithStatus", (0x1E, 0x24, 0x3A), "relative"),
    ("nt!KeAccumulateTicks", "nt!KdCheckForDebugBreak", (0x1B2, 0x2C8, 0x3BE), "relative"),
    ("nt!KiInterruptDispatchNoLock", "nt!KeAccumulateTicks", (0x14E, 0x1B3, 0x1D7), "relative"),
    ("nt!KeRemoveQueueEx", "nt!KiCommitThreadWait", (0x323, 0x2E4, 0x3B1), "relative"),
    ("nt!KiCommitThreadWait", "nt!KiSwapContext", (0x1D2, 0x2C5, 0x1F8), "relative"),
    ("nt!KiSwapContext", "nt!SwapContext", (0x7A, 0x76, 0x76), "relative"),
)
_BODY = {"nt!KeBugCheckEx": 0x12C, "nt!DbgBreakPointWithStatus": 2, "nt!KiIdleLoop": 0x140}
"""Sizes of functions that call nothing of ours."""


@dataclass(frozen=True)
class Function:
    """A function at `rva` of its module. A `parent` marks a block split off that function."""

    name: str
    rva: int
    size: int
    shape: Prologue
    calls: tuple[Call, ...] = ()
    parent: str = ""

    def after_call(self, callee: str) -> int:
        """Offset of the instruction after the call of `callee`; negative in a split-off block.

        A call through a pointer may reach any callee.
        """
        exact = [call.offset for call in self.calls if call.callee == callee]
        return (exact or [call.offset for call in self.calls if call.how == "pointer"])[0]


@dataclass(frozen=True)
class Functions:
    """All functions of the system's own modules in one build."""

    by_name: dict[str, Function]

    def of(self, module: str) -> tuple[Function, ...]:
        """Functions of "nt" or another module, by address."""
        found = (f for f in self.by_name.values() if f.name.startswith(f"{module}!"))
        return tuple(sorted(found, key=lambda function: function.rva))


def functions(kernel: Kernel) -> Functions:
    """The functions of `kernel` and of the modules that go with it."""
    column = (7601, 17763, 20348).index(kernel.build)
    calls = [Call(caller, callee, at[column], how) for caller, callee, at, how in _CALLS]
    if "HalHandleNMI" in kernel.rvas:
        calls = [
            replace(call, callee="nt!HalHandleNMI") if call.callee == _HAL_NMI else call for call in calls
        ]
    found: dict[str, Function] = {}
    for name, shape in _SHAPES.items():
        module, symbol = name.split("!")
        if module == "nt":
            if symbol not in kernel.rvas:
                continue
            rva = kernel.rva(symbol)
        else:
            rva = _RVAS[name] + _SHIFT[kernel.build]
        own = tuple(call for call in calls if call.caller == name)
        last = max((call.offset for call in own), default=len(shape.code) + 0x20)
        size = _BODY.get(name, max(last, len(shape.code)) + 8)
        found[name] = Function(name, rva, size, shape, own)
        for call in own:
            if call.offset < 0:
                block = rva + call.offset - 0x40
                found[f"{name} (split)"] = Function(f"{name} (split)", block, 0x41, _LEAF, (call,), name)
    return Functions(found)
