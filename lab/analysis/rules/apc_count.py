"""0x20 KERNEL_APC_PENDING_DURING_EXIT (and 0x1): a thread's APC disable count is not what it must be.

The count was changed earlier than the crash, so the stack is innocent; the logs of Driver Verifier may tell
who did it (`region_log`, `irp_log`).
"""

from __future__ import annotations

from collections.abc import Iterator

from lab.analysis.facts import Facts, function
from lab.analysis.rules.registry import Note, rule
from lab.model import Evidence, Strength

WORKER_ROUTINE = 1
COUNT_PARAMETER = {0x20: 2, 0x1: 3}


def signed16(value: int) -> int:
    """The low 16 bits as the signed count they are: 0xffff is -1."""
    return (value & 0xFFFF) - ((value & 0x8000) << 1)


@rule(0x20, 0x1)
def count(facts: Facts) -> Iterator[Evidence | Note]:
    """The sign of the count says which call is missing."""
    number = COUNT_PARAMETER[facts.bugcheck.code]
    combined = facts.bugcheck.parameters[number - 1]
    kernel, special = signed16(combined), signed16(combined >> 16)
    thread = facts.thread
    where = f"bugcheck parameter {number}"
    if thread is not None and thread.kernel_apc_disable is not None:
        where += f"; KTHREAD.KernelApcDisable of {thread.address:#x}"
        if thread.kernel_apc_disable != kernel:
            yield Note(
                f"The thread's KernelApcDisable is {thread.kernel_apc_disable}, but {where.split(';')[0]} "
                f"says {kernel}; the parameter is believed."
            )
    if kernel == 0 and special == 0:
        yield Note("Both APC disable counts are zero; the stop has another reason than an unbalanced driver.")
        return
    value, name = (kernel, "kernel") if kernel else (special, "special")
    sense, meaning = (
        ("negative", "a driver disabled APCs and did not enable them again")
        if value < 0
        else ("positive", "a driver enabled APCs more often than it disabled them")
    )
    yield Evidence(
        rule=f"0x20.apc-count.{sense}",
        statement=f"The thread's {name} APC disable count is {value}: {meaning}.",
        strength=Strength.WEAK,
        where=where,
    )


@rule(0x20)
def worker_thread(facts: Facts) -> Iterator[Evidence | Note]:
    """A worker thread of srv2 executed many requests before it exits; one of them left the count."""
    start = function(facts.thread.start) if facts.thread else ""
    on_stack = any(function(frame.symbol) == "srv2!SrvProcWorkerThread" for frame in facts.stack)
    if start == "srv2!SrvProcWorkerThread" or on_stack:
        yield Evidence(
            rule="0x20.worker-thread",
            statement="The thread is a worker of the SMB2 server that simply exits; the guilty call was made "
            "during one of the requests it served before.",
            strength=Strength.WEAK,
            where=f"Win32StartAddress {start}" if start else "crashing thread's stack",
        )


@rule(0x1)
def worker_routine(facts: Facts) -> Iterator[Evidence | Note]:
    """A worker routine that returned with other counts than it began with; a system call is Windows' own."""
    address, kind_of_call = facts.bugcheck.parameters[0], facts.bugcheck.parameters[3]
    module = facts.module_at(address)
    if kind_of_call == WORKER_ROUTINE and module is not None:
        accused = facts.accusable(module.name)
        yield Evidence(
            rule="0x1.worker-routine",
            statement=f"The worker routine {facts.place(address)} returned with APC disable counts that it "
            "did not begin with; it, or something that it called, changed them.",
            strength=Strength.STRONG if accused else Strength.WEAK,
            where="bugcheck parameter 1",
            points_to=(module.name,) if accused else (),
        )


def count_is_negative(facts: Facts) -> bool:
    """Whether the stop itself says that APCs were disabled once too often."""
    combined = facts.bugcheck.parameters[COUNT_PARAMETER.get(facts.bugcheck.code, 2) - 1]
    return (signed16(combined) or signed16(combined >> 16)) < 0
