"""The exception or trap that a bugcheck tells of."""

from __future__ import annotations

import struct
from dataclasses import replace

from lab.analysis.facts import ExceptionFacts, TrapFacts
from lab.dumps.context import CONTEXT_SIZE, Context, parse_context
from lab.dumps.memory import KERNEL_SPACE, u64
from lab.kernel.target import Kernel
from lab.model import Bugcheck, DumpError, ExceptionRecord

EXCEPTION_RECORD = {0x7E: 3, 0x1000007E: 3, 0x139: 3}
"""Which parameter (1..4) is the address of an EXCEPTION_RECORD."""

STATUS_IN_PARAMETER_1 = frozenset({0x7E, 0x1000007E, 0x1E, 0x3B, 0x8E, 0x1000008E})

TRAP_FRAME = {0x139: 2, 0x8E: 3, 0x1000008E: 3}
"""Which parameter is the address of a KTRAP_FRAME."""

CONTEXT_RECORD = {0x7E: 4, 0x1000007E: 4, 0x3B: 3}
"""Which parameter is the address of the CONTEXT of the code that raised the exception."""

NAMES = {
    0x80000002: "STATUS_DATATYPE_MISALIGNMENT",
    0x80000003: "STATUS_BREAKPOINT",
    0x80000004: "STATUS_SINGLE_STEP",
    0xC0000005: "STATUS_ACCESS_VIOLATION",
    0xC0000006: "STATUS_IN_PAGE_ERROR",
    0xC0000008: "STATUS_INVALID_HANDLE",
    0xC000001D: "STATUS_ILLEGAL_INSTRUCTION",
    0xC0000025: "STATUS_NONCONTINUABLE_EXCEPTION",
    0xC000008C: "STATUS_ARRAY_BOUNDS_EXCEEDED",
    0xC0000094: "STATUS_INTEGER_DIVIDE_BY_ZERO",
    0xC0000095: "STATUS_INTEGER_OVERFLOW",
    0xC0000096: "STATUS_PRIVILEGED_INSTRUCTION",
    0xC000009A: "STATUS_INSUFFICIENT_RESOURCES",
    0xC00000FD: "STATUS_STACK_OVERFLOW",
    0xC0000374: "STATUS_HEAP_CORRUPTION",
    0xC0000409: "STATUS_STACK_BUFFER_OVERRUN",
    0xC0000420: "STATUS_ASSERTION_FAILURE",
}
"""Exceptions that kernel code raises, as MS-ERREF 2.3.1 names them."""

_RECORD = struct.Struct("<IIQQI4x15Q")
"""EXCEPTION_RECORD of x64: code, flags, chained record, address, number of parameters, parameters."""

_RIP = 0x168  # KTRAP_FRAME.Rip, the same in every x64 build


def in_short(record: ExceptionRecord | None) -> ExceptionFacts | None:
    """What the rules need of an exception."""
    return ExceptionFacts(record.code, record.address, record.where) if record is not None else None


def read_record(kernel: Kernel, bugcheck: Bugcheck) -> ExceptionRecord | None:
    """The exception of the stop: its record when the dump holds it, else what the parameters say.

    With the registers of the code that raised it where they are known.
    None for a stop that is about no exception.
    """
    found = _from_memory(kernel, bugcheck) or _from_parameters(kernel, bugcheck)
    if found is None:
        return None
    context, where = _context(kernel, bugcheck, found.address)
    if context is None:
        return found
    return replace(found, registers=(*context.named, ("eflags", context.eflags)), registers_where=where)


def _from_memory(kernel: Kernel, bugcheck: Bugcheck) -> ExceptionRecord | None:
    number = EXCEPTION_RECORD.get(bugcheck.code)
    if number is None:
        return None
    record = bugcheck.parameters[number - 1]
    try:
        code, flags, _, address, count, *parameters = _RECORD.unpack(kernel.memory.read(record, _RECORD.size))
    except DumpError:
        return None
    if not code:
        return None
    return ExceptionRecord(
        code,
        NAMES.get(code, ""),
        address,
        kernel.symbol(address),
        f"EXCEPTION_RECORD {record:#x}, bugcheck parameter {number}",
        flags,
        tuple(parameters[:count]),  # a record has room for 15
    )


def _from_parameters(kernel: Kernel, bugcheck: Bugcheck) -> ExceptionRecord | None:
    if bugcheck.code not in STATUS_IN_PARAMETER_1:
        return None
    status, address, *others = bugcheck.parameters
    code = status & 0xFFFFFFFF
    own = bugcheck.code == 0x1E  # whose parameters 3 and 4 are the exception's own
    return ExceptionRecord(
        code,
        NAMES.get(code, ""),
        address,
        kernel.symbol(address),
        "bugcheck parameters 1 and 2",
        parameters=tuple(others) if own else (),
    )


def _context(kernel: Kernel, bugcheck: Bugcheck, address: int) -> tuple[Context | None, str]:
    """(registers of the code that raised the exception at `address`, where they were read)."""
    number = CONTEXT_RECORD.get(bugcheck.code)
    if number is not None:
        at = bugcheck.parameters[number - 1]
        try:
            context = parse_context(kernel.memory.read(at, CONTEXT_SIZE))
        except DumpError:
            pass
        else:
            if context.plausible and context.rip >= KERNEL_SPACE:
                return context, f"CONTEXT {at:#x}, bugcheck parameter {number}"
    try:
        saved = kernel.context
    except DumpError:
        return None, ""
    # Small dumps save the fault's own registers; any other dump those of nt!KeBugCheckEx.
    return (saved, "the dump's header") if saved.rip == address else (None, "")


def read_trap(kernel: Kernel, bugcheck: Bugcheck) -> TrapFacts | None:
    """Where the code was when it was interrupted, if the bugcheck gives a trap frame that is in the dump."""
    number = TRAP_FRAME.get(bugcheck.code)
    if number is None:
        return None
    frame = bugcheck.parameters[number - 1]
    try:
        instruction = u64(kernel.memory, frame + _RIP)
    except DumpError:
        return None
    if instruction < KERNEL_SPACE:
        return None
    where = f"KTRAP_FRAME {frame:#x}, bugcheck parameter {number}"
    return TrapFacts(instruction, kernel.symbol(instruction), where)
