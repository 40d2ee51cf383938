"""Which page tables the kernel is read through: the header's, or, when they map only user space, System's.

With kernel virtual address shadowing a processor in user mode runs on page tables that hold next to nothing
of the kernel. A bugcheck never leaves those in the header; a snapshot made from outside may.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from lab.dumps.dump import Dump
from lab.dumps.memory import KERNEL_SPACE, Memory, u64
from lab.dumps.physical import Physical
from lab.dumps.virtual import FRAME
from lab.model import DumpError

MOST_FRAMES = 0x4000
"""System's page tables are made first: within the first 64 MiB of physical memory."""

_TABLE = struct.Struct("<512Q")
_LINKS = range(0x180, 0x480, 8)  # where EPROCESS.ActiveProcessLinks is in one build or another
_PROCESS_TYPE = 3  # KOBJECTS.ProcessObject


def kernel_memory(dump: Dump) -> tuple[Memory, str]:
    """(virtual memory in which the header's lists can be read, what has to be said of it)."""
    memory, head = dump.memory, dump.header.module_list
    if dump.physical is None or head is None or head < KERNEL_SPACE or _is_list(memory, head):
        return memory, ""
    for root in _candidates(dump.physical):
        other: Memory = dump.with_root(root)
        if not _is_list(other, head):
            continue
        own = _system_root(other, dump.header.process_list)
        if own is not None and own != root and _is_list(dump.with_root(own), head):
            root, other = own, dump.with_root(own)
        header = dump.header.directory_table_base or 0
        note = (
            f"the page tables of the header ({header:#x}) do not map the kernel's lists: those at {root:#x}, "
            "which do, are used"
        )
        return other, note
    return memory, ""


def _is_list(memory: Memory, head: int) -> bool:
    """Whether there is a LIST_ENTRY at `head` whose first entry points back."""
    try:
        first = u64(memory, head)
        return first >= KERNEL_SPACE and first != head and u64(memory, first + 8) == head
    except DumpError:
        return False


def _candidates(physical: Physical) -> Iterator[int]:
    """Top page tables that have an entry for themselves, by which Windows reaches them."""
    for frame in range(1, MOST_FRAMES):
        try:
            entries = _TABLE.unpack(physical.page(frame))
        except DumpError:
            continue
        root = frame << 12
        if any(entry & 1 and entry & FRAME == root for entry in entries[256:]):
            yield root


def _system_root(memory: Memory, process_list: int | None) -> int | None:
    """KPROCESS.DirectoryTableBase of the first process, found backwards from its ActiveProcessLinks."""
    if process_list is None:
        return None
    try:
        links = u64(memory, process_list)
        for process in (links - offset for offset in _LINKS):
            head = memory.read(process, 0x30)
            waiting = struct.unpack_from("<Q", head, 8)[0]
            if head[0] & 0x7F == _PROCESS_TYPE and waiting == process + 8:
                return int(struct.unpack_from("<Q", head, 0x28)[0]) & FRAME
    except DumpError:
        pass
    return None
