"""How many levels the page tables have: the header does not say, so the kernel's own lists decide."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lab.dumps.header import DumpHeader
from lab.dumps.memory import Memory, u16, u64
from lab.dumps.physical import Physical
from lab.dumps.virtual import FRAME, PagedMemory
from lab.model import DumpError

_LA57 = 1 << 12  # of CR4


@dataclass(frozen=True)
class Paging:
    """`readable` says that a list of the kernel was found whole. `confirmed`: what CR4 says of `levels`."""

    levels: int  # 4 or 5
    readable: bool
    confirmed: bool | None  # None when no CR4 can be read


def find_paging(physical: Physical, root: int, header: DumpHeader) -> Paging:
    """The number of levels with which a list head leads to neighbours that point back at it.

    Four levels when neither number does. Never raises.
    """
    heads = [head for head in (header.module_list, header.process_list) if head]
    for levels in (4, 5):
        memory = PagedMemory(physical, root, levels)
        if any(_closes(memory, head) for head in heads):
            cr4 = _cr4(memory, header, root)
            return Paging(levels, True, None if cr4 is None else bool(cr4 & _LA57) == (levels == 5))
    return Paging(4, False, None)


def _closes(memory: Memory, head: int) -> bool:
    """Whether the LIST_ENTRY at `head` is part of a ring."""
    try:
        following, previous = struct.unpack("<QQ", memory.read(head, 16))
        return following != 0 and u64(memory, following + 8) == head == u64(memory, previous)
    except DumpError:
        return False


def _cr4(memory: Memory, header: DumpHeader, root: int) -> int | None:
    """CR4 of a processor that ran with these page tables; None when the dump does not hold it.

    KDDEBUGGER_DATA64 (tag at +0x10) -> KiProcessorBlock (+0x218) -> KPRCB; its special registers are
    OffsetPrcbProcStateSpecialReg (+0x2F2) bytes in, CR3 and CR4 at +0x10 and +0x18 of them.
    """
    block = header.debugger_data
    try:
        if block is None or memory.read(block + 0x10, 4) != b"KDBG":
            return None
        processors, offset = u64(memory, block + 0x218), u16(memory, block + 0x2F2)
        for number in range(min(header.processors or 1, 64)):
            registers = u64(memory, processors + 8 * number) + offset
            if (u64(memory, registers + 0x10) ^ root) & FRAME == 0:
                return u64(memory, registers + 0x18)
    except DumpError:
        pass
    return None
