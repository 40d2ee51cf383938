"""When a routine of the filter manager broke a rule: which minifilter did it.

The request passed through the instances of one volume. A single third-party one is named; of several the
whole set is, never one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from lab.analysis.altitudes import group_of
from lab.analysis.facts import Facts, function
from lab.analysis.rules.registry import Note
from lab.kernel.irp import READ, major_name
from lab.model import DispatchState, Evidence, FilterInstance, Frame, Origin, Strength

_BY_CALLER = {"ExecuteRead": READ, "ExecuteWrite": 4, "ExecuteCreate": 0, "ExecuteFlush": 9}


def minifilters(facts: Facts, family: str, did: str) -> Iterator[Evidence | Note]:
    """Evidence against the third-party minifilters that the request passed through.

    `did` completes the sentence "one of them ...".
    """
    state = facts.dispatch
    if state is None or not state.volume:
        yield (
            Note("Without verifier's saved state the volume and its minifilters are not known.")
            if state is None
            else Note(f"No filter manager volume was found for device {state.device:#x}.")
        )
        yield from _any_volume(facts, family)
        return
    nameless = [i for i in state.instances if not i.image]
    if nameless:
        yield Note(
            f"The driver of {len(nameless)} instance(s) on the volume could not be read{_hint(nameless)}."
        )
    candidates = _foreign(state.instances)
    major = request_major(facts)
    only_for = ""
    if major is not None:
        candidates, idle = _that_handle(candidates)
        if idle:
            only_for = major_name(major)
            yield Evidence(
                rule=f"{family}.no-callback",
                statement=f"The request was {only_for}, and {_names(idle)} did not register for it.",
                strength=Strength.WEAK,
                where=f"FLT_INSTANCE.CallbackNodes[{major + 22}]",
                clears=_images(idle),
            )
    yield from _named(state, family, did, candidates, nameless, only_for)
    yield from _elsewhere(facts, state, family)


def _named(
    state: DispatchState,
    family: str,
    did: str,
    candidates: list[FilterInstance],
    nameless: list[FilterInstance],
    only_for: str,
) -> Iterator[Evidence | Note]:
    """`only_for` is the major function when `candidates` are only those that registered for it, else ""."""
    images = _images(candidates)
    which = f"the volume {state.volume_name}" + (f" that registered for {only_for}" if only_for else "")
    where = _where(state, candidates)
    if not images and not nameless:
        yield Note(
            f"No third-party minifilter is attached to the volume {state.volume_name}, so nobody is accused "
            "by the routine alone. A driver that a minifilter of Windows calls, or one below the file "
            f"system, may be the one that {did}: verify those with I/O verification (0x10) too, and turn on "
            "Miscellaneous checks (0x800) for the critical-region log."
        )
    elif len(images) == 1 and not nameless:
        yield Evidence(
            rule=f"{family}.only-minifilter",
            statement=f"{images[0]} is the only third-party minifilter on {which}.",
            strength=Strength.STRONG if state.address and not only_for else Strength.MODERATE,
            where=where,
            points_to=images,
        )
    elif images:
        yield Evidence(
            rule=f"{family}.minifilters",
            statement=f"One of {len(images)} third-party minifilters on {which} "
            f"{did}: {', '.join(images)}. One dump cannot tell which.",
            strength=Strength.MODERATE,
            where=where,
            points_to=images,
        )


def _any_volume(facts: Facts, family: str) -> Iterator[Evidence]:
    """Without the volume, any third-party minifilter of the system may be the one."""
    images = _images(_foreign(facts.elsewhere))
    if images:
        yield Evidence(
            rule=f"{family}.minifilters-of-any-volume",
            statement=f"The volume of the request is not known. Third-party minifilters of any volume: "
            f"{', '.join(images)}.",
            strength=Strength.WEAK,
            where="fltmgr!FltGlobals, every attached volume",
            points_to=images,
        )


def _elsewhere(facts: Facts, state: DispatchState, family: str) -> Iterator[Evidence]:
    """A minifilter that is attached to other volumes only never saw this request."""
    here = {i.image.casefold() for i in state.instances}
    absent = [i for i in _foreign(facts.elsewhere) if i.image.casefold() not in here]
    if absent and state.address:
        yield Evidence(
            rule=f"{family}.other-volumes",
            statement=f"{_names(absent)} is attached to other volumes only; the request was for "
            f"{state.volume_name}.",
            strength=Strength.WEAK,
            where="instances of the other volumes",
            clears=_images(absent),
        )


def request_major(facts: Facts) -> int | None:
    """The major function of the checked request: from its IRP, else by the function that sent it."""
    return facts.major if facts.major is not None else major_by_sender(facts.stack)


def major_by_sender(stack: Sequence[Frame]) -> int | None:
    """The major function that the caller of IoCallDriver sends, by its name; None when that does not tell."""
    functions = [function(frame.symbol) for frame in stack]
    for name in ("nt!IovCallDriver", "nt!IofCallDriver"):
        if name in functions:
            sender = "".join(functions[functions.index(name) + 1 :][:1])
            return next((major for part, major in _BY_CALLER.items() if part in sender), None)
    return None


def _that_handle(candidates: list[FilterInstance]) -> tuple[list[FilterInstance], list[FilterInstance]]:
    """(possible, idle). When nobody handles the request the reading of the callbacks is not trusted."""
    possible = [i for i in candidates if i.handles_read is not False]
    active = {i.image.casefold() for i in possible}
    idle = [i for i in candidates if i.image.casefold() not in active]
    return (possible, idle) if possible else (candidates, [])


def _foreign(instances: Iterable[FilterInstance]) -> list[FilterInstance]:
    return [i for i in instances if i.image and i.origin is not Origin.IN_BOX]


def _images(instances: Iterable[FilterInstance]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(i.image for i in instances))


def _names(instances: Iterable[FilterInstance]) -> str:
    return ", ".join(_images(instances))


def _hint(instances: Sequence[FilterInstance]) -> str:
    groups = [(i, group_of(i.altitude)) for i in instances]
    said = "; ".join(f"altitude {i.altitude}, {group.name}" for i, group in groups if group)
    return f" ({said}: a weak hint at what it is)" if said else ""


def _where(state: DispatchState, instances: Iterable[FilterInstance]) -> str:
    listed = ", ".join(f'{i.address:#x} "{i.name}" "{i.altitude}"' for i in instances)
    return f"FLT_VOLUME {state.volume:#x} of device {state.device:#x}" + (f": {listed}" if listed else "")
