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
    """Registers at the instruction that leaves the function, and what that takes from the stack."""

    registers: dict[int, int]
    interrupt: bool = False  # iretq: a machine frame, not a return address
    extra: int = 0  # bytes beyond the return address: `ret n`


def simulate(
    memory: Memory, rip: int, registers: dict[int, int], leaves: Callable[[int], bool]
) -> Exit | None:
    """Where the code at `rip` leaves its function, if that is an epilogue; else None.

    The legal form is `add rsp, n` or `lea rsp, [reg+n]`, then pops, then `ret` or a jump out of the
    function ("x64 prolog and epilog"). Read as well, because compilers and the kernel's assembler code
    write them: `mov rsp, reg`, `popfq`, `vzeroupper`, `iretq`. `leaves` tells of the target of a relative
    jump whether it is in another function. `registers` are not changed.
    """
    code = _read(memory, rip)
    found = dict(registers)
    at = _release(code, found)
    try:
        while (length := _pop(memory, code[at : at + 3], found)) != 0:
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
    """Do the instruction that frees the frame, if there is one; its length."""
    if code[:3] == b"\x48\x83\xc4" and len(code) >= 4:  # add rsp, imm8
        registers[RSP] = registers[RSP] + struct.unpack_from("<b", code, 3)[0] & MASK
        return 4
    if code[:3] == b"\x48\x81\xc4" and len(code) >= 7:  # add rsp, imm32
        registers[RSP] = registers[RSP] + struct.unpack_from("<i", code, 3)[0] & MASK
        return 7
    if len(code) < 7 or code[0] & 0xFE != 0x48:
        return 0
    mode, number, base = code[2] >> 6, code[2] >> 3 & 7, (code[2] & 7) + 8 * (code[0] & 1)
    if number != RSP or base == RSP or base not in registers:
        return 0
    if code[1] == 0x8D and base != 12 and mode in (1, 2):  # lea rsp, [base + disp]; r12 would need a SIB
        step: int = struct.unpack_from("<b" if mode == 1 else "<i", code, 3)[0]
        registers[RSP] = registers[base] + step & MASK
        return 4 if mode == 1 else 7
    if code[1] == 0x8B and mode == 3:  # mov rsp, base
        registers[RSP] = registers[base]
        return 3
    return 0


def _pop(memory: Memory, code: bytes, registers: dict[int, int]) -> int:
    """Do one instruction between the release of the frame and the return, if it is one; its length."""
    if code == b"\xc5\xf8\x77":  # vzeroupper
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
    if code[at : at + 1] == b"\xf2":  # bnd: says nothing of where control goes
        at += 1
    rest = code[at : at + 8]
    if rest[:1] == b"\xc3" or rest[:2] == b"\xf3\xc3":  # ret, rep ret
        return Exit(found)
    if rest[:1] == b"\xc2" and len(rest) >= 3:  # ret n
        return Exit(found, extra=int.from_bytes(rest[1:3], "little"))
    if rest[:2] == b"\x48\xcf":  # iretq
        return Exit(found, interrupt=True)
    if rest[:1] == b"\xe9" and len(rest) >= 5:  # jmp rel32
        target = rip + at + 5 + struct.unpack_from("<i", rest, 1)[0]
        return Exit(found) if leaves(target & MASK) else None
    if rest[:1] == b"\xeb" and len(rest) >= 2:  # jmp rel8
        target = rip + at + 2 + struct.unpack_from("<b", rest, 1)[0]
        return Exit(found) if leaves(target & MASK) else None
    # Jumps through memory or a register: REX.W changes nothing about them and says that they are calls in
    # tail position; without it, only the jump through an import is one, any other is a switch.
    wide = len(rest) >= 3 and rest[0] & 0xF8 == 0x48 and rest[1] == 0xFF and rest[2] & 0x38 == 0x20
    return Exit(found) if wide or rest[:2] == b"\xff\x25" else None
