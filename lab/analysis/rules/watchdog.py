"""0x133 and 0x101: a processor that did not come back from a DPC, an interrupt, or at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lab.analysis.callers import as_found, first_accusable, where
from lab.analysis.facts import Facts, function
from lab.analysis.rules.registry import Note, rule
from lab.analysis.stops import describe
from lab.model import Evidence, Frame, Strength

SINGLE, CUMULATIVE = 0, 1

DPC_CALLERS = frozenset(
    f"nt!{name}"
    for name in ("KiExecuteAllDpcs", "KiRetireDpcList", "KiExecuteDpc", "KiProcessExpiredTimerList")
)
"""Functions that call DPC routines: what is above them on the stack ran at DISPATCH_LEVEL."""


@rule(0x133)
def dpc_watchdog(facts: Facts) -> Iterator[Evidence | Note]:
    """The first driver in the DPC; for a cumulative time-out it merely happened to run at the end."""
    number = facts.bugcheck.parameters[0]
    stop = describe(facts.bugcheck)
    if stop is not None:
        yield Evidence("0x133.kind", f"{stop.meaning}.", Strength.WEAK, "bugcheck parameter 1")
    inside = dpc(facts.stack)
    frame = first_accusable(facts, inside or facts.stack)
    if frame is None:
        yield Note("No driver that does not come with Windows was running on the crashing processor.")
        return
    if number != SINGLE:
        strength, said = Strength.WEAK, "was running when the time was up; others may have used most of it"
    elif inside:
        strength, said = Strength.STRONG, "was running in the DPC that took too long"
    else:
        strength, said = Strength.MODERATE, "was running when the time was up"
    yield Evidence(
        rule="0x133.running",
        statement=f"{frame.module} {said}.",
        strength=as_found(strength, frame),
        where=where(frame),
        points_to=(frame.module,),
    )


def dpc(stack: Sequence[Frame]) -> tuple[Frame, ...]:
    """The frames of the DPC at work, from the top; empty when the stack shows none."""
    for position, frame in enumerate(stack):
        if function(frame.symbol) in DPC_CALLERS:
            return tuple(stack[:position])
    return ()


@rule(0x101)
def clock_watchdog(facts: Facts) -> Iterator[Evidence | Note]:
    """Where the processor that hangs was, as far as it could still save its state."""
    prcb = facts.bugcheck.parameters[2]
    hanging = next((p for p in facts.processors if p.prcb == prcb), None)
    if hanging is None or not hanging.instruction:
        yield Note(f"The state of the processor that hangs (PRCB {prcb:#x}) is not in the dump.")
        return
    module = facts.module_at(hanging.instruction)
    accused = module is not None and facts.accusable(module.name)
    yield Evidence(
        rule="0x101.processor",
        statement=f"Processor {hanging.number}, which hangs, was last seen at "
        f"{hanging.symbol or facts.place(hanging.instruction)}.",
        strength=Strength.MODERATE if accused else Strength.WEAK,
        where=f"KPRCB {prcb:#x}, bugcheck parameter 3",
        points_to=(module.name,) if module is not None and accused else (),
    )
    yield Note("A processor that takes no interrupts may also be faulty hardware.")
