"""The crashing thread and its fields, by the offsets of two builds."""

from __future__ import annotations

import kernel_bytes as kb
import pytest

from lab.kernel.processors import processor_context, read_processors
from lab.kernel.threads import crashing_thread, read_thread
from lab.model import DumpError

THREAD = 0xFFFFFA804B5BE000
PROCESS = 0xFFFFFA8048CAD000
PRCB = kb.NT + 0x1F0000
BUILDS = pytest.mark.parametrize("build", [7601, 20348])


def memory(build: int, kernel_count: int = -1, special_count: int = 0) -> kb.Bytes:
    found = kb.Bytes()
    at = {f"{kind}.{name}": offset for (kind, name), offset in kb.OFFSETS[build].items()}
    found.fill(THREAD, 0x600)
    found.fill(PROCESS, 0x700)
    found.u16(THREAD + at["_KTHREAD.KernelApcDisable"], kernel_count)
    found.u16(THREAD + at["_KTHREAD.SpecialApcDisable"], special_count)
    found.u64(THREAD + at["_KTHREAD.StackBase"], 0xFFFFF88005DB2000)
    found.u64(THREAD + at["_KTHREAD.StackLimit"], 0xFFFFF88005DAC000)
    found.u64(THREAD + at["_KTHREAD.Process"], PROCESS)
    found.u64(THREAD + at["_ETHREAD.Win32StartAddress"], kb.SRV2 + 0xB400)
    found.u64(THREAD + at["_ETHREAD.Cid"], 4, 0x998)
    found.put(PROCESS + at["_EPROCESS.ImageFileName"], b"System\0garbage!")
    link, head = at["_EPROCESS.ActiveProcessLinks"], kb.NT + 0x21BA00
    found.u64(head, PROCESS + link)
    found.u64(PROCESS + link, head)
    found.u64(PROCESS + at["_EPROCESS.ThreadListHead"], THREAD + at["_ETHREAD.ThreadListEntry"])
    found.u64(THREAD + at["_ETHREAD.ThreadListEntry"], PROCESS + at["_EPROCESS.ThreadListHead"])
    return found


@BUILDS
def test_the_thread_of_the_article(build: int) -> None:
    facts, notes = read_thread(kb.kernel(memory(build), build), THREAD)
    assert (facts.kernel_apc_disable, facts.special_apc_disable) == (-1, 0)
    assert (facts.process, facts.cid, facts.start) == ("System", "4.998", "srv2!SrvProcWorkerThread")
    assert (facts.stack_base, facts.stack_limit) == (0xFFFFF88005DB2000, 0xFFFFF88005DAC000)
    assert notes == ()


@pytest.mark.parametrize(("kernel_count", "special_count"), [(-3, 0), (2, 0), (0, -1), (-32768, 32767)])
def test_counts_are_signed(kernel_count: int, special_count: int) -> None:
    facts, _ = read_thread(kb.kernel(memory(7601, kernel_count, special_count)), THREAD)
    assert (facts.kernel_apc_disable, facts.special_apc_disable) == (kernel_count, special_count)


@BUILDS
def test_the_processor_with_the_saved_stack_pointer_ran_it(build: int) -> None:
    found = memory(build)
    context = kb.OFFSETS[build][("_KPRCB", "Context")]
    found.u64(kb.NT + kb.PROCESSORS, PRCB)
    found.u64(PRCB + 8, THREAD)
    found.u64(PRCB + context, PRCB + 0x10000)
    found.u64(PRCB + 0x10000 + 0x98, kb.STACK)
    assert crashing_thread(kb.kernel(found, build)) == (THREAD, "KPRCB.CurrentThread")


@BUILDS
def test_without_a_processor_the_stack_tells(build: int) -> None:
    address, how = crashing_thread(kb.kernel(memory(build), build))
    assert address == THREAD
    assert "stack" in how


def saved(memory: kb.Bytes, at: int, rip: int, rsp: int) -> None:
    """A CONTEXT; MxCsr is in it twice."""
    memory.fill(at, 0x4D0)
    memory.u32(at + 0x34, 0x1F80)
    memory.u32(at + 0x118, 0x1F80)
    memory.u64(at + 0x98, rsp)
    memory.u64(at + 0xF8, rip)


def two_processors(build: int) -> kb.Bytes:
    """Processor 0 runs another thread and was saved by pointer, processor 1 ran ours; its pointer is lost."""
    found = memory(build)
    at = {f"{kind}.{name}": offset for (kind, name), offset in kb.OFFSETS[build].items()}
    other, second = kb.POOL + 0x40000, PRCB + 0x20000
    found.fill(other, 0x600)
    found.u64(other + at["_KTHREAD.StackLimit"], 0xFFFFF88005EAC000)
    found.u64(other + at["_KTHREAD.StackBase"], 0xFFFFF88005EB2000)
    found.u64(kb.NT + kb.PROCESSORS, PRCB, second)
    for number, (prcb, thread) in enumerate(((PRCB, other), (second, THREAD))):
        found.fill(prcb, 0x30)
        found.u64(prcb + 8, thread)
        found.u32(prcb + 0x24, number)
    found.u64(PRCB + at["_KPRCB.Context"], PRCB + 0x10000)
    saved(found, PRCB + 0x10000, kb.NT + 0x1000, 0xFFFFF88005EB1000)
    return found


@BUILDS
def test_the_processor_whose_threads_stack_holds_the_stack_pointer(build: int) -> None:
    kernel = kb.kernel(two_processors(build), build, processors=2)
    assert crashing_thread(kernel) == (THREAD, "KPRCB.CurrentThread")
    first, second = read_processors(kernel)
    assert (first.crashed, first.instruction, first.stack_pointer) == (
        False,
        kb.NT + 0x1000,
        0xFFFFF88005EB1000,
    )
    assert (second.number, second.crashed, second.instruction) == (1, True, 0)
    with pytest.raises(DumpError, match="registers of processor 1"):
        processor_context(kernel, 1)


@pytest.mark.parametrize("told", [100, 0])
def test_a_server_with_more_processors_than_one_group_has(told: int) -> None:
    """The one that stopped is the last of a hundred, whether or not the header counts them."""
    found = two_processors(7601)
    block = kb.NT + kb.PROCESSORS
    idle, stopped = PRCB, PRCB + 0x20000
    found.u64(block, *[idle] * 99, stopped, 0)
    kernel = kb.kernel(found, processors=told)
    assert (len(kernel.processors), kernel.thread) == (100, THREAD)


def test_one_processor_of_an_unknown_number_is_not_called_the_only_one() -> None:
    found = two_processors(7601)
    found.u64(kb.NT + kb.PROCESSORS, PRCB, 0)
    assert kb.kernel(found, processors=1).crashed[1] == "is the only one"
    assert kb.kernel(found, processors=0).crashed == (None, "")


@BUILDS
def test_processor_state_stands_in_for_the_saved_context(build: int) -> None:
    found = two_processors(build)
    state, frame = (0x40, 0xE0) if build == 7601 else (0x100, 0xF0)
    saved(found, PRCB + 0x20000 + state + frame, kb.NT + 0x2000, kb.STACK)
    offsets = {("_KPRCB", "ProcessorState"): state, ("_KPROCESSOR_STATE", "ContextFrame"): frame}
    kernel = kb.kernel(found, build, processors=2, offsets=offsets)
    assert [each.saved_in for each in kernel.processors] == ["KPRCB.Context", "KPRCB.ProcessorState"]
    assert processor_context(kernel, 1).rip == kb.NT + 0x2000
    assert kernel.crashed[1] == "saved the stack pointer of the header's context"


def test_a_context_that_contradicts_itself_is_none() -> None:
    found = two_processors(7601)
    found.u32(PRCB + 0x10000 + 0x34, 0x1234)
    kernel = kb.kernel(found, 7601, processors=2)
    assert [each.context for each in kernel.processors] == [None, None]


@pytest.mark.parametrize("rsp", [0xFFFFF88005DABFF8, 0xFFFFF88005DB2000])
def test_a_stack_pointer_of_nobody(rsp: int) -> None:
    with pytest.raises(DumpError, match="not in the dump"):
        crashing_thread(kb.kernel(memory(7601), rsp=rsp))


def test_fields_outside_the_dump_are_noted_one_by_one() -> None:
    found = kb.Bytes()
    found.fill(THREAD, 0x200)  # enough for the counts, not for the rest
    facts, notes = read_thread(kb.kernel(found), THREAD)
    assert facts.kernel_apc_disable == 0
    assert (facts.start, facts.process, facts.stack_base, facts.cid) == ("", "", 0, "")
    assert len(notes) == 3
