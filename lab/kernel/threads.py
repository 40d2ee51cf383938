"""Threads: the one that was running when the kernel stopped, and the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lab.dumps.memory import KERNEL_SPACE, i16, u64
from lab.kernel.lists import follow
from lab.kernel.record import Record
from lab.kernel.target import Kernel
from lab.model import DumpError, ThreadFacts, ThreadSummary

MOST_PROCESSES = 16384  # a host of remote desktops runs thousands
MOST_THREADS = 65536

STATES = (
    *("INITIALIZED", "READY", "RUNNING", "STANDBY", "TERMINATED", "WAIT", "TRANSITION"),
    *("DEFERRED_READY", "GATEWAIT", "WAIT_PROCESS_INSWAP"),
)
"""KTHREAD_STATE in the debugger's words."""


def crashing_thread(kernel: Kernel) -> tuple[int, str]:
    """(KTHREAD address, how it was found). DumpError when the dump does not tell.

    First the crashing processor's KPRCB.CurrentThread (or a small dump's copy of the thread); where that is
    missing, the thread whose stack holds the stack pointer of the header's context.
    """
    with kernel.reading("crashing thread") as used:
        if kernel.thread is not None:
            if kernel.crashed[0] is not None and kernel.crashed[0].thread == kernel.thread:
                used.check(f"it is the current thread of the processor that {kernel.crashed[1]}")
            small = kernel.dump.triage is not None
            return kernel.thread, "the small dump's KPRCB" if small else "KPRCB.CurrentThread"
        rsp = kernel.context.rsp
        for thread in all_threads(kernel):
            bounds = stack_bounds(kernel, thread)
            if bounds is not None and bounds[0] <= rsp < bounds[1]:
                used.check("the stack pointer of the header's context is on the thread's stack")
                return thread, f"the stack that holds rsp {rsp:#x}"
    raise DumpError("the crashing thread is not in the dump")


def all_threads(kernel: Kernel) -> Iterator[int]:
    """Every thread of every process (PsActiveProcessHead), as far as the dump holds them; capped."""
    process_link = kernel.offset("_EPROCESS", "ActiveProcessLinks")
    thread_head = kernel.offset("_EPROCESS", "ThreadListHead")
    thread_link = kernel.offset("_ETHREAD", "ThreadListEntry")
    head = kernel.address("nt!PsActiveProcessHead") or kernel.header.process_list
    if head is None:
        return
    left = MOST_THREADS
    for process in follow(kernel.memory, head, MOST_PROCESSES).found:
        for link in follow(kernel.memory, process - process_link + thread_head, left).found:
            left -= 1
            yield link - thread_link


def read_thread(kernel: Kernel, address: int) -> tuple[ThreadFacts, tuple[str, ...]]:
    """(facts, notes) of the KTHREAD at `address`. A field that cannot be read is empty and noted."""
    with kernel.reading("crashing thread") as used:
        notes: list[str] = []
        memory = kernel.memory

        def field(type_name: str, name: str, what: str) -> int | None:
            try:
                return u64(memory, address + kernel.offset(type_name, name))
            except DumpError as error:
                notes.append(f"The thread's {what} could not be read: {error}.")
                return None

        def count(name: str) -> int | None:
            try:
                return i16(memory, address + kernel.offset("_KTHREAD", name))
            except DumpError as error:
                notes.append(f"The thread's {name} could not be read: {error}.")
                return None

        start = field("_ETHREAD", "Win32StartAddress", "start address")
        process = field("_KTHREAD", "Process", "process")
        facts = ThreadFacts(
            address=address,
            process=process_name(kernel, process) if process else "",
            cid=_cid(kernel, address),
            start=kernel.symbol(start) if start else "",
            kernel_apc_disable=count("KernelApcDisable"),
            special_apc_disable=count("SpecialApcDisable"),
            stack_base=field("_KTHREAD", "StackBase", "stack base") or 0,
            stack_limit=field("_KTHREAD", "StackLimit", "stack limit") or 0,
        )
        if is_thread(kernel, address):
            used.check("the object is a thread (KOBJECTS.ThreadObject)")
        return facts, tuple(notes)


def is_thread(kernel: Kernel, address: int) -> bool:
    """Whether the dispatcher object at `address` is a thread; False when it is not in the dump."""
    try:
        return kernel.memory.read(address, 1)[0] & 0x7F == 6
    except DumpError:
        return False


@dataclass(frozen=True)
class ThreadLayout:
    """Offsets in ETHREAD that a summary needs; None where the build's is not known."""

    state: int | None
    start: int | None
    win32_start: int | None
    cid: int | None
    kernel_apc_disable: int | None
    special_apc_disable: int | None

    @property
    def size(self) -> int:
        """Bytes that hold all of them."""
        told = (self.state, self.start, self.win32_start, self.cid, self.kernel_apc_disable)
        return max((at + 16 for at in told if at is not None), default=0)


def thread_layout(kernel: Kernel) -> ThreadLayout:
    """The offsets of this build, asked for once for many threads."""
    return ThreadLayout(
        state=kernel.find_offset("_KTHREAD", "State"),
        start=kernel.find_offset("_ETHREAD", "StartAddress"),
        win32_start=kernel.find_offset("_ETHREAD", "Win32StartAddress"),
        cid=kernel.find_offset("_ETHREAD", "Cid"),
        kernel_apc_disable=kernel.find_offset("_KTHREAD", "KernelApcDisable"),
        special_apc_disable=kernel.find_offset("_KTHREAD", "SpecialApcDisable"),
    )


def read_summary(kernel: Kernel, address: int, layout: ThreadLayout | None = None) -> ThreadSummary:
    """The thread at `address` in short. What cannot be read is "" or None.

    The start address is the one that user mode gave, as the debugger shows it, for system threads the
    routine of PsCreateSystemThread.
    """
    at = layout or thread_layout(kernel)
    record = Record(kernel.memory, address, at.size)
    state = record.number(at.state, 1)
    start = record.number(at.win32_start, 8) or record.number(at.start, 8)
    cid = record.bytes(at.cid, 16)
    return ThreadSummary(
        address=address,
        cid=f"{int.from_bytes(cid[:8], 'little'):x}.{int.from_bytes(cid[8:], 'little'):x}" if cid else "",
        state="" if state is None else (STATES[state] if state < len(STATES) else f"{state:#x}"),
        start=kernel.symbol(start) if start else "",
        kernel_apc_disable=record.number(at.kernel_apc_disable, 2, signed=True),
        special_apc_disable=record.number(at.special_apc_disable, 2, signed=True),
    )


def stack_bounds(kernel: Kernel, thread: int) -> tuple[int, int] | None:
    """(StackLimit, StackBase) of a thread; None when the dump does not tell."""
    try:
        limit = u64(kernel.memory, thread + kernel.offset("_KTHREAD", "StackLimit"))
        base = u64(kernel.memory, thread + kernel.offset("_KTHREAD", "StackBase"))
    except DumpError:
        return None
    return (limit, base) if KERNEL_SPACE <= limit < base <= limit + (1 << 20) else None


def process_name(kernel: Kernel, process: int) -> str:
    """EPROCESS.ImageFileName: fifteen characters of the executable's name; "" when not in the dump."""
    try:
        raw = kernel.memory.read(process + kernel.offset("_EPROCESS", "ImageFileName"), 15)
    except DumpError:
        return ""
    return raw.split(b"\0", 1)[0].decode("ascii", "replace")


def _cid(kernel: Kernel, thread: int) -> str:
    """CLIENT_ID as the debugger writes it, process and thread in hexadecimal: "4.998"."""
    try:
        cid = thread + kernel.offset("_ETHREAD", "Cid")
        return f"{u64(kernel.memory, cid):x}.{u64(kernel.memory, cid + 8):x}"
    except DumpError:
        return ""
