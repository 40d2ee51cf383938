"""The Enter/Leave Critical Region log (`!verifier 200`): a ring of calls by verified drivers.

Verifier keeps it with miscellaneous checks on (0x800). Only calls that verified drivers import are in it:
those that a compiler inlined, mutexes and guarded regions are not.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lab.dumps.memory import KERNEL_SPACE, u32, u64
from lab.kernel.reading import Used
from lab.kernel.target import Kernel
from lab.kernel.threads import is_thread
from lab.model import CriticalRegionEntry, DumpError

MOST_ENTRIES = 4096
STACK_DEPTH = 7
ENTRY_SIZES = (0x40, 0x50)
"""Sizes of _VF_KE_CRITICAL_REGION_TRACE: public symbols up to Windows 11 21H2, and later kernels."""


@dataclass(frozen=True)
class RegionLog:
    """The Enter/Leave Critical Region log. `entries` newest first."""

    allocated: bool
    capacity: int
    entries: tuple[CriticalRegionEntry, ...] = ()
    note: str = ""
    missing: int = 0  # slots that are not in the dump


def read_region_log(kernel: Kernel) -> RegionLog:
    """The ring of calls to KeEnterCriticalRegion and KeLeaveCriticalRegion by verified drivers."""
    with kernel.reading("critical-region log") as used:
        return _read(kernel, used)


def _read(kernel: Kernel, used: Used) -> RegionLog:
    memory = kernel.memory
    log = u64(memory, kernel.need("nt!VfKeCriticalRegionTraces"))
    length = u32(memory, kernel.need("nt!VfKeCriticalRegionTracesLength"))
    index = u32(memory, kernel.need("nt!VfKeCriticalRegionTracesIndex"))
    if log == 0:
        return RegionLog(False, length)
    if log < KERNEL_SPACE or not 0 < length <= MOST_ENTRIES:
        return RegionLog(False, 0, note=f"The critical-region log is damaged: {length} entries at {log:#x}.")
    if not length & length - 1:
        used.check(f"the length of the ring, {length}, is a power of two")
    size, note = _entry_size(kernel, log, length)
    entries: list[CriticalRegionEntry] = []
    missing = 0
    for back in range(length):
        slot = (index - back) % length  # length is a power of two; the index wraps with 32 bits
        try:
            raw = memory.read(log + slot * size, 8 * (1 + STACK_DEPTH))
        except DumpError:
            missing += 1
            continue
        thread, *stack = struct.unpack(f"<{1 + STACK_DEPTH}Q", raw)
        if thread:
            entries.append(_entry(kernel, thread, stack))
    threads = {entry.thread for entry in entries}
    if threads and all(is_thread(kernel, thread) for thread in threads):
        used.check(f"every thread of its {len(entries)} entries is one")
    if missing:
        note = f"{note} {missing} of {length} entries of the critical-region log are not in the dump.".strip()
    return RegionLog(missing < length, length, tuple(entries), note, missing)


def _entry(kernel: Kernel, thread: int, stack: list[int]) -> CriticalRegionEntry:
    frames = stack[: stack.index(0)] if 0 in stack else stack
    symbols = tuple(kernel.symbol(address, returns=True) for address in frames)
    return CriticalRegionEntry(thread, _direction(symbols), outside_kernel(kernel, frames), symbols)


def _direction(symbols: tuple[str, ...]) -> str:
    """By the function of frame 0; newer kernels do not log it, and then the direction is unknown."""
    function = symbols[0].split("+", 1)[0] if symbols else ""
    if not function.startswith("nt!"):
        return "unknown"
    if "EnterCriticalRegion" in function:
        return "enter"
    return "leave" if "LeaveCriticalRegion" in function else "unknown"


def outside_kernel(kernel: Kernel, frames: list[int]) -> str:
    """The image of the first frame outside the kernel: the driver that made the call."""
    for address in frames:
        module = kernel.module_at(address)
        if module is not None and module.base != kernel.nt.base:
            return module.name
    return ""


def _entry_size(kernel: Kernel, log: int, length: int) -> tuple[int, str]:
    """(bytes of an entry, note): by symbols, else the size for which the slots look like entries."""
    told = kernel.find_size("_VF_KE_CRITICAL_REGION_TRACE")
    if told in ENTRY_SIZES:
        return told, ""
    scores = {size: _plausible(kernel, log, length, size) for size in ENTRY_SIZES}
    best = max(ENTRY_SIZES, key=lambda size: scores[size])
    if scores[best] == 0:
        return ENTRY_SIZES[0], ""
    note = (
        ""
        if best == ENTRY_SIZES[0]
        else f"Entries of the critical-region log were taken to be {best:#x} bytes."
    )
    return best, note


def _plausible(kernel: Kernel, log: int, length: int, size: int) -> int:
    """How many slots start with a thread and go on with addresses inside modules, less those that do not."""
    score = 0
    for slot in range(min(length, 32)):
        try:
            thread, first = struct.unpack("<QQ", kernel.memory.read(log + slot * size, 16))
            if thread == 0 and first == 0:
                continue
            inside = kernel.module_at(first) is not None
        except DumpError:
            continue
        real = thread >= KERNEL_SPACE and is_thread(kernel, thread)
        score += 1 if inside and real else -1
    return max(score, 0)
