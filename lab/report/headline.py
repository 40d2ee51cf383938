"""The answer of a case in one sentence."""

from __future__ import annotations

from typing import assert_never

from lab.model import Case, Crashed, Relation, Survived, Verdict, VerdictKind
from lab.report import bugchecks, culprits, drivers, survival, words
from lab.report.untested import Untested, images

Pieces = tuple[tuple[str, bool], ...]
"""A sentence in pieces: (text, is a driver's name)."""


def apc_count(case: Case) -> str:
    """The signed count, from the dumps or else from the trials' bugchecks."""
    if not bugchecks.about_apc(case.expected):
        return ""
    ours = (Relation.SAME, Relation.SIBLING)
    first = [case.crashes[case.customer]] if case.customer in case.crashes else []
    stops = [t.bugcheck for t in (*first, *case.crashes.values())]
    stops += [
        t.outcome.bugcheck
        for t in case.trials
        if isinstance(t.outcome, Crashed) and t.outcome.relation in ours
    ]
    found = (bugchecks.apc_count(b) for b in stops)
    return next((words.signed(c) for c in found if c), "")


def _fault(case: Case, *, many: bool = False) -> str:
    """What the culprit does, as a verb phrase for "it", or for `many`."""
    if not bugchecks.about_apc(case.expected):
        return "cause the crash" if many else "causes the crash"
    if apc_count(case).startswith("+"):
        return "enable APCs they never disabled" if many else "enables APCs it never disabled"
    return "leave APCs disabled" if many else "leaves APCs disabled"


def stops_without(case: Case) -> bool:
    """True if trials without the culprits stood and none crashed."""
    _, without = survival.split(case)
    return bool(without) and all(isinstance(t.outcome, Survived) for t in without)


def headline(case: Case, verdict: Verdict | None, open_ones: tuple[Untested, ...]) -> Pieces:
    if verdict is None:
        return (("This case is still open.", False),)
    accused = [drivers.image(case, s) for s in verdict.culprits]
    several = len(accused) > 1
    match verdict.kind:
        case VerdictKind.DRIVER:
            together = " together" if several else ""
            does = f"{together} {_fault(case, many=several)}"
            return (
                *listed(accused, "and"),
                (f"{does}{_and_stops(case, 'them' if several else 'it')}.", False),
            )
        case VerdictKind.PAIR | VerdictKind.TRIPLE:
            what = f" {_fault(case, many=True)} only together"
            which = "either of them" if len(accused) == 2 else "any one of them"
            return (*listed(accused, "and"), (f"{what}{_and_stops(case, which)}.", False))
        case VerdictKind.EACH_OF:
            what = f" {_fault(case, many=True)}, each by itself"
            which = "both" if len(accused) == 2 else "all of them"
            return (*listed(accused, "and"), (f"{what}{_and_stops(case, which)}.", False))
        case VerdictKind.ONE_OF:
            apart = ": in every trial they were on or off together" if culprits.inseparable(case) else ""
            return (("Either ", False), *listed(accused, "or"), (f" {_fault(case)}{apart}.", False))
        case VerdictKind.SYSTEM:
            if not open_ones:
                return (("No third-party driver is to blame: the crash comes without them.", False),)
            none = "None of the removable third-party drivers is to blame: the crash comes without them."
            return ((none, False),)
        case VerdictKind.NOT_REPRODUCIBLE:
            return (("The crash did not come back in the lab.", False),)
        case VerdictKind.UNDECIDED:
            return _undecided(accused, [*images(open_ones)], together=verdict.together)
        case _:
            assert_never(verdict.kind)


def _undecided(accused: list[str], untried: list[str], *, together: bool) -> Pieces:
    """`accused` are the leading candidates, or `together` one, `untried` those that evidence names and no
    trial was without."""
    if not accused and not untried:
        return (("Not decided yet: the trials do not single out a driver.", False),)
    rest = (f", which {'was' if len(untried) == 1 else 'were'} never switched off.", False)
    if not accused:
        return (("Not decided yet: evidence names ", False), *listed(untried, "and"), rest)
    maybe = (("Not decided yet: it may be ", False), *listed(accused, "and" if together else "or"))
    if together:
        maybe = (*maybe, (" together", False))
    if not untried:
        return (*maybe, (".", False))
    return (*maybe, ("; or ", False), *listed(untried, "or"), rest)


def _and_stops(case: Case, it: str) -> str:
    return f"; removing {it} stops the crash" if stops_without(case) else ""


def listed(names: list[str], last: str) -> Pieces:
    pieces: list[tuple[str, bool]] = []
    for i, name in enumerate(names):
        if i:
            pieces.append((f" {last} " if i == len(names) - 1 else ", ", False))
        pieces.append((name, True))
    return tuple(pieces)
