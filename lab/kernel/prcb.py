"""KPRCBs: what each processor was doing when the kernel stopped, and which of them stopped it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.dumps.context import CONTEXT_SIZE, Context, parse_context
from lab.dumps.memory import KERNEL_SPACE, Memory, u64
from lab.kernel.record import Record
from lab.model import DumpError

if TYPE_CHECKING:
    from lab.kernel.target import Kernel

MOST_PROCESSORS = 2048
_CURRENT_THREAD = 8
_NUMBER = 0x24
"""The same in every x64 build (public symbols)."""


@dataclass(frozen=True)
class PrcbLayout:
    """Offsets in KPRCB that differ between builds; None when that of the build is not known."""

    context: int | None  # pointer to the CONTEXT that was saved when the processor was stopped
    context_frame: int | None  # ProcessorState.ContextFrame
    special_registers: int | None  # ProcessorState.SpecialRegisters
    dpc_stack: int | None  # end of the stack that DPCs run on


@dataclass(frozen=True)
class Prcb:
    """One processor. `address` is 0 when only a small dump's copy is at hand; unknown numbers are 0.

    `saved_in` says where `context` was found: "KPRCB.Context", "KPRCB.ProcessorState", "the small dump's
    CONTEXT", or "" for nowhere. `cr3` is that of its page tables, `dpc_stack` the end of its DPC stack.
    """

    number: int
    address: int
    thread: int
    context: Context | None
    saved_in: str
    cr3: int = 0
    dpc_stack: int = 0


def read_prcb(memory: Memory, address: int, layout: PrcbLayout) -> Prcb:
    """The KPRCB at `address`. DumpError when not even its beginning is in the dump."""
    thread = u64(memory, address + _CURRENT_THREAD)
    record = Record(memory, address)
    context, where = _saved(memory, record, layout)
    special = layout.special_registers
    return Prcb(
        number=record.number(_NUMBER, 4) or 0,
        address=address,
        thread=thread if thread >= KERNEL_SPACE else 0,
        context=context,
        saved_in=where,
        cr3=(record.number(special + 0x10, 8) or 0) if special is not None else 0,
        dpc_stack=record.number(layout.dpc_stack, 8) or 0,
    )


def copied_prcb(raw: bytes, context: Context | None) -> Prcb:
    """The KPRCB of which a small dump has the copy `raw`; its context is the dump's."""
    thread = int.from_bytes(raw[_CURRENT_THREAD : _CURRENT_THREAD + 8], "little")
    number = int.from_bytes(raw[_NUMBER : _NUMBER + 4], "little")
    return Prcb(number, 0, thread if thread >= KERNEL_SPACE else 0, context, "the small dump's CONTEXT")


def _saved(memory: Memory, record: Record, layout: PrcbLayout) -> tuple[Context | None, str]:
    """The context a stopped processor left: KPRCB.Context leads to it, ProcessorState holds one."""
    pointer = record.number(layout.context, 8)
    frame = None if layout.context_frame is None else record.address + layout.context_frame
    for address, where in ((pointer, "KPRCB.Context"), (frame, "KPRCB.ProcessorState")):
        if address is None or address < KERNEL_SPACE:
            continue
        try:
            found = parse_context(memory.read(address, CONTEXT_SIZE))
        except DumpError:
            continue
        if found.plausible and found.rip and found.rsp:
            return found, where
    return None, ""


def read_prcbs(memory: Memory, block: int, count: int, layout: PrcbLayout) -> tuple[Prcb, ...]:
    """The first `count` KPRCBs of KiProcessorBlock at `block`, at most all that there are.

    Those that are not in the dump are left out.
    """
    found = []
    for number in range(min(count, MOST_PROCESSORS)):
        try:
            address = u64(memory, block + 8 * number)
            if address == 0:
                break  # there are no more
            if address >= KERNEL_SPACE:
                found.append(read_prcb(memory, address, layout))
        except DumpError:
            continue
    return tuple(found)


def processors_of(kernel: Kernel) -> tuple[Prcb, ...]:
    """Every processor that the dump holds; of older small dumps the crashing one alone. Never raises."""
    block, small = kernel.address("nt!KiProcessorBlock"), kernel.dump.triage
    if block is not None:
        found = read_prcbs(kernel.memory, block, kernel.header.processors or MOST_PROCESSORS, _layout(kernel))
        if found or small is None:
            return found
    return (copied_prcb(small.prcb, _context(kernel)),) if small and len(small.prcb) >= 0x28 else ()


def _layout(kernel: Kernel) -> PrcbLayout:
    state = kernel.find_offset("_KPRCB", "ProcessorState")
    inside = kernel.find_offset("_KPROCESSOR_STATE", "ContextFrame") if state is not None else None
    frame = kernel.debugger.context_frame if kernel.debugger and inside is None else None
    return PrcbLayout(
        context=kernel.find_offset("_KPRCB", "Context"),
        context_frame=frame if state is None or inside is None else state + inside,
        special_registers=state,
        dpc_stack=kernel.find_offset("_KPRCB", "DpcStack"),
    )


def _context(kernel: Kernel) -> Context | None:
    try:
        return kernel.context
    except DumpError:
        return None


def crashed_processor(kernel: Kernel) -> tuple[Prcb | None, str]:
    """(the processor that stopped the system, how that shows: "saved ...", "runs ...", "is ...").

    (None, "") when the dump does not tell.
    """
    small = kernel.dump.triage
    if small is not None and small.thread_address is not None:
        for each in kernel.processors:
            if each.thread == small.thread_address:
                return each, "runs the thread that the small dump keeps"
    context, found = _context(kernel), kernel.processors
    if context is not None:
        same = [each for each in found if each.context is not None and each.context.rsp == context.rsp]
        if len(same) == 1:
            return same[0], "saved the stack pointer of the header's context"
        running = [each for each in found if _on_stack(kernel, each.thread, context.rsp)]
        if len(running) == 1:
            return running[0], "runs the thread whose stack the header's context is on"
    if len(found) == 1 and kernel.header.processors == 1:
        return found[0], "is the only one"
    return None, ""


def _on_stack(kernel: Kernel, thread: int, rsp: int) -> bool:
    """Whether `rsp` is on the stack of `thread`."""
    limit, base = kernel.find_offset("_KTHREAD", "StackLimit"), kernel.find_offset("_KTHREAD", "StackBase")
    if not thread or limit is None or base is None:
        return False
    record = Record(kernel.memory, thread)
    low, high = record.number(limit, 8), record.number(base, 8)
    return low is not None and high is not None and low <= rsp < high
