"""0xC4, 0xC9 and 0x10D where a parameter is the routine that broke the rule, such as the APC disable count.

A routine of a driver names that driver. A routine of the filter manager names every minifilter attached to
the volume; which of them it was, one dump cannot tell when there are several.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lab.analysis.facts import Facts
from lab.analysis.rules.apc_count import signed16
from lab.analysis.rules.irp_log import bracketed
from lab.analysis.rules.minifilters import minifilters
from lab.analysis.rules.region_log import left_open, left_too_often, undirected
from lab.analysis.rules.registry import Note, rule
from lab.model import Evidence, Module, Origin, Strength


@dataclass(frozen=True)
class Kind:
    """What a kind says of the routine in parameter 2."""

    id: str
    routine: str
    counts: bool = False  # parameters 3 and 4 are APC disable counts now and before
    did: str = "changed the thread's APC disable count"


KINDS = {
    (0xC4, 0xC1): Kind("0xc4.c1", "dispatch routine", did="returned with interrupts disabled"),
    (0xC4, 0xC3): Kind("0xc4.c3", "fast I/O routine", did="returned with interrupts disabled"),
    (0xC4, 0xC5): Kind("0xc4.c5", "dispatch routine", True),
    (0xC4, 0xC6): Kind("0xc4.c6", "fast I/O routine", True),
    (0xC4, 0xFA): Kind("0xc4.fa", "completion routine", did="changed the IRQL"),
    (0xC4, 0xFB): Kind("0xc4.fb", "completion routine", True),
    (0xC4, 0x110): Kind("0xc4.110", "interrupt service routine", did="damaged the thread's extended context"),
    (0xC4, 0x111): Kind("0xc4.111", "interrupt service routine", did="changed the IRQL"),
    (0xC9, 0x11): Kind("0xc9.11", "fast I/O routine", did="changed the IRQL"),
    (0xC9, 0x12): Kind("0xc9.12", "dispatch routine", did="changed the IRQL"),
    (0x10D, 0xF): Kind("0x10d.f", "event callback", did="entered a critical region and did not leave it"),
}
"""By (bugcheck, parameter 1), as Microsoft's bug check code reference describes them."""


@rule(0xC4, 0xC9, 0x10D)
def named_routine(facts: Facts) -> Iterator[Evidence | Note]:
    """From the routine to its driver, and through the filter manager to the minifilters of the volume."""
    sub_code, address, now, before = facts.bugcheck.parameters
    kind = KINDS.get((facts.bugcheck.code, sub_code))
    if kind is None:
        return
    if kind.counts:
        yield _change(kind, signed16(now), signed16(before))
    module = facts.module_at(address)
    if module is None:
        yield from _not_loaded(facts, kind, address)
        return
    place = facts.dispatch.dispatch_symbol if facts.dispatch and facts.dispatch.dispatch_symbol else ""
    place = place or facts.place(address)
    if module.name.casefold() == "fltmgr.sys":
        yield Evidence(
            rule=f"{kind.id}.filter-manager",
            statement=f"The {kind.routine} is {place}, by which the filter manager calls the minifilters of "
            "a volume.",
            strength=Strength.WEAK,
            where="bugcheck parameter 2",
        )
        yield from minifilters(facts, kind.id, kind.did)
    elif module.origin is Origin.IN_BOX:
        yield from _in_box(facts, kind, module, place)
    else:
        yield Evidence(
            rule=f"{kind.id}.dispatch-routine",
            statement=f"{module.name}'s own {kind.routine} {place} {kind.did}.",
            strength=Strength.PROOF,
            where="bugcheck parameter 2",
            points_to=(module.name,),
        )


@rule(0xC4)
def logs(facts: Facts) -> Iterator[Evidence | Note]:
    """Verifier's logs, when they were kept too, may tell several minifilters apart."""
    sub_code, _, now, before = facts.bugcheck.parameters
    kind = KINDS.get((facts.bugcheck.code, sub_code))
    if kind is None or not kind.counts:
        return
    inside = max(-signed16(before), 0)
    if signed16(now) < signed16(before):
        yield from left_open(facts, kind.id, inside=inside)
    else:
        yield from left_too_often(facts, kind.id)
    if not inside:  # an enter from before the call makes an odd number of calls, too
        yield from undirected(facts, kind.id)
    yield from bracketed(facts, kind.id, usual=signed16(before))


def _change(kind: Kind, now: int, before: int) -> Evidence:
    sense = (
        "it disabled APCs and did not enable them again"
        if now < before
        else "it enabled APCs more often than it disabled them"
    )
    return Evidence(
        rule=f"{kind.id}.apc-count",
        statement=f"The {kind.routine} changed the thread's APC disable count from {before} to {now}: "
        f"{sense}.",
        strength=Strength.WEAK,
        where="bugcheck parameters 3 and 4",
    )


def _not_loaded(facts: Facts, kind: Kind, address: int) -> Iterator[Evidence | Note]:
    gone = facts.unloaded_at(address)
    if gone is None or not facts.accusable(gone.name):
        yield Note(f"The {kind.routine} {address:#x} (bugcheck parameter 2) is in no loaded module.")
        return
    yield Evidence(
        rule=f"{kind.id}.dispatch-routine",
        statement=f"The {kind.routine} is {facts.place(address)}: {gone.name} had been unloaded.",
        strength=Strength.STRONG,
        where="bugcheck parameter 2, list of unloaded drivers",
        points_to=(gone.name,),
    )


def _in_box(facts: Facts, kind: Kind, module: Module, place: str) -> Iterator[Evidence | Note]:
    yield Evidence(
        rule=f"{kind.id}.in-box-routine",
        statement=f"The {kind.routine} is {place}, and {module.name} comes with Windows.",
        strength=Strength.WEAK,
        where="bugcheck parameter 2",
    )
    state = facts.dispatch
    if state is not None and state.address and facts.accusable(state.image):
        yield Evidence(
            rule=f"{kind.id}.served-driver",
            statement=f"The device that was called belongs to {state.image}: {module.name} takes its "
            "requests and calls its callbacks.",
            strength=Strength.STRONG,
            where=f"device {state.device:#x} of verifier's saved state",
            points_to=(state.image,),
        )
        return
    yield Note(
        f"{module.name} is not suspected itself. A driver that it calls without IoCallDriver may have "
        "changed the count; verify the drivers below it."
        if kind.counts
        else f"{module.name} is not suspected itself: verify the drivers that it calls."
    )
