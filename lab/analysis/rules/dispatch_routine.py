"""0xC4 and 0xC9 where Driver Verifier names the routine that broke the rule, such as the APC disable count.

A routine of a driver names that driver. A routine of the filter manager names every minifilter attached to
the volume; which of them it was, one dump cannot tell when there are several.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lab.analysis.facts import Facts, function
from lab.analysis.rules.apc_count import left_open, signed16
from lab.analysis.rules.registry import Note, rule
from lab.model import DispatchState, Evidence, FilterInstance, Module, Origin, Strength


@dataclass(frozen=True)
class Kind:
    """What a sub-code says of the routine in parameter 2."""

    id: str
    routine: str
    counts: bool  # parameters 3 and 4 are APC disable counts now and before


KINDS = {
    (0xC4, 0xC5): Kind("0xc4.c5", "dispatch routine", True),
    (0xC4, 0xC6): Kind("0xc4.c6", "fast I/O routine", True),
    (0xC4, 0xFB): Kind("0xc4.fb", "completion routine", True),
    (0xC4, 0xC1): Kind("0xc4.c1", "dispatch routine", False),
    (0xC4, 0xFA): Kind("0xc4.fa", "completion routine", False),
    (0xC9, 0x11): Kind("0xc9.11", "fast I/O routine", False),
    (0xC9, 0x12): Kind("0xc9.12", "dispatch routine", False),
}
"""By (bugcheck, parameter 1), as Microsoft's bug check code reference describes them."""


@rule(0xC4, 0xC9)
def named_routine(facts: Facts) -> Iterator[Evidence | Note]:
    """From the routine to its driver, and through the filter manager to the minifilters of the volume."""
    sub_code, address, now, before = facts.bugcheck.parameters
    kind = KINDS.get((facts.bugcheck.code, sub_code))
    if kind is None:
        yield Note(
            f"There is no rule for sub-code {sub_code:#x} of bugcheck {facts.bugcheck.code:#x} yet; "
            "only the facts are shown."
        )
        return
    if kind.counts:
        yield _change(kind, signed16(now), signed16(before))
    module = facts.module_at(address)
    if module is None:
        yield Note(f"The {kind.routine} {address:#x} (bugcheck parameter 2) is in no loaded module.")
        return
    place = facts.dispatch.dispatch_symbol if facts.dispatch and facts.dispatch.dispatch_symbol else ""
    place = place or facts.place(address)
    if module.name.casefold() == "fltmgr.sys":
        yield Evidence(
            rule=f"{kind.id}.filter-manager",
            statement=f"The {kind.routine} is {place}: a minifilter changed the count.",
            strength=Strength.WEAK,
            where="bugcheck parameter 2",
        )
        yield from _minifilters(facts, kind)
    elif module.origin is Origin.IN_BOX:
        yield from _in_box(facts, kind, module, place)
    else:
        yield Evidence(
            rule=f"{kind.id}.dispatch-routine",
            statement=f"{module.name}'s own {kind.routine} {place} changed the thread's APC disable count."
            if kind.counts
            else f"{module.name}'s own {kind.routine} {place} broke the rule.",
            strength=Strength.PROOF,
            where="bugcheck parameter 2",
            points_to=(module.name,),
        )


@rule(0xC4)
def region_log(facts: Facts) -> Iterator[Evidence | Note]:
    """The critical-region log, when it was on too, may tell several minifilters apart."""
    sub_code, _, now, before = facts.bugcheck.parameters
    kind = KINDS.get((facts.bugcheck.code, sub_code))
    if kind is not None and kind.counts and signed16(now) < signed16(before):
        yield from left_open(facts, kind.id)


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


def _in_box(facts: Facts, kind: Kind, module: Module, place: str) -> Iterator[Evidence | Note]:
    yield Evidence(
        rule=f"{kind.id}.in-box-routine",
        statement=f"The {kind.routine} is {place}, and {module.name} comes with Windows.",
        strength=Strength.WEAK,
        where="bugcheck parameter 2",
    )
    yield Note(
        f"{module.name} is not suspected itself. A driver it calls without IoCallDriver changed the count; "
        "verify the drivers below it."
    )


def _minifilters(facts: Facts, kind: Kind) -> Iterator[Evidence | Note]:
    state = facts.dispatch
    if state is None:
        yield Note("Verifier's saved state was not found, so the volume and its minifilters are not known.")
        return
    if not state.volume:
        yield Note(f"No filter manager volume was found for device {state.device:#x}.")
        return
    candidates = [i for i in state.instances if i.image and i.origin is not Origin.IN_BOX]
    nameless = [i for i in state.instances if not i.image]
    if nameless:
        yield Note(f"The driver of {len(nameless)} instance(s) on the volume could not be read.")
    if reading(facts):
        candidates, idle = _that_handle_read(candidates)
        if idle:
            yield Evidence(
                rule=f"{kind.id}.no-read-callback",
                statement=f"The request was a READ, and {_names(idle)} did not register for it.",
                strength=Strength.MODERATE,
                where="FLT_INSTANCE.CallbackNodes[25]",
                clears=_images(idle),
            )
    images = _images(candidates)
    where = _where(state, candidates)
    if not images:
        yield Note(f"No third-party minifilter is attached to the volume {state.volume_name}.")
    elif len(images) == 1 and not nameless:
        yield Evidence(
            rule=f"{kind.id}.only-minifilter",
            statement=f"{images[0]} is the only third-party minifilter on the volume {state.volume_name}.",
            strength=Strength.STRONG if state.address else Strength.MODERATE,
            where=where,
            points_to=images,
        )
    else:
        yield Evidence(
            rule=f"{kind.id}.minifilters",
            statement=f"One of {len(images)} third-party minifilters on the volume {state.volume_name} "
            f"changed the count: {', '.join(images)}. One dump cannot tell which.",
            strength=Strength.MODERATE,
            where=where,
            points_to=images,
        )


def reading(facts: Facts) -> bool:
    """Whether the checked call was a READ, by the name of the function that called IoCallDriver."""
    functions = [function(frame.symbol) for frame in facts.stack]
    for name in ("nt!IovCallDriver", "nt!IofCallDriver"):
        if name in functions:
            caller = functions[functions.index(name) + 1 :][:1]
            return bool(caller) and "ExecuteRead" in caller[0]
    return False


def _that_handle_read(
    candidates: list[FilterInstance],
) -> tuple[list[FilterInstance], list[FilterInstance]]:
    """(possible, idle). When nobody handles READ the reading of the callbacks is not trusted."""
    possible = [i for i in candidates if i.handles_read is not False]
    active = {i.image.casefold() for i in possible}
    idle = [i for i in candidates if i.image.casefold() not in active]
    return (possible, idle) if possible else (candidates, [])


def _images(instances: list[FilterInstance]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(i.image for i in instances))


def _names(instances: list[FilterInstance]) -> str:
    return ", ".join(_images(instances))


def _where(state: DispatchState, instances: list[FilterInstance]) -> str:
    listed = ", ".join(f'{i.address:#x} "{i.name}" "{i.altitude}"' for i in instances)
    return f"FLT_VOLUME {state.volume:#x} of device {state.device:#x}" + (f": {listed}" if listed else "")
