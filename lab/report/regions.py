"""The Enter/Leave Critical Region log as a picture: who filled it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from lab.model import Triage
from lab.report import words

TONES = 5  # colours for the callers that fill most of the log; all others share one


@dataclass(frozen=True)
class Caller:
    """One driver's part of the log. `share` is in percent of the entries."""

    image: str
    enters: int
    leaves: int
    total: int
    share: float
    tone: int  # 0..TONES
    balance: str
    on_thread: int  # entries of the crashing thread
    example: tuple[str, ...]  # stack of its newest entry


@dataclass(frozen=True)
class Slot:
    """One entry, newest first: `tone` of its caller, direction, and whether the crashing thread made it."""

    index: int
    tone: int
    direction: str
    ours: bool


@dataclass(frozen=True)
class Regions:
    sentence: str
    used: int
    capacity: int
    callers: tuple[Caller, ...]
    slots: tuple[Slot, ...]


def regions(triage: Triage) -> Regions | None:
    """The picture, or None when Miscellaneous checks were not on in the crashed kernel."""
    facts = triage.verifier
    if facts is None or not facts.log_allocated:
        return None
    thread = triage.thread.address if triage.thread else 0
    totals = Counter(e.caller or "unknown caller" for e in facts.log)
    order = [name for name, _ in sorted(totals.items(), key=lambda item: (-item[1], item[0]))]
    tone = {name: min(i, TONES) for i, name in enumerate(order)}
    callers = tuple(_caller(triage, name, totals, tone[name], thread) for name in order)
    slots = tuple(
        Slot(i, tone[e.caller or "unknown caller"], e.direction, e.thread == thread)
        for i, e in enumerate(facts.log)
    )
    capacity = max(facts.log_capacity, len(facts.log), 1)
    return Regions(_sentence(callers, capacity, thread), len(facts.log), capacity, callers, slots)


def _caller(triage: Triage, name: str, totals: Counter[str], tone: int, thread: int) -> Caller:
    assert triage.verifier is not None
    log = [e for e in triage.verifier.log if (e.caller or "unknown caller") == name]
    enters = sum(e.direction == "enter" for e in log)
    leaves = sum(e.direction == "leave" for e in log)
    if enters + leaves < len(log):
        balance = "directions not known"
    elif enters == leaves:
        balance = "in balance"
    else:
        more = "enter" if enters > leaves else "leave"
        balance = f"{abs(enters - leaves)} more {more} than {'leave' if more == 'enter' else 'enter'}"
    return Caller(
        image=name,
        enters=enters,
        leaves=leaves,
        total=totals[name],
        share=round(100 * totals[name] / sum(totals.values()), 1),
        tone=tone,
        balance=balance,
        on_thread=sum(e.thread == thread for e in log),
        example=log[0].stack,
    )


def _sentence(callers: tuple[Caller, ...], capacity: int, thread: int) -> str:
    if not callers:
        return (
            "The log is empty: no verified driver called KeEnterCriticalRegion or KeLeaveCriticalRegion "
            "where verifier could see it. The guilty calls were inlined by the compiler or made by a mutex."
        )
    used = sum(c.total for c in callers)
    on_thread = sum(c.on_thread for c in callers)
    first = callers[0]
    who = (
        f"All {used} entries are calls of {first.image}"
        if len(callers) == 1
        else f"{first.image} made {first.total} of {used} entries"
    )
    full = f" (the log holds {capacity})" if used < capacity else ", and the log is full"
    seen = (
        f"{words.count(on_thread, 'entry', 'entries')} by the crashing thread"
        if on_thread
        else "none is by the crashing thread"
    )
    return f"{who}{full}; {seen if thread else 'the crashing thread is not known'}."
