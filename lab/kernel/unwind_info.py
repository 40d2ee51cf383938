"""UNWIND_INFO: what a function's prologue did, as the compiler wrote it down for x64."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from lab.dumps.memory import Memory
from lab.kernel.image import Image
from lab.model import DumpError


class Op(IntEnum):
    """UWOP_* of "x64 exception handling"."""

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
class UnwindInfo:
    """Codes in the order in which they are undone."""

    prologue: int
    frame_register: int  # 0 when RSP itself is the base
    frame_offset: int
    codes: tuple[Code, ...]
    chained: tuple[int, int, int] | None  # (begin, end, unwind) of the parent

    def established(self, offset: int) -> bool:
        """Whether the frame register is set once `offset` bytes of the function are behind."""
        return self.frame_register != 0 and any(c.op is Op.SET_FPREG and c.at <= offset for c in self.codes)


def read_unwind_info(memory: Memory, image: Image, rva: int) -> UnwindInfo:
    """The UNWIND_INFO at `rva`. DumpError when it is not in the dump or is not one we know."""
    head, prologue, count, frame = memory.read(image.base + rva, 4)
    version, flags = head & 7, head >> 3
    if version not in (1, 2):
        raise DumpError(f"unwind data at {image.base + rva:#x} have the unknown version {version}")
    raw = memory.read(image.base + rva + 4, 2 * (count + (count & 1)) + (12 if flags & 4 else 0))
    parent: tuple[int, int, int] | None = None
    if flags & 4:
        begin, end, unwind = struct.unpack("<III", raw[-12:])
        parent = (begin, end, unwind & ~1)
    codes = tuple(_codes(raw[: 2 * count], version, image.base + rva))
    return UnwindInfo(prologue, frame & 15, (frame >> 4) * 16, codes, parent)


def _codes(raw: bytes, version: int, where: int) -> list[Code]:
    slots = [(raw[i], raw[i + 1] & 15, raw[i + 1] >> 4) for i in range(0, len(raw), 2)]

    def operand(index: int, slots_wide: int) -> int:
        data = raw[2 * index + 2 : 2 * index + 2 + 2 * slots_wide]
        if len(data) < 2 * slots_wide:
            raise DumpError(f"the unwind codes at {where:#x} end within a code")
        return int.from_bytes(data, "little")

    found: list[Code] = []
    index = 0
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
        elif op == 6 and version == 2:
            # Describes an epilogue, which we read from the code itself. A pad slot of zeros may follow.
            if slots[index + 1 : index + 2] == [(0, 0, 0)]:
                width = 2
        elif op in (6, 7):
            width = op - 4  # forms of saving XMM registers that no compiler writes any more
        elif op in (8, 9):
            width = op - 6
            value = operand(index, 1) * 16 if op == 8 else operand(index, 2)
            found.append(Code(at, Op.SAVE_XMM128, info, value))
        elif op == 10:
            found.append(Code(at, Op.PUSH_MACHFRAME, info))
        else:
            raise DumpError(f"the unwind codes at {where:#x} hold the unknown operation {op}")
        index += width
    return found
