"""Lay a call stack into memory by running the prologues, and keep the registers as they then are."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from lab.twin.images import Function
from lab.twin.memory.physical import Memory
from lab.twin.memory.records import Record

NONVOLATILE = ("rbx", "rbp", "rsi", "rdi", "r12", "r13", "r14", "r15")


@dataclass(frozen=True)
class Frame:
    """One function's part of a stack; `function` is the one whose prologue made it.

    `address` is where it resumes: the return address its callee got, or, for the innermost frame, the
    instruction to run next. `sets` are the nonvolatile registers its body changed; `stores` are qwords it
    keeps, by offset from its rsp.
    """

    function: Function
    address: int
    sets: Mapping[str, int] = field(default_factory=dict)
    stores: Mapping[int, int] = field(default_factory=dict)
    switch: int = 0  # the stack that an interrupt of this frame runs on; 0 is the same one


@dataclass(frozen=True)
class Registers:
    """The processor in the innermost frame."""

    rip: int
    rsp: int
    nonvolatile: Mapping[str, int]
    volatile: Mapping[str, int] = field(default_factory=dict)


def lay(
    memory: Memory, top: int, frames: tuple[Frame, ...], registers: Mapping[str, int], *, entered: bool
) -> tuple[Registers, tuple[int, ...]]:
    """Write `frames`, outermost first, downwards from `top`; registers at the start are `registers`.

    With `entered`, the innermost function has just been called and its prologue did not run. Returns the
    registers, and each frame's rsp, outermost first.
    """
    now = {name: registers.get(name, 0) for name in NONVOLATILE}
    rsp = top - 8
    memory.u64(rsp, 0)
    pointers = []
    for index, frame in enumerate(frames):
        last = index == len(frames) - 1
        if not (last and entered):
            for op in frame.function.ops:
                rsp -= op.taken
                if op.kind == "push":
                    memory.u64(rsp, now[op.register])
                elif op.kind == "save":
                    memory.u64(rsp + op.value, now[op.register])
                elif op.kind == "frame":
                    now[op.register] = rsp + op.value
        now.update(frame.sets)
        pointers.append(rsp)
        for offset, value in frame.stores.items():
            memory.u64(rsp + offset, value)
        if last:
            break
        below = frames[index + 1].function
        if below.interrupt:
            interrupted = rsp
            rsp = (frame.switch or rsp) & ~15
            error_code = [0] if below.ops[0].value else []
            for value in (0x18, interrupted, 0x282, 0x10, frame.address, *error_code):
                rsp -= 8
                memory.u64(rsp, value)
        else:
            rsp -= 8
            memory.u64(rsp, frame.address)
    return Registers(frames[-1].address, rsp, now), tuple(pointers)


def context(registers: Registers) -> bytes:
    """CONTEXT of x64 (0x4D0 bytes): control, integer, segments, and the floating-point state's MxCsr."""
    record = Record(0x4D0)
    record.u32(0x30, 0x10001F)
    record.u32(0x34, 0x1F80)
    for offset, value in ((0x38, 0x10), (0x3A, 0x2B), (0x3C, 0x2B), (0x3E, 0x53), (0x40, 0x2B), (0x42, 0x18)):
        record.u16(offset, value)
    record.u32(0x44, 0x282)
    names = (
        *("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"),
        *("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"),
    )
    values = {**registers.volatile, **registers.nonvolatile, "rsp": registers.rsp}
    for index, name in enumerate(names):
        record.u64(0x78 + 8 * index, values.get(name, 0))
    record.u64(0xF8, registers.rip)
    record.bytes(0x100, struct.pack("<H", 0x27F))
    record.u32(0x118, 0x1F80)
    record.u32(0x11C, 0xFFFF)
    return bytes(record.data)
