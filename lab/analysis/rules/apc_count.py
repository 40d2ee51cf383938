"""0x20 KERNEL_APC_PENDING_DURING_EXIT (and 0x1): a thread's APC disable count is not what it must be.

The count was changed earlier than the crash, so the stack is innocent; the critical-region log of Driver
Verifier may tell who did it.
"""

from __future__ import annotations

from collections.abc import Iterator

from lab.analysis.facts import Facts, function
from lab.analysis.regionlog import Balance, balances, is_full, monopolist, unpaired
from lab.analysis.rules.registry import Note, rule
from lab.model import Evidence, Strength, VerifierFacts

MISC_CHECKS = 0x800
MONOPOLISED = "0x20.region-log.monopolised"
LOG = "nt!VfKeCriticalRegionTraces"
SHOWN = 5
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


@rule(0x20)
def region_log(facts: Facts) -> Iterator[Evidence | Note]:
    """What the critical-region log says: nothing (and why), or who entered without leaving."""
    verifier = facts.verifier
    if verifier is None:
        yield Note("Driver Verifier's settings could not be read, so its critical-region log is not known.")
        return
    if not verifier.level & MISC_CHECKS:
        yield Note(
            "Driver Verifier's Miscellaneous checks (0x800) were off, so no critical-region log was kept: "
            "turn them on for the third-party drivers and reproduce."
        )
        return
    if not verifier.log_allocated:
        yield Note(
            f"The critical-region log (room for {verifier.log_capacity} entries) was kept, but its memory is "
            "not in the dump: it was paged out, or this kind of dump leaves it out. A complete dump has it."
            if verifier.log_capacity
            else "Miscellaneous checks were on, but the critical-region log is not allocated."
        )
        return
    yield from _not_verified(facts, verifier)
    if not verifier.log:
        yield from _empty(verifier)
        return
    if facts.thread is not None:
        yield from _crashing_thread(facts, verifier, facts.thread.address)
    yield from _other_threads(facts, verifier)
    yield from _monopolised(facts, verifier)


def _not_verified(facts: Facts, verifier: VerifierFacts) -> Iterator[Note]:
    """Only calls that verified drivers import are logged: what the log cannot have seen is said."""
    verified = {driver.name.casefold() for driver in verifier.loaded}
    missing = [m.name for m in facts.modules if facts.accusable(m.name) and m.name.casefold() not in verified]
    if verified and missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        yield Note(
            f"Not verified, so their calls are in no log: {', '.join(missing[:SHOWN])}{more} (third-party)."
        )


def _empty(verifier: VerifierFacts) -> Iterator[Evidence | Note]:
    yield Evidence(
        rule="0x20.region-log.empty",
        statement=f"The critical-region log (room for {verifier.log_capacity} entries) is empty although "
        "Miscellaneous checks were on.",
        strength=Strength.WEAK,
        where=LOG,
    )
    yield Note(
        "The log is empty: the calls are probably inlined by the compiler or made through mutexes or FsRtl. "
        "I/O verification (0x10) does not depend on them; go on with that."
    )


def _crashing_thread(facts: Facts, verifier: VerifierFacts, thread: int) -> Iterator[Evidence | Note]:
    """Unbalanced calls of the crashing thread itself: what else is unbalanced there is the count."""
    own = [entry for entry in verifier.log if entry.thread == thread]
    if not own:
        yield Note(
            f"The crashing thread {thread:#x} is not among the {len(verifier.log)} entries of the log."
        )
        return
    said = left_open if _count_is_negative(facts) else left_too_often
    found = [*said(facts, "0x20"), *undirected(facts, "0x20")]
    yield from found
    if not found:
        yield Note("The crashing thread's calls that are still in the critical-region log are balanced.")


def left_open(facts: Facts, family: str) -> Iterator[Evidence]:
    """Drivers that entered a critical region on the crashing thread and never left it."""
    if facts.verifier is None or facts.thread is None:
        return
    thread = facts.thread.address
    for balance in balances([entry for entry in facts.verifier.log if entry.thread == thread]):
        if balance.open_enters and facts.accusable(balance.image):
            yield Evidence(
                rule=f"{family}.region-log.unbalanced-thread",
                statement=f"{balance.image} entered a critical region {_times(balance.open_enters)} on the "
                "crashing thread and never left it.",
                strength=Strength.STRONG,
                where=f"{LOG}, entries of thread {thread:#x}",
                points_to=(balance.image,),
            )


def left_too_often(facts: Facts, family: str) -> Iterator[Evidence]:
    """Drivers that left more often than they entered; a full log may have lost their enters."""
    if facts.verifier is None or facts.thread is None:
        return
    thread = facts.thread.address
    wrapped = is_full(facts.verifier.log, facts.verifier.log_capacity)
    for balance in balances([entry for entry in facts.verifier.log if entry.thread == thread]):
        if balance.extra_leaves and facts.accusable(balance.image):
            yield Evidence(
                rule=f"{family}.region-log.unbalanced-thread",
                statement=f"{balance.image} left a critical region {_times(balance.extra_leaves)} on the "
                "crashing thread without having entered it"
                + (", as far as the overwritten log still shows." if wrapped else "."),
                strength=Strength.MODERATE if wrapped else Strength.STRONG,
                where=f"{LOG}, entries of thread {thread:#x}",
                points_to=(balance.image,),
            )


def undirected(facts: Facts, family: str) -> Iterator[Evidence]:
    """For newer kernels, which do not log whether a call entered or left: an odd number is no pairs."""
    if facts.verifier is None or facts.thread is None:
        return
    thread = facts.thread.address
    wrapped = is_full(facts.verifier.log, facts.verifier.log_capacity)
    for _, image, calls in unpaired([entry for entry in facts.verifier.log if entry.thread == thread]):
        if facts.accusable(image):
            yield Evidence(
                rule=f"{family}.region-log.odd-calls",
                statement=f"{image} made {calls} call{'s' if calls > 1 else ''} to enter or leave a critical "
                "region on the crashing thread, which cannot be pairs"
                + (", as far as the overwritten log still shows." if wrapped else "."),
                strength=Strength.WEAK if wrapped else Strength.MODERATE,
                where=f"{LOG}, entries of thread {thread:#x}; this kernel does not log the direction",
                points_to=(image,),
            )


def _other_threads(facts: Facts, verifier: VerifierFacts) -> Iterator[Evidence | Note]:
    """The same defect on other threads, which will crash when they exit."""
    crashing = facts.thread.address if facts.thread else 0
    others = [balance for balance in balances(verifier.log) if balance.thread != crashing]
    if _count_is_negative(facts):
        yield from _entered_elsewhere(facts, others)
    elif not is_full(verifier.log, verifier.log_capacity):
        yield from _left_elsewhere(facts, others)


def _entered_elsewhere(facts: Facts, others: list[Balance]) -> Iterator[Evidence]:
    for image, found in _by_image(facts, [balance for balance in others if balance.open_enters]).items():
        sure = any(balance.went_on or balance.open_enters > 1 for balance in found)
        yield Evidence(
            rule="0x20.region-log.enter-without-leave",
            statement=f"{image} entered a critical region without leaving it on {len(found)} other "
            f"thread{'s' if len(found) > 1 else ''}"
            + ("." if sure else "; it may have been inside at the moment of the crash."),
            strength=Strength.MODERATE if sure else Strength.WEAK,
            where=_threads(found),
            points_to=(image,),
        )


def _left_elsewhere(facts: Facts, others: list[Balance]) -> Iterator[Evidence]:
    for image, found in _by_image(facts, [balance for balance in others if balance.extra_leaves]).items():
        yield Evidence(
            rule="0x20.region-log.leave-without-enter",
            statement=f"{image} left a critical region that it had not entered on {len(found)} other "
            f"thread{'s' if len(found) > 1 else ''}.",
            strength=Strength.MODERATE,
            where=_threads(found),
            points_to=(image,),
        )


def _by_image(facts: Facts, found: list[Balance]) -> dict[str, list[Balance]]:
    by_image: dict[str, list[Balance]] = {}
    for balance in found:
        if facts.accusable(balance.image):
            by_image.setdefault(balance.image, []).append(balance)
    return by_image


def _threads(found: list[Balance]) -> str:
    listed = ", ".join(f"{balance.thread:#x}" for balance in found[:4])
    return f"{LOG}, entries of thread{'s' if len(found) > 1 else ''} {listed}"


def _monopolised(facts: Facts, verifier: VerifierFacts) -> Iterator[Evidence | Note]:
    """One driver fills the log: a lead at most, and a reason to run again without it."""
    top = monopolist(verifier.log, verifier.log_capacity)
    if top is None or not facts.accusable(top[0]):
        return
    image, entries = top
    yield Evidence(
        rule=MONOPOLISED,
        statement=f"{image} made {entries} of the {len(verifier.log)} calls in the critical-region log. A "
        "noisy driver is a lead and no proof: its calls push all others out of the log.",
        strength=Strength.WEAK,
        where=LOG,
        points_to=(image,),
    )
    yield Note(
        f"Disable {image} and reproduce: either it was the culprit, or the log will show the other drivers."
    )


def _count_is_negative(facts: Facts) -> bool:
    combined = facts.bugcheck.parameters[COUNT_PARAMETER.get(facts.bugcheck.code, 2) - 1]
    return (signed16(combined) or signed16(combined >> 16)) < 0


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
