"""The exception or trap that a bugcheck tells of."""

from __future__ import annotations

from lab.analysis.facts import ExceptionFacts, TrapFacts
from lab.dumps.memory import KERNEL_SPACE, u32, u64
from lab.kernel.target import Kernel
from lab.model import Bugcheck, DumpError

EXCEPTION_RECORD = {0x7E: 3, 0x1000007E: 3, 0x139: 3}
"""Which parameter (1..4) is the address of an EXCEPTION_RECORD."""

STATUS_IN_PARAMETER_1 = frozenset({0x7E, 0x1000007E, 0x1E, 0x3B, 0x8E, 0x1000008E})

TRAP_FRAME = {0x139: 2, 0x8E: 3, 0x1000008E: 3}
"""Which parameter is the address of a KTRAP_FRAME."""

_RIP = 0x168  # KTRAP_FRAME.Rip, the same in every x64 build


def read_exception(kernel: Kernel, bugcheck: Bugcheck) -> ExceptionFacts | None:
    """The exception of the stop: its record when the dump holds it, else what the parameters say."""
    number = EXCEPTION_RECORD.get(bugcheck.code)
    if number is not None:
        record = bugcheck.parameters[number - 1]
        try:
            code, address = u32(kernel.memory, record), u64(kernel.memory, record + 0x10)
        except DumpError:
            pass
        else:
            if code:
                where = f"EXCEPTION_RECORD {record:#x}, bugcheck parameter {number}"
                return ExceptionFacts(code, address, where)
    if bugcheck.code in STATUS_IN_PARAMETER_1:
        status, address = bugcheck.parameters[:2]
        return ExceptionFacts(status & 0xFFFFFFFF, address, "bugcheck parameters 1 and 2")
    return None


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
