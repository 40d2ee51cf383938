"""The thread that was running when the kernel stopped."""

from __future__ import annotations

from collections.abc import Iterator

from lab.dumps.memory import i16, u64
from lab.kernel.target import KERNEL_SPACE, Kernel
from lab.model import DumpError, ThreadFacts

MOST_PROCESSES = 4096
MOST_THREADS = 65536


def crashing_thread(kernel: Kernel) -> tuple[int, str]:
    """(KTHREAD address, how it was found). DumpError when the dump does not tell.

    First the crashing processor's KPRCB.CurrentThread (or a small dump's copy of the thread); where that is
    missing, the thread whose stack holds the stack pointer of the header's context.
    """
    if kernel.thread is not None:
        small = kernel.dump.triage is not None
        return kernel.thread, "the small dump's KPRCB" if small else "KPRCB.CurrentThread"
    rsp = kernel.context.rsp
    for thread in all_threads(kernel):
        try:
            limit, base = _bounds(kernel, thread)
        except DumpError:
            continue
        if limit <= rsp < base:
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
    for process in _list(kernel, head, MOST_PROCESSES):
        for link in _list(kernel, process - process_link + thread_head, left):
            left -= 1
            yield link - thread_link


def _list(kernel: Kernel, head: int, most: int) -> Iterator[int]:
    """The links of a LIST_ENTRY; ends silently at a page that is not in the dump."""
    seen = {head}
    try:
        link = u64(kernel.memory, head)
        while link >= KERNEL_SPACE and link not in seen and len(seen) <= most:
            seen.add(link)
            yield link
            link = u64(kernel.memory, link)
    except DumpError:
        return


def read_thread(kernel: Kernel, address: int) -> tuple[ThreadFacts, tuple[str, ...]]:
    """(facts, notes) of the KTHREAD at `address`. A field that cannot be read is empty and noted."""
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
        process=_process_name(kernel, process) if process else "",
        cid=_cid(kernel, address),
        start=kernel.symbol(start) if start else "",
        kernel_apc_disable=count("KernelApcDisable"),
        special_apc_disable=count("SpecialApcDisable"),
        stack_base=field("_KTHREAD", "StackBase", "stack base") or 0,
        stack_limit=field("_KTHREAD", "StackLimit", "stack limit") or 0,
    )
    return facts, tuple(notes)


def _bounds(kernel: Kernel, thread: int) -> tuple[int, int]:
    limit = u64(kernel.memory, thread + kernel.offset("_KTHREAD", "StackLimit"))
    base = u64(kernel.memory, thread + kernel.offset("_KTHREAD", "StackBase"))
    return limit, base


def _process_name(kernel: Kernel, process: int) -> str:
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
