"""The IRP log (`!verifier 100`): a ring of IRPs allocated, completed and cancelled, with APC disable counts.

Verifier keeps it with I/O verification on (0x10). The first entry of a thread whose count is not what it was
in the entry before brackets the call that changed it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lab.dumps.memory import KERNEL_SPACE, u32, u64
from lab.kernel.reading import Used
from lab.kernel.regionlog import outside_kernel
from lab.kernel.target import Kernel
from lab.kernel.threads import is_thread
from lab.model import DumpError, IrpLogEntry

MOST_SLOTS = 1 << 16
MOST_SHOWN = 128
ENTRY = 0x80
STACK_DEPTH = 13
_CHUNK = 512  # slots read at once
_LAYOUT = struct.Struct(f"<QQhhB3x{STACK_DEPTH}Q")
"""_IOV_IRP_TRACE: Irp, Thread, KernelApcDisable, SpecialApcDisable, Irql, StackTrace."""
_OWNER = struct.Struct(f"<8xQ{ENTRY - 16}x")


@dataclass(frozen=True)
class IrpLog:
    """`entries` newest first: the newest of all threads, and the newest of the thread asked for."""

    allocated: bool
    capacity: int
    entries: tuple[IrpLogEntry, ...] = ()
    note: str = ""


def read_irp_log(kernel: Kernel, thread: int | None = None, most: int = MOST_SHOWN) -> IrpLog:
    """The newest `most` entries, and as many of `thread` (the crashing one when None).

    DumpError when the log's variables are not known or not in the dump.
    """
    with kernel.reading("IRP log") as used:
        return _read(kernel, used, thread or kernel.thread or 0, most)


def _read(kernel: Kernel, used: Used, thread: int, most: int) -> IrpLog:
    memory = kernel.memory
    log = u64(memory, kernel.need("nt!IovIrpTraces"))
    length = u32(memory, kernel.need("nt!IovIrpTracesLength"))
    if log == 0:
        return IrpLog(False, length)
    if log < KERNEL_SPACE or not 0 < length <= MOST_SLOTS:
        return IrpLog(False, 0, note=f"The IRP log is damaged: {length} entries at {log:#x}.")
    size = kernel.find_size("_IOV_IRP_TRACE")
    if size is None:
        why = f"The IRP log is there, but the layout of its entries is not known for build {kernel.build}."
        return IrpLog(True, length, note=why)
    if size != ENTRY:
        return IrpLog(True, length, note=f"Entries of the IRP log have the unknown size {size:#x}.")
    index = u32(memory, kernel.need("nt!IovIrpTracesIndex"))
    if not length & length - 1:
        used.check(f"the length of the ring, {length}, is a power of two")
    owners = _owners(kernel, log, length)
    entries: list[IrpLogEntry] = []
    of_thread = 0
    for back in range(length):
        slot = (index - back) % length
        mine = bool(thread) and owners[slot] == thread and of_thread < most
        if owners[slot] and (mine or back < most):
            entries.append(_entry(kernel, log + slot * ENTRY))
            of_thread += mine
    missing = owners.count(None)
    threads = {entry.thread for entry in entries}
    if threads and all(is_thread(kernel, each) for each in threads):
        used.check(f"every thread of its {len(entries)} newest entries is one")
    note = f"{missing} of {length} entries of the IRP log are not in the dump." if missing else ""
    return IrpLog(missing < length, length, tuple(entries), note)


def _owners(kernel: Kernel, log: int, length: int) -> list[int | None]:
    """The thread of every slot, None where it is not in the dump."""
    found: list[int | None] = []
    for start in range(0, length, _CHUNK):
        count = min(_CHUNK, length - start)
        try:
            raw = kernel.memory.read(log + start * ENTRY, count * ENTRY)
            found += [thread for (thread,) in _OWNER.iter_unpack(raw)]
        except DumpError:
            found += [_owner(kernel, log + slot * ENTRY) for slot in range(start, start + count)]
    return found


def _owner(kernel: Kernel, address: int) -> int | None:
    try:
        return int(_OWNER.unpack(kernel.memory.read(address, ENTRY))[0])
    except DumpError:
        return None


def _entry(kernel: Kernel, address: int) -> IrpLogEntry:
    irp, thread, kernel_count, special_count, irql, *stack = _LAYOUT.unpack(
        kernel.memory.read(address, ENTRY)
    )
    frames = stack[: stack.index(0)] if 0 in stack else stack
    return IrpLogEntry(
        irp=irp,
        thread=thread,
        irql=irql,
        kernel_apc_disable=kernel_count,
        special_apc_disable=special_count,
        caller=outside_kernel(kernel, frames),
        stack=tuple(kernel.symbol(address, returns=True) for address in frames),
    )
