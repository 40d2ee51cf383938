"""Function prologues: the machine code, its unwind information, and what it does to a stack.

Encodings: x64 exception handling, UNWIND_INFO, in Microsoft's x64 software conventions.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

REGISTERS = (
    *("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"),
    *("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"),
)
NONVOLATILE = ("rbx", "rbp", "rsi", "rdi", "r12", "r13", "r14", "r15")
CHAINED = 4


@dataclass(frozen=True)
class Op:
    """One step: home (store `register` at [rsp+value]), push, pushfq, alloc, frame (lea register,
    [rsp+value]) or machine (the processor pushed an interrupt frame; no code)."""

    kind: str
    register: str = ""
    value: int = 0

    @property
    def taken(self) -> int:
        """Bytes of stack it takes (an interrupt frame is taken by the processor)."""
        return {"push": 8, "pushfq": 8, "alloc": self.value}.get(self.kind, 0)

    @property
    def code(self) -> bytes:
        number = REGISTERS.index(self.register) if self.register else 0
        high, low = number >> 3, number & 7
        if self.kind == "home":
            return bytes((0x48 | high << 2, 0x89, 0x44 | low << 3, 0x24, self.value))
        if self.kind == "push":
            return bytes((0x41, 0x50 | low) if high else (0x50 | low,))
        if self.kind == "pushfq":
            return b"\x9c"
        if self.kind == "alloc" and self.value < 0x80:
            return bytes((0x48, 0x83, 0xEC, self.value))
        if self.kind == "alloc":
            return b"\x48\x81\xec" + struct.pack("<I", self.value)
        if self.kind == "frame":
            return bytes((0x48 | high << 2, 0x8D, 0x84 | low << 3, 0x24)) + struct.pack("<I", self.value)
        return b""


@dataclass(frozen=True)
class Prologue:
    """Steps in order; `moves` is code that follows and is no part of the prologue. No steps: a leaf."""

    ops: tuple[Op, ...] = ()
    moves: bytes = b""

    @property
    def size(self) -> int:
        return sum(op.taken for op in self.ops)

    @property
    def interrupt(self) -> bool:
        return any(op.kind == "machine" for op in self.ops)

    @property
    def code(self) -> bytes:
        return b"".join(op.code for op in self.ops) + self.moves

    def unwind_info(self) -> bytes:
        """UNWIND_INFO, version 1, without handler."""
        at = frame = 0
        saves: list[bytes] = []
        codes: list[bytes] = []
        end = sum(len(op.code) for op in self.ops)
        for op in self.ops:
            at += len(op.code)
            number = REGISTERS.index(op.register) if op.register else 0
            if op.kind == "home" and op.register in NONVOLATILE:
                slot = (self.size + op.value) // 8
                saves.append(bytes((end, 4 | number << 4)) + struct.pack("<H", slot))
            elif op.kind == "push":
                codes.append(bytes((at, 0 | number << 4)))
            elif op.kind in ("pushfq", "alloc"):
                codes.append(bytes((at,)) + _allocation(op.taken))
            elif op.kind == "frame":
                frame = number | op.value // 16 << 4
                codes.append(bytes((at, 3)))
            elif op.kind == "machine":
                codes.append(bytes((at, 10)))
        # Latest first, as an unwinder undoes them. Home stores count from the final rsp, so the compiler
        # notes them at the end of the prologue, though they run first.
        ordered = b"".join(reversed(saves)) + b"".join(reversed(codes))
        slots = len(ordered) // 2
        return bytes((1, end, slots, frame)) + ordered + bytes(2 * (slots % 2))


def _allocation(size: int) -> bytes:
    if size <= 128:
        return bytes((2 | (size - 8) // 8 << 4,))
    return bytes((1,)) + struct.pack("<H", size // 8)


def chained(parent: tuple[int, int, int]) -> bytes:
    """UNWIND_INFO of a block split off a function: no codes, the parent's RUNTIME_FUNCTION."""
    return bytes((1 | CHAINED << 3, 0, 0, 0)) + struct.pack("<III", *parent)


def prologue(homes: str = "", pushes: str = "", alloc: int = 0, *, moves: str = "") -> Prologue:
    """`homes` like "rbx2 rsi4" (register and home slot), `pushes` like "rdi r12", `moves` hexadecimal."""
    ops = [Op("home", text[:-1], int(text[-1]) * 8) for text in homes.split()]
    ops += [Op("push", register) for register in pushes.split()]
    if alloc:
        ops.append(Op("alloc", value=alloc))
    return Prologue(tuple(ops), bytes.fromhex(moves))


def interrupt_prologue() -> Prologue:
    """An interrupt or trap entry: it completes the processor's frame to a KTRAP_FRAME (0x190 bytes)."""
    return Prologue(
        (
            Op("machine"),
            Op("alloc", value=8),
            Op("push", "rbp"),
            Op("alloc", value=0x158),
            Op("frame", "rbp", 0x80),
        )
    )
