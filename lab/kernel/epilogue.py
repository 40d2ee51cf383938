"""Whether a processor stopped within an epilogue, where unwind codes no longer hold."""

from __future__ import annotations

import struct

from lab.dumps.memory import Memory, u64
from lab.model import DumpError

_RSP = 4
_MASK = 0xFFFF_FFFF_FFFF_FFFF
_MAX_POPS = 9


def simulate(
    memory: Memory, rip: int, registers: dict[int, int], function: tuple[int, int]
) -> dict[int, int] | None:
    """Registers at the `ret` that the code at `rip` leads to, if that is an epilogue; else None.

    The legal form is `add rsp, n` or `lea rsp, [reg+n]`, then pops, then `ret` or a jump out of the
    function ("x64 prolog and epilog"). `function` is (begin, end). `registers` are not changed.
    """
    try:
        code = memory.read(rip, min(64, 0x1000 - (rip & 0xFFF)))
    except DumpError:
        return None
    found = dict(registers)
    at = _release(code, found)
    try:
        for _ in range(_MAX_POPS):
            rex = code[at : at + 1] == b"\x41"
            opcode = code[at + rex : at + rex + 1]
            if not opcode or not 0x58 <= opcode[0] <= 0x5F:
                break
            number = opcode[0] - 0x58 + 8 * rex
            if number == _RSP:
                return None
            found[number] = u64(memory, found[_RSP])
            found[_RSP] = found[_RSP] + 8 & _MASK
            at += 1 + rex
    except DumpError:
        return None
    return found if _leaves(code, at, rip, function) else None


def _release(code: bytes, registers: dict[int, int]) -> int:
    """Do the instruction that frees the frame, if there is one; its length."""
    if code[:3] == b"\x48\x83\xc4" and len(code) >= 4:  # add rsp, imm8
        registers[_RSP] = registers[_RSP] + struct.unpack_from("<b", code, 3)[0] & _MASK
        return 4
    if code[:3] == b"\x48\x81\xc4" and len(code) >= 7:  # add rsp, imm32
        registers[_RSP] = registers[_RSP] + struct.unpack_from("<i", code, 3)[0] & _MASK
        return 7
    if len(code) >= 8 and code[0] & 0xFE == 0x48 and code[1] == 0x8D and code[2] >> 3 & 7 == _RSP:
        mode, base = code[2] >> 6, (code[2] & 7) + 8 * (code[0] & 1)  # lea rsp, [base + disp]
        if base & 7 != 4 and mode in (1, 2) and base in registers:
            step: int = struct.unpack_from("<b" if mode == 1 else "<i", code, 3)[0]
            registers[_RSP] = registers[base] + step & _MASK
            return 4 if mode == 1 else 7
    return 0


def _leaves(code: bytes, at: int, rip: int, function: tuple[int, int]) -> bool:
    rest = code[at : at + 6]
    if rest[:1] in (b"\xc3", b"\xc2") or rest[:2] == b"\xf3\xc3":  # ret, ret n, rep ret
        return True
    if at == 0:
        return False  # a lone jump is an ordinary jump unless something was freed before it
    if rest[:1] == b"\xe9" and len(rest) >= 5:  # jmp rel32, to another function
        return _outside(rip + at + 5 + struct.unpack_from("<i", rest, 1)[0], function)
    if rest[:1] == b"\xeb" and len(rest) >= 2:
        return _outside(rip + at + 2 + struct.unpack_from("<b", rest, 1)[0], function)
    return rest[:2] == b"\xff\x25" or rest[:3] == b"\x48\xff\x25" or rest[:2] == b"\x48\xff"


def _outside(target: int, function: tuple[int, int]) -> bool:
    """A jump to the function's own beginning also leaves it: a call of itself in tail position."""
    return not function[0] < target < function[1]
