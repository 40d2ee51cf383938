"""Whether a processor stopped within an epilogue, where the codes of the prologue no longer hold."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from lab.dumps.memory import Memory, u64
from lab.kernel.unwind_info import MASK, RSP
from lab.model import DumpError

_LONGEST = 64  # a release, sixteen pops, a jump
_PAGE = 0x1000


@dataclass(frozen=True)
class Exit:
    """Registers at the instruction that leaves the function, and what that is."""

    registers: dict[int, int]
    interrupt: bool = False  # iretq: takes a machine frame from the stack, not a return address
    jump: bool = False  # to a place that is not known to be in the same function, nothing in front of it


def simulate(
    memory: Memory, rip: int, registers: dict[int, int], leaves: Callable[[int], bool]
) -> Exit | None:
    """Where the code at `rip` leaves its function, if that is an epilogue; else None.

    The legal form is `add rsp, n` or `lea rsp, [reg+n]`, then pops, then `ret` or a jump out of the
    function ("x64 prolog and epilog"). Read as well, because compilers and the kernel's assembler code
    write them: `mov rsp, reg`, `popfq`, `vzeroupper`, `swapgs`, `iretq`, in any order: code that does
    nothing else and then leaves is an epilogue. `leaves` tells of the target of a relative jump whether it
    is in another function. `registers` are not changed.
    """
    code = _read(memory, rip)
    found = dict(registers)
    at = 0
    try:
        while length := _release(code[at : at + 7], found) or _pop(memory, code[at : at + 3], found):
            at += length
    except DumpError:
        return None
    return _exit(code, at, rip, found, leaves)


def _read(memory: Memory, rip: int) -> bytes:
    """The code at `rip`, as far as it is there: the next page may not be."""
    try:
        return memory.read(rip, _LONGEST)
    except DumpError:
        pass
    try:
        return memory.read(rip, min(_LONGEST, _PAGE - rip % _PAGE))
    except DumpError:
        return b""


def _release(code: bytes, registers: dict[int, int]) -> int:
    """Do the instruction that frees the frame, if it is one; its length."""
    if code[:3] == b"\x48\x83\xc4" and len(code) >= 4:  # add rsp, imm8
        registers[RSP] = registers[RSP] + struct.unpack_from("<b", code, 3)[0] & MASK
        return 4
    if code[:3] == b"\x48\x81\xc4" and len(code) >= 7:  # add rsp, imm32
        registers[RSP] = registers[RSP] + struct.unpack_from("<i", code, 3)[0] & MASK
        return 7
    if len(code) < 3 or code[0] & 0xF8 != 0x48:
        return 0
    r, b = 8 * (code[0] >> 2 & 1), 8 * (code[0] & 1)
    mode, reg, rm = code[2] >> 6, (code[2] >> 3 & 7) + r, (code[2] & 7) + b
    if code[1] == 0x8D and reg == RSP and rm in registers and rm & 7 != 4:  # lea rsp, [rm + disp]
        form = {1: "<b", 2: "<i"}.get(mode)
        if form is not None and len(code) >= 3 + struct.calcsize(form):
            registers[RSP] = registers[rm] + struct.unpack_from(form, code, 3)[0] & MASK
            return 3 + struct.calcsize(form)
    source = (
        {0x8B: rm, 0x89: reg}.get(code[1])
        if mode == 3 and {0x8B: reg, 0x89: rm}.get(code[1]) == RSP
        else None
    )
    if source is not None and source in registers:  # mov rsp, reg
        registers[RSP] = registers[source]
        return 3
    return 0


def _pop(memory: Memory, code: bytes, registers: dict[int, int]) -> int:
    """Do one instruction between the release of the frame and the return, if it is one; its length."""
    if code in (b"\xc5\xf8\x77", b"\x0f\x01\xf8"):  # vzeroupper, swapgs
        return 3
    if code[:1] == b"\x9d":  # popfq
        registers[RSP] = registers[RSP] + 8 & MASK
        return 1
    rex = code[:1] != b"" and code[0] & 0xF0 == 0x40
    opcode = code[rex : rex + 1]
    if not opcode or opcode[0] & 0xF8 != 0x58:
        return 0
    number = opcode[0] - 0x58 + (8 * (code[0] & 1) if rex else 0)
    if number == RSP:
        return 0
    registers[number] = u64(memory, registers[RSP])
    registers[RSP] = registers[RSP] + 8 & MASK
    return 1 + rex


def _exit(
    code: bytes, at: int, rip: int, found: dict[int, int], leaves: Callable[[int], bool]
) -> Exit | None:
    alone = at == 0
    if code[at : at + 1] == b"\xf2":  # bnd: says nothing of where control goes
        at += 1
    rest = code[at : at + 5]
    if rest[:1] in (b"\xc3", b"\xc2") or rest[:2] == b"\xf3\xc3":  # ret, ret n, rep ret
        return Exit(found)
    if rest[:2] == b"\x48\xcf":  # iretq
        return Exit(found, interrupt=True)
    if rest[:1] == b"\xe9" and len(rest) >= 5:  # jmp rel32
        target = rip + at + 5 + struct.unpack_from("<i", rest, 1)[0]
        return Exit(found, jump=alone) if leaves(target & MASK) else None
    if rest[:1] == b"\xeb" and len(rest) >= 2:  # jmp rel8
        target = rip + at + 2 + struct.unpack_from("<b", rest, 1)[0]
        return Exit(found, jump=alone) if leaves(target & MASK) else None
    # Jumps through memory or a register: REX.W changes nothing about them and says that they are calls in
    # tail position; without it, only the jump through an import is one, any other is a switch.
    wide = len(rest) >= 3 and rest[0] & 0xF8 == 0x48 and rest[1] == 0xFF and rest[2] & 0x38 == 0x20
    return Exit(found) if wide or rest[:2] == b"\xff\x25" else None
