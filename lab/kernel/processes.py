"""The processes that there were when the kernel stopped, with their threads."""

from __future__ import annotations

from lab.dumps.memory import KERNEL_SPACE
from lab.kernel.lists import follow
from lab.kernel.record import Record
from lab.kernel.target import Kernel
from lab.kernel.threads import (
    MOST_PROCESSES,
    MOST_THREADS,
    ThreadLayout,
    process_name,
    read_summary,
    thread_layout,
)
from lab.model import DumpError, ProcessFacts


def read_processes(kernel: Kernel) -> tuple[ProcessFacts, ...]:
    """Every process of PsActiveProcessHead, in its order, with its threads.

    A damaged list is kept as far as it goes: the reading's checks say which lists close. A small dump holds
    the crashing process and its crashing thread alone. DumpError when not even the list's head is known.
    """
    with kernel.reading("processes") as used:
        small = kernel.dump.triage
        layout = thread_layout(kernel)
        if small is not None:
            if small.process_address is None:
                raise DumpError("the small dump does not hold the crashing process")
            threads = [small.thread_address] if small.thread_address is not None else []
            used.check("of a small dump: the crashing process and its crashing thread alone")
            return (_process(kernel, small.process_address, threads, layout),)
        head = kernel.address("nt!PsActiveProcessHead") or kernel.header.process_list
        if head is None or head < KERNEL_SPACE:
            raise DumpError("neither symbols nor header say where the list of processes is")
        link = kernel.offset("_EPROCESS", "ActiveProcessLinks")
        thread_head = kernel.offset("_EPROCESS", "ThreadListHead")
        thread_link = kernel.offset("_ETHREAD", "ThreadListEntry")
        processes = follow(kernel.memory, head, MOST_PROCESSES)
        if not processes.found:
            raise DumpError(f"the list of processes cannot be read: {processes.broken or 'it is empty'}")
        if not processes.broken:
            used.check(f"the list of {len(processes.found)} processes closes")
        found = []
        left = MOST_THREADS
        whole = True
        for entry in processes.found:
            threads_of = follow(kernel.memory, entry - link + thread_head, left)
            whole = whole and not threads_of.broken
            left -= len(threads_of.found)
            addresses = [each - thread_link for each in threads_of.found]
            found.append(_process(kernel, entry - link, addresses, layout))
        if whole:
            used.check("the list of threads of every process closes")
        return tuple(found)


def _process(kernel: Kernel, address: int, threads: list[int], layout: ThreadLayout) -> ProcessFacts:
    record = Record(kernel.memory, address)
    return ProcessFacts(
        address=address,
        process_id=record.number(kernel.find_offset("_EPROCESS", "UniqueProcessId"), 8) or 0,
        name=process_name(kernel, address),
        directory_table_base=record.number(kernel.find_offset("_KPROCESS", "DirectoryTableBase"), 8) or 0,
        threads=tuple(read_summary(kernel, thread, layout) for thread in threads),
    )
