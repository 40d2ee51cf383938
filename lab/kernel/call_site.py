"""What tells a return address from any other: the call in front of it."""

from __future__ import annotations


def is_call(before: bytes) -> bool:
    """Whether the seven bytes in front of an address end in a call instruction."""
    if before[2] == 0xE8:  # call rel32
        return True
    for length in range(2, 8):
        code = before[7 - length :]
        if 0x40 <= code[0] <= 0x4F and length > 2:  # REX
            code = code[1:]
        if code[0] == 0xFF and len(code) >= 2 and code[1] >> 3 & 7 == 2 and len(code) == _modrm_length(code):
            return True
    return False


def _modrm_length(code: bytes) -> int:
    """Length of an instruction FF /n with its ModRM, SIB and displacement."""
    mode, rm = code[1] >> 6, code[1] & 7
    if mode == 3:
        return 2
    length = 2
    displacement = {0: 0, 1: 1, 2: 4}[mode]
    if rm == 4:
        if len(code) < 3:
            return -1
        length += 1
        if mode == 0 and code[2] & 7 == 5:
            displacement = 4
    elif mode == 0 and rm == 5:
        displacement = 4
    return length + displacement
