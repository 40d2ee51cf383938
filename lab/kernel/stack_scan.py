"""Return addresses looked for on a stack, where there are no unwind data to say where they are."""

from __future__ import annotations

import struct

from lab.dumps.memory import u64
from lab.kernel.target import KERNEL_SPACE, Kernel
from lab.model import DumpError

_PAGE = 0x1000


def next_return(kernel: Kernel, start: int, end: int) -> tuple[int, int] | None:
    """(where, value) of the first plausible return address on the stack in [start, end), None if none.

    Ends at the first page that is not in the dump.
    """
    at = start + 7 & ~7
    while at < end:
        size = min(end, (at | _PAGE - 1) + 1) - at & ~7
        try:
            page = kernel.memory.read(at, size)
        except DumpError:
            return _word_by_word(kernel, at, at + size)
        for index, (value,) in enumerate(struct.iter_unpack("<Q", page)):
            if value >= KERNEL_SPACE and is_return(kernel, value):
                return at + 8 * index, value
        at += size or 8
    return None


def _word_by_word(kernel: Kernel, at: int, end: int) -> tuple[int, int] | None:
    """A small dump may hold a part of a page."""
    while at < end:
        try:
            value = u64(kernel.memory, at)
        except DumpError:
            return None
        if value >= KERNEL_SPACE and is_return(kernel, value):
            return at, value
        at += 8
    return None


def is_return(kernel: Kernel, value: int) -> bool:
    """Whether `value` may be a return address: in code, behind a call if the bytes are in the dump."""
    module = kernel.module_at(value)
    if module is None or value - module.base < _PAGE:
        return False
    image = kernel.image(module)
    if image is not None and not image.executable(value - module.base):
        return False
    try:
        before = kernel.memory.read(value - 7, 7)
    except DumpError:
        # A function's own address is a pointer to it, not a return into it.
        symbols = kernel.module_symbols(module)
        near = symbols.nearest(value - module.base) if symbols else None
        return near is None or near[1] != 0
    return is_call(before)


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
