"""Third-party drivers that no trial was ever without: clearing the others says nothing of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lab.model import Case, Driver, Invalid, Origin, Relation, Strength, VerdictKind, compare
from lab.report import crash, drivers, survival, words
from lab.report.drivers import DriverCard

_SHOWN = 3
"""Pieces of evidence to quote for one driver; the rest stands with its crash."""


@dataclass(frozen=True)
class Untested:
    """`why` is the reason it was never off, a clause; `named` are sentences, the strongest evidence first."""

    card: DriverCard
    why: str
    named: tuple[str, ...]


def untested(case: Case) -> tuple[Untested, ...]:
    """Those the verdict leaves open, those named by evidence first.

    Of SYSTEM all that ran: it clears only what could be switched off. Of UNDECIDED the pinned ones that
    evidence names: the trials were never going to say anything of them. Of any other verdict none.
    """
    verdict = case.verdict
    if verdict is None or verdict.kind not in (VerdictKind.SYSTEM, VerdictKind.UNDECIDED):
        return ()
    accused = drivers.culprit_names(case)
    found = []
    for driver in case.drivers:
        why = _why(case, driver)
        if not why or driver.service.casefold() in accused:
            continue
        named = tuple(_named(case, driver))
        if verdict.kind is VerdictKind.SYSTEM or (driver.pinned and named):
            found.append(Untested(drivers.card(case, driver), why, named))
    return tuple(sorted(found, key=lambda u: (not u.named, u.card.image.casefold())))


def _why(case: Case, driver: Driver) -> str:
    """Why no trial was without it; "" for a driver of Windows, one that did not run, or one that was off."""
    if driver.origin is Origin.IN_BOX or not driver.running:
        return ""
    valid = [t for t in case.trials if not isinstance(t.outcome, Invalid)]
    always = all(survival.has(t, (driver.service,)) for t in valid)
    if driver.pinned:
        # A pin may be younger than a trial; but a trial that only failed to list it was not without it.
        asked = any(drivers.same(driver.service, s) for t in valid for s in t.recipe.disabled)
        return "" if asked and not always else f"pinned: {driver.pinned}"
    return "it was on in every trial" if always else ""


def _named(case: Case, driver: Driver) -> Iterator[str]:
    """What the dumps hold against it, equal statements of several crashes in one sentence."""
    names = {driver.image.casefold(), driver.service.casefold()}
    strengths = tuple(Strength)
    found: dict[tuple[Strength, str], list[str]] = {}
    for view, sha in zip(crash.crashes(case), crash.anchors(case), strict=True):
        relation = compare(case.expected, case.crashes[sha].signature)
        if relation is Relation.OURS:
            continue
        where = view.title[0].lower() + view.title[1:]
        where += " (a different crash)" if relation is Relation.OTHER else ""
        for e in case.crashes[sha].evidence:
            if names & {n.casefold() for n in e.points_to}:
                found.setdefault((e.strength, e.statement), []).append(where)
    ordered = sorted(found.items(), key=lambda item: -strengths.index(item[0][0]))
    for (strength, statement), places in ordered[:_SHOWN]:
        kind = "proof" if strength is Strength.PROOF else f"{strength.value} evidence"
        yield f"Named by {kind} in {words.names(list(dict.fromkeys(places)))}: {words.sentence(statement)}"


def told(reason: str, items: tuple[Untested, ...]) -> bool:
    """True if a reason of the verdict says only that one of `items` was never switched off."""
    head = reason.casefold()
    return "never switched off" in head and any(
        head.startswith((f"{u.card.image} ".casefold(), f"{u.card.service} ".casefold())) for u in items
    )


def images(items: tuple[Untested, ...]) -> tuple[str, ...]:
    return tuple(u.card.image for u in items)
