"""Doubly linked lists of the kernel (LIST_ENTRY): followed as far as they hold together."""

from __future__ import annotations

from dataclasses import dataclass

from lab.dumps.memory import KERNEL_SPACE, Memory, u64
from lab.model import DumpError


@dataclass(frozen=True)
class Links:
    """Addresses of a list's LIST_ENTRYs, its head left out. `broken` says where it ends too early, or ""."""

    found: tuple[int, ...]
    broken: str = ""


def follow(memory: Memory, head: int, most: int) -> Links:
    """The list at `head` by Flink, at most `most` entries.

    What was read stays when the list leaves the dump or kernel space, bites its tail, or does not end.
    """
    found: list[int] = []
    seen = {head}
    try:
        link = u64(memory, head)
        while link != head:
            if link < KERNEL_SPACE or link & 7:
                return Links(tuple(found), f"it leads to {link:#x} after {len(found)} entries")
            if link in seen:
                return Links(tuple(found), f"it bites its tail after {len(found)} entries")
            if len(found) >= most:
                return Links(tuple(found), f"it does not end after {most} entries")
            seen.add(link)
            following = u64(memory, link)  # an entry that cannot be read is none
            found.append(link)
            link = following
    except DumpError as error:
        return Links(tuple(found), f"after {len(found)} entries {error}")
    return Links(tuple(found))
