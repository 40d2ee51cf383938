"""One frame undone: from the registers in a function to those of its caller (x64).

What RtlVirtualUnwind does, for registers that may be unknown and memory that may be missing. The rules are
those of "x64 exception handling": an epilogue is followed to its end, any other place is led back through
the codes of the prologue, as far as it has run, and through those of the functions that it is a part of.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Protocol

from lab.dumps.context import INTEGER_REGISTERS
from lab.dumps.memory import Memory, u64
from lab.kernel.call_site import is_call
from lab.kernel.epilogue import simulate
from lab.kernel.image import Function
from lab.kernel.unwind_info import MASK, RSP, XMM, Op, UnwindInfo, read_unwind_info
from lab.model import DumpError

_MAX_CHAIN = 32
_VOLATILE = frozenset((0, 1, 2, 8, 9, 10, 11, *range(XMM, XMM + 6)))


@dataclass(frozen=True)
class State:
    """Registers in one frame; a register that is not known is absent, RSP is always there.

    Volatile registers are known only in the frame that a walk begins with.

    `exact` says that `rip` is where execution was interrupted, not a return address.
    """

    rip: int
    registers: dict[int, int]
    how: str
    exact: bool
    note: str = ""

    @property
    def rsp(self) -> int:
        return self.registers[RSP]


class NoImage(DumpError):
    """An address is in no image: there is no code, or nothing is known of it."""


class Images(Protocol):
    """What must be known of code and memory to undo a frame."""

    @property
    def memory(self) -> Memory: ...

    def image_base(self, address: int) -> int:
        """Of the image that holds `address`. NoImage when there is none, DumpError when it lacks headers."""
        ...

    def function(self, address: int) -> Function | None:
        """The .pdata entry for `address`, indirection resolved; None for a leaf. DumpError when unknown."""
        ...


def unwind(images: Images, state: State) -> State:
    """The state of the caller. DumpError when the dump lacks what is needed to tell."""
    control = state.rip if state.exact else state.rip - 1
    registers = dict(state.registers)
    try:
        base = images.image_base(control)
    except NoImage:
        if state.exact and _likely(images, u64(images.memory, registers[RSP]), control) >= 2:
            return _return(images.memory, registers)  # a call to an address where no code is: nothing has run
        raise
    function = images.function(control)
    if function is None:
        if not state.exact:
            raise DumpError(f"the code at {control:#x} calls others and has no unwind data")
        return _return(images.memory, registers)  # a leaf: only the return address is on the stack
    info = read_unwind_info(images.memory, base, function.unwind)
    rva = control - base
    if state.exact:
        found = _epilogue(images, base, function, info, rva, registers)
        if found is not None:
            return found
    return _undo(images.memory, base, function, info, rva, registers)


def _return(memory: Memory, registers: dict[int, int]) -> State:
    back = u64(memory, registers[RSP])
    registers[RSP] = registers[RSP] + 8 & MASK
    return State(back, _kept(registers), "unwound", False)


def _interrupted(memory: Memory, registers: dict[int, int]) -> State:
    """Take a machine frame {rip, cs, eflags, rsp, ss} from the stack."""
    rip, registers[RSP] = struct.unpack("<Q16xQ", memory.read(registers[RSP], 32))
    return State(rip, _kept(registers), "unwound", True, "interrupted here")


def _kept(registers: dict[int, int]) -> dict[int, int]:
    """What a callee must keep, or an interrupt did. What else the caller had is not known."""
    return {number: value for number, value in registers.items() if number not in _VOLATILE}


# --- epilogues ------------------------------------------------------------------------------------


def _epilogue(
    images: Images, base: int, function: Function, info: UnwindInfo, rva: int, registers: dict[int, int]
) -> State | None:
    """The caller's state if `rva` is in an epilogue. Version 2 says where those are; else the code does."""
    if info.version == 2:
        inside = info.epilogues.inside(function.end - rva)
        return None if inside is None else _popped(images.memory, base, info, inside, registers)

    def leaves(target: int) -> bool:
        """A jump to the function's own beginning also leaves it: a call of itself in tail position."""
        try:
            there = images.function(target)
            same = there is not None and there.root == function.root and images.image_base(target) == base
        except DumpError:
            return True
        return not same or target - base == function.root

    found = simulate(images.memory, base + rva, registers, leaves)
    if found is None:
        return None
    if found.jump and _frame_stands(images, base, function, info, rva, registers):
        return None
    return (_interrupted if found.interrupt else _return)(images.memory, found.registers)


def _frame_stands(
    images: Images, base: int, function: Function, info: UnwindInfo, rva: int, registers: dict[int, int]
) -> bool:
    """Whether a jump out of the function, with nothing in front of it, leaves its frame where it is.

    By the rules it is a call in tail position, and the frame is gone. But the kernel's assembler code also
    jumps between functions that share a frame. The better return address tells.
    """
    root = base + function.root
    try:
        undone = _undo(images.memory, base, function, info, rva, dict(registers))
    except DumpError:
        return False
    if undone.exact:
        return True  # below an interrupt's frame is no return address that a call in tail position could use
    return _likely(images, undone.rip, root) > _likely(images, u64(images.memory, registers[RSP]), root)


def _likely(images: Images, back: int, callee: int) -> int:
    """How likely `back` is a return: 0 not, 1 its code is not there, 2 behind a call, 3 of `callee`."""
    try:
        images.image_base(back)
    except DumpError:
        return 0
    try:
        before = images.memory.read(back - 7, 7)
    except DumpError:
        return 1
    if before[2] == 0xE8 and back + int.from_bytes(before[3:], "little", signed=True) & MASK == callee:
        return 3
    return 2 if is_call(before) else 0


def _popped(memory: Memory, base: int, info: UnwindInfo, inside: int, registers: dict[int, int]) -> State:
    """From `inside` bytes within an epilogue of version 2: it pops what the prologue pushed, in its order.

    All pushes of a function are in one UNWIND_INFO of its chain. What is allocated in front of them
    (8 bytes: the flags) has a pop of one byte of its own.
    """
    for _ in range(_MAX_CHAIN):
        first = next((c for c in info.codes if c.op in (Op.PUSH_NONVOL, Op.PUSH_MACHFRAME)), None)
        if first is not None or info.chained is None:
            break
        info = read_unwind_info(memory, base, info.chained[2])
    codes = info.codes[info.codes.index(first) :] if first is not None else ()
    at = 0
    for code in codes:
        if code.op is Op.PUSH_MACHFRAME:
            return _interrupted(memory, registers)  # an error code is gone before the epilogue begins
        if code.op is not Op.PUSH_NONVOL and (code.op, code.value) != (Op.ALLOC, 8):
            continue
        if at >= inside:
            if code.op is Op.PUSH_NONVOL:
                _load(memory, registers, code.register, registers[RSP], 8)
            registers[RSP] = registers[RSP] + 8 & MASK
        at += 2 if code.op is Op.PUSH_NONVOL and code.register >= 8 else 1
    return _return(memory, registers)


# --- prologues ------------------------------------------------------------------------------------


def _undo(
    memory: Memory, base: int, function: Function, info: UnwindInfo, rva: int, registers: dict[int, int]
) -> State:
    """Undo the prologue of `function` and of the functions it is a part of."""
    begin = function.begin
    for _ in range(_MAX_CHAIN):
        # Modulo 2^32, as Windows counts: code in front of its parent is behind all of the parent's prologue.
        interrupted = _undo_one(memory, info, rva - begin & 0xFFFF_FFFF, registers)
        if interrupted is not None:
            return interrupted
        if info.chained is None:
            return _return(memory, registers)
        begin = info.chained[0]
        info = read_unwind_info(memory, base, info.chained[2])
    raise DumpError(f"the unwind data at {base + function.unwind:#x} chain without end")


def _undo_one(memory: Memory, info: UnwindInfo, behind: int, registers: dict[int, int]) -> State | None:
    """Undo one UNWIND_INFO in place; the interrupted state when it ends in a machine frame."""
    base = registers[RSP]
    if info.framed(behind):
        base = _known(registers, info.frame_register) - info.frame_offset & MASK
    for code in info.codes:
        if code.at > behind:
            continue
        if code.op is Op.PUSH_NONVOL:
            _load(memory, registers, code.register, registers[RSP], 8)
            registers[RSP] = registers[RSP] + 8 & MASK
        elif code.op is Op.ALLOC:
            registers[RSP] = registers[RSP] + code.value & MASK
        elif code.op is Op.SET_FPREG:
            registers[RSP] = _known(registers, info.frame_register) - info.frame_offset & MASK
        elif code.op is Op.SAVE_NONVOL:
            _load(memory, registers, code.register, base + code.value & MASK, 8)
        elif code.op is Op.SAVE_XMM128:
            _load(memory, registers, XMM + code.register, base + code.value & MASK, 16)
        elif code.op is Op.PUSH_MACHFRAME:
            registers[RSP] = registers[RSP] + 8 * code.register & MASK  # the error code
            return _interrupted(memory, registers)
    return None


def _load(memory: Memory, registers: dict[int, int], number: int, at: int, size: int) -> None:
    """What was saved at `at`. If that is not in the dump, the register is no longer known."""
    if number == RSP:
        raise DumpError(f"the unwind data say that the stack pointer was saved at {at:#x}")
    try:
        registers[number] = int.from_bytes(memory.read(at, size), "little")
    except DumpError:
        registers.pop(number, None)


def _known(registers: dict[int, int], number: int) -> int:
    if number not in registers:
        raise DumpError(f"{INTEGER_REGISTERS[number]} is not known in this frame")
    return registers[number]
