"""How many levels the page tables have: the header does not say, so the kernel's own lists decide."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lab.dumps.header import DumpHeader
from lab.dumps.memory import Memory, u64
from lab.dumps.physical import Physical
from lab.dumps.virtual import PagedMemory
from lab.model import DumpError


@dataclass(frozen=True)
class Paging:
    """`readable` says that a list of the kernel was found whole."""

    levels: int  # 4 or 5
    readable: bool


def find_paging(physical: Physical, root: int, header: DumpHeader) -> Paging:
    """The number of levels with which a list head leads to neighbours that point back at it.

    Four levels when neither number does. Never raises.
    """
    heads = [head for head in (header.module_list, header.process_list) if head]
    for levels in (4, 5):
        memory = PagedMemory(physical, root, levels)
        if any(_closes(memory, head) for head in heads):
            return Paging(levels, True)
    return Paging(4, False)


def _closes(memory: Memory, head: int) -> bool:
    """Whether the LIST_ENTRY at `head` is part of a ring."""
    try:
        following, previous = struct.unpack("<QQ", memory.read(head, 16))
        return following != 0 and u64(memory, following + 8) == head == u64(memory, previous)
    except DumpError:
        return False
