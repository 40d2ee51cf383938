"""UNWIND_INFO: what a function's prologue did, as the compiler wrote it down for x64."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from lab.dumps.memory import Memory
from lab.model import DumpError

RSP = 4
"""Registers are numbered as in unwind codes and instructions."""

XMM = 16
"""XMM registers (128 bits) are numbered from here on: 22 is xmm6."""

MASK = 0xFFFF_FFFF_FFFF_FFFF

_CHAINED = 4  # UNW_FLAG_CHAININFO


class Op(IntEnum):
    """UWOP_* of "x64 exception handling"; forms that differ only in how an operand is stored are one."""

    PUSH_NONVOL = 0
    ALLOC = 2  # small and large
    SET_FPREG = 3
    SAVE_NONVOL = 4  # near and far
    SAVE_XMM128 = 8  # near and far
    PUSH_MACHFRAME = 10


@dataclass(frozen=True)
class Code:
    """One effect of the prologue. `at` is the offset behind the instruction that had it."""

    at: int
    op: Op
    register: int  # number of the register, or 1 for a machine frame with an error code
    value: int = 0  # bytes allocated, or offset of the save area


@dataclass(frozen=True)
class Epilogues:
    """Where version 2 says that the epilogues are: all of `size` bytes, from the first pop to behind the
    one byte that every `ret` or jump has at least. `ends` are distances from the function's end back to
    where an epilogue begins."""

    size: int
    starts: tuple[int, ...]

    def inside(self, left: int) -> int | None:
        """Offset into the epilogue of the place `left` bytes before the end of the function, if in one."""
        return next((start - left for start in self.starts if 0 <= start - left < self.size), None)


@dataclass(frozen=True)
class UnwindInfo:
    """Codes in the order in which they are undone."""

    version: int
    prologue: int  # bytes
    frame_register: int  # 0 when RSP itself is the base
    frame_offset: int
    codes: tuple[Code, ...]
    epilogues: Epilogues
    chained: tuple[int, int, int] | None  # (begin, end, unwind) of the parent

    def framed(self, offset: int) -> bool:
        """Whether the frame register is the base once `offset` bytes of the function are behind."""
        if not self.frame_register:
            return False
        if self.chained is not None or offset >= self.prologue:
            return True
        return any(code.op is Op.SET_FPREG and code.at <= offset for code in self.codes)


def read_unwind_info(memory: Memory, base: int, rva: int) -> UnwindInfo:
    """The UNWIND_INFO at `rva` of the image at `base`. DumpError when it is not in the dump or not known."""
    where = base + rva
    head, prologue, count, frame = memory.read(where, 4)
    version, flags = head & 7, head >> 3
    if version == 3:
        raise DumpError(f"unwind data at {where:#x} are of version 3, which is not read")
    if version not in (1, 2):
        raise DumpError(f"unwind data at {where:#x} have the unknown version {version}")
    chained = bool(flags & _CHAINED)
    raw = memory.read(where + 4, 2 * (count + (count & 1)) + (12 if chained else 0))
    parent: tuple[int, int, int] | None = None
    if chained:
        begin, end, unwind = struct.unpack("<III", raw[-12:])
        parent = (begin, end, unwind & ~1)
    slots = [(raw[i], raw[i + 1] & 15, raw[i + 1] >> 4) for i in range(0, 2 * count, 2)]
    epilogues, behind = _epilogues(slots) if version == 2 else (Epilogues(0, ()), 0)
    codes = tuple(_codes(slots, raw, behind, where))
    return UnwindInfo(version, prologue, frame & 15, (frame >> 4) * 16, codes, epilogues, parent)


def _epilogues(slots: list[tuple[int, int, int]]) -> tuple[Epilogues, int]:
    """(what the UWOP_EPILOG codes say, how many slots they take). They come first and in pairs.

    The first has the size, and whether an epilogue is at the very end; each other one a distance from the
    end, 0 for the one that fills up the last pair.
    """
    if not slots or slots[0][1] != 6:
        return Epilogues(0, ()), 0
    size, _, at_end = slots[0]
    starts = [size] if at_end & 1 else []
    count = 1
    for low, op, high in slots[1:]:
        if op != 6:
            break
        count += 1
        if distance := low | high << 8:
            starts.append(distance)
    return Epilogues(size, tuple(starts)), count + (count & 1)


def _codes(slots: list[tuple[int, int, int]], raw: bytes, index: int, where: int) -> list[Code]:
    """The codes from slot `index` on; `raw` are the same slots as they are stored."""

    def operand(index: int, slots_wide: int) -> int:
        if index + slots_wide >= len(slots):
            raise DumpError(f"the unwind codes at {where:#x} end within a code")
        return int.from_bytes(raw[2 * index + 2 : 2 * index + 2 + 2 * slots_wide], "little")

    found: list[Code] = []
    while index < len(slots):
        at, op, info = slots[index]
        width = 1
        if op == 0:
            found.append(Code(at, Op.PUSH_NONVOL, info))
        elif op == 1:
            width = 3 if info else 2
            size = operand(index, 2) if info else operand(index, 1) * 8
            found.append(Code(at, Op.ALLOC, 0, size))
        elif op == 2:
            found.append(Code(at, Op.ALLOC, 0, info * 8 + 8))
        elif op == 3:
            found.append(Code(at, Op.SET_FPREG, info))
        elif op in (4, 5):
            width = op - 2
            value = operand(index, 1) * 8 if op == 4 else operand(index, 2)
            found.append(Code(at, Op.SAVE_NONVOL, info, value))
        elif op in (6, 7):
            width = op - 4  # forms of saving XMM registers from before the first release; nothing to undo
        elif op in (8, 9):
            width = op - 6
            value = operand(index, 1) * 16 if op == 8 else operand(index, 2)
            found.append(Code(at, Op.SAVE_XMM128, info, value))
        elif op == 10:
            found.append(Code(at, Op.PUSH_MACHFRAME, info & 1))
        else:
            raise DumpError(f"the unwind codes at {where:#x} hold the unknown operation {op}")
        index += width
    return found
