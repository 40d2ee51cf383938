"""Laying the stack of a crash: variables go where each function's code keeps them at the call it makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lab.twin.crash import CrashState, Stop
from lab.twin.memory.layout import Layout
from lab.twin.memory.physical import Memory
from lab.twin.memory.stack import Frame, Registers, lay
from lab.twin.memory.stops import DISPATCH_LEVEL, IN_IDLE_THREAD, names

_PREVIOUS_IRQL, _RAX, _RCX, _FAULT_ADDRESS = 0x29, 0x30, 0x38, 0xD0  # of KTRAP_FRAME
_IN_ASSEMBLER = {"PspExitThread (split)": {"thread": "rbx"}}
"""Where variables are in code that has no description of them."""

_IRQL_NOT_LESS_OR_EQUAL = 0xA

_CALL, _CALL_WITH_BUFFER = "nt!IovCallDriver", "nt!IovpCallDriverWithStackBuffer"


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
    start = {"rbx": thread, "rsi": at.pool + 0x9E0}

    def laid(records: Sequence[int]) -> tuple[Registers, tuple[int, ...]]:
        values = _values(at, functions, thread, verified, records)
        # A debugger break runs on the thread's own stack; an NMI has a stack of its own.
        switch = at.processors + 0x80000000 - 0x40 if state.stop is Stop.NMI else 0
        entered = frames(at, functions, at.address("nt!KeBugCheckEx"), values, switch)
        return lay(memory, top, tuple(_trapped(f, state, at) for f in entered), start, entered=True)

    registers, pointers = laid([call.data for call in verified])
    if state.state_on_stack and verified:
        buffer = _buffer(at)
        places = zip(functions, pointers, strict=True)
        records = [pointer + buffer for name, pointer in places if name == _CALL_WITH_BUFFER]
        registers, _ = laid(records)
        for address, call in zip(records, verified, strict=True):
            memory.write(address, call.record)
    # A page fault is always reported as 0xA; KeBugCheckEx makes it 0xD1 when the code is a driver's.
    given = _IRQL_NOT_LESS_OR_EQUAL if state.stop is Stop.PAGED_AT_DISPATCH else code
    for index, value in enumerate((given, *parameters)):
        memory.u64(registers.rsp + 8 + 8 * index, value)
    volatile = {"rcx": given, "rdx": parameters[0], "r8": parameters[1], "r9": parameters[2]}
    volatile["r10"] = at.address(_CALL) + 0x40
    return Registers(registers.rip, registers.rsp, registers.nonvolatile, volatile)


def _values(
    at: Layout,
    functions: tuple[str, ...],
    thread: int,
    verified: tuple[Verified, ...],
    records: Sequence[int],
) -> dict[int, Values]:
    """What the variables of each function have; `records` are the addresses of the watched calls' records."""
    item = at.address("srv2!SrvProcWorkerThread") & ~0xFFFF | 0x2D00
    everywhere = {"thread": thread, "tcb": thread, "Queue": at.pool + 0x9E0, "Context": at.pool + 0x9E0}
    everywhere |= {"paged": at.paged, "extension": at.pool + 0x1A0, "WorkItem": item}
    now: dict[str, int] = {}
    calls = iter(zip(verified, records, strict=True))
    values: dict[int, Values] = {}
    for index, name in enumerate(functions):
        if name == _CALL:
            call, data = next(calls)
            caller = at.after_call(functions[index - 1], name)
            now = {"device": call.device, "irp": call.irp, "data": data, "caller": caller}
        values[index] = everywhere | now
    return values


def _trapped(frame: Frame, state: CrashState, at: Layout) -> Frame:
    """A trap keeps the volatile registers, the IRQL, and the address that could not be reached."""
    if not frame.function.interrupt:
        return frame
    high = state.stop in IN_IDLE_THREAD
    kept = {_PREVIOUS_IRQL & ~7: (DISPATCH_LEVEL if high else 0) << 8 * (_PREVIOUS_IRQL & 7), _RAX: 0}
    if frame.function.name == "KiPageFault":
        kept |= {_RCX: at.paged, _FAULT_ADDRESS: at.paged}
    return replace(frame, stores={**frame.stores, **kept})


def _buffer(at: Layout) -> int:
    """Offset of the record in the frame of the function that has it on the stack."""
    own = at.function(_CALL_WITH_BUFFER)
    offset = next(iter(own.held.values()))["buffer"]
    assert isinstance(offset, int)
    return offset
