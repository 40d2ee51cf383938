"""Processes, threads and processors of the crashed kernel.

Offsets come from the kernel tables; those written as numbers are equal in every build
(DISPATCHER_HEADER, KPROCESS.ThreadListHead, KPCR).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from random import Random

from lab.twin.memory.layout import Layout
from lab.twin.memory.physical import Memory, Pool
from lab.twin.memory.records import Record, filetime
from lab.twin.memory.stack import Registers, context

RUNNING, WAITING = 2, 5
_THREAD_INSERTED = 2  # of CrossThreadFlags; bit 0 is Terminated
_PROCESSES = ("System", "smss.exe", "csrss.exe", "wininit.exe", "services.exe", "lsass.exe", "svchost.exe")


@dataclass(frozen=True)
class Thread:
    """A thread's place: its ETHREAD, ids and kernel stack. `top` is KTHREAD.InitialStack."""

    address: int
    id: int
    base: int
    limit: int
    top: int


@dataclass
class Threads:
    """The threads of the System process by key, and what must be linked when all are known."""

    process: int
    process_id: int = 4
    by_key: dict[int, Thread] = field(default_factory=dict)


def write_processes(memory: Memory, pool: Pool, at: Layout, *, started: float) -> int:
    """PsActiveProcessHead with System first; returns System's EPROCESS."""
    k = at.kernel
    head = at.variable("PsActiveProcessHead")
    size = k.sizes["EPROCESS"]
    addresses = [pool.take(size, b"Proc", add=0) for _ in _PROCESSES]
    link = k.at("EPROCESS.ActiveProcessLinks")
    ring = [head, *(address + link for address in addresses)]
    for index, (name, address) in enumerate(zip(_PROCESSES, addresses, strict=True)):
        record = Record(size)
        record.u8(0, 3)  # ProcessObject
        record.u8(2, 0x58)
        record.loop(8, address)
        record.u64(0x28, at.directory << 12)
        record.loop(0x30, address)
        record.u64(k.at("EPROCESS.UniqueProcessId"), 4 if index == 0 else 0x100 + 0x34 * index)
        record.u64(link, ring[(index + 2) % len(ring)])
        record.u64(link + 8, ring[index])
        record.bytes(k.at("EPROCESS.ImageFileName"), name.encode()[:14])
        record.loop(k.at("EPROCESS.ThreadListHead"), address)
        record.u64(k.at("EPROCESS.CreateTime"), filetime(started + 3 * index))
        memory.write(address, record.data)
    memory.write(head, struct.pack("<QQ", ring[1], ring[-1]))
    memory.u64(at.variable("PsInitialSystemProcess"), addresses[0])
    return addresses[0]


def place_thread(memory: Memory, pool: Pool, at: Layout, rng: Random, index: int) -> Thread:
    """Room for a thread: an ETHREAD and a kernel stack of its own, mapped as a whole."""
    size, below = (0x7000, 0x370) if at.kernel.new else (0x6000, 0x250)
    base = at.stacks + index * 0x20000 + rng.randrange(1, 8) * 0x1000 + size
    memory.write(base - size, bytes(size))
    address = pool.take(at.kernel.sizes["ETHREAD"], b"Thre", align=16)
    return Thread(address, 0x30 + 4 * rng.randrange(8, 0x280), base, base - size, base - below)


@dataclass(frozen=True)
class ThreadState:
    """What differs between threads. Times are in clock ticks of 15.625 ms."""

    start: int = 0
    saved_rsp: int = 0
    state: int = WAITING
    kernel_apc_disable: int = 0
    wait_time: int = 0
    context_switches: int = 0
    kernel_time: int = 0
    priority: int = 15
    terminated: bool = False


def write_thread(memory: Memory, at: Layout, threads: Threads, thread: Thread, is_: ThreadState) -> None:
    """The ETHREAD, linked as the last of its process."""
    k = at.kernel
    address = thread.address
    record = Record(k.sizes["ETHREAD"])
    record.u8(0, 6)  # ThreadObject
    record.loop(8, address)
    record.u64(k.at("KTHREAD.InitialStack"), thread.top)
    record.u64(k.at("KTHREAD.StackLimit"), thread.limit)
    record.u64(k.at("KTHREAD.StackBase"), thread.base)
    record.u64(k.at("KTHREAD.KernelStack"), is_.saved_rsp)
    apc = k.at("KTHREAD.ApcState")
    record.loop(apc, address)
    record.loop(apc + 0x10, address)
    record.u64(apc + 0x20, threads.process)
    record.u64(k.at("KTHREAD.Process"), threads.process)
    record.u16(k.at("KTHREAD.KernelApcDisable"), is_.kernel_apc_disable)
    record.u8(k.at("KTHREAD.State"), is_.state)
    record.u8(k.at("KTHREAD.Priority"), is_.priority)
    record.u8(k.at("KTHREAD.BasePriority"), is_.priority)
    record.u32(k.at("KTHREAD.WaitTime"), is_.wait_time)
    record.u32(k.at("KTHREAD.ContextSwitches"), is_.context_switches)
    record.u32(k.at("KTHREAD.KernelTime"), is_.kernel_time)
    record.u64(k.at("ETHREAD.StartAddress"), is_.start)
    record.u64(k.at("ETHREAD.Win32StartAddress"), is_.start)
    record.u64(k.at("ETHREAD.Cid"), threads.process_id)
    record.u64(k.at("ETHREAD.Cid") + 8, thread.id if threads.process_id else 0)
    record.loop(k.at("ETHREAD.IrpList"), address)
    record.u32(k.at("KTHREAD.MiscFlags"), k.system_thread)
    record.u32(k.at("ETHREAD.CrossThreadFlags"), _THREAD_INSERTED | is_.terminated)
    memory.write(address, record.data)
    _link(memory, threads.process + 0x30, address + k.at("KTHREAD.ThreadListEntry"))
    process_list = threads.process + k.at("EPROCESS.ThreadListHead")
    _link(memory, process_list, address + k.at("ETHREAD.ThreadListEntry"))


def _link(memory: Memory, head: int, entry: int) -> None:
    """InsertTailList."""
    last = memory.read_u64(head + 8)
    memory.write(entry, struct.pack("<QQ", head, last))
    memory.u64(last, entry)
    memory.u64(head + 8, entry)


def write_processor(
    memory: Memory, pool: Pool, at: Layout, number: int, thread: int, idle: int, registers: Registers
) -> int:
    """KPCR and KPRCB of one processor, entered in KiProcessorBlock; returns the KPRCB.

    `registers` is its saved context.
    """
    k = at.kernel
    if number == 0 and "KiInitialPCR" in k.rvas:
        pcr = at.variable("KiInitialPCR")
    else:
        pcr = at.processors + number * 0x20000
    prcb = pcr + 0x180
    saved = pool.put(context(registers), b"KCtx")
    record = Record(0x180 + k.sizes["KPRCB"])
    record.u64(0x18, pcr)
    record.u64(0x20, prcb)
    record.u64(0x108, at.variable("KdVersionBlock"))
    own = 0x180
    record.u32(own, 0x1F80)
    record.u64(own + k.at("KPRCB.CurrentThread"), thread)
    record.u64(own + k.at("KPRCB.IdleThread"), idle)
    record.u32(own + k.at("KPRCB.Number"), number)
    record.u64(own + k.at("KPRCB.Context"), saved)
    record.u32(own + k.at("KPRCB.MHz"), 2400)
    record.bytes(own + k.at("KPRCB.VendorString"), b"GenuineIntel\0")
    record.u16(own + k.at("KPRCB.MajorVersion"), 1)
    record.u16(own + k.at("KPRCB.MinorVersion"), 1)
    special = own + k.at("KPRCB.ProcessorState")
    record.u64(special, 0x80050031)  # CR0
    record.u64(special + 0x10, at.cr3)
    record.u64(special + 0x18, 0x16F8 if at.five_levels else 0x6F8)  # CR4, with its bit LA57
    record.bytes(special + k.context_frame, context(registers))
    memory.write(pcr, record.data)
    memory.u64(at.variable("KiProcessorBlock") + 8 * number, prcb)
    return prcb
