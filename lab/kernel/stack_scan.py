"""Return addresses looked for on a stack, where there are no unwind data to say where they are."""

from __future__ import annotations

import struct

from lab.dumps.memory import KERNEL_SPACE, u64
from lab.kernel.call_site import is_call
from lab.kernel.target import Kernel
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
