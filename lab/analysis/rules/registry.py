"""Which rules speak about which bugcheck."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from lab.analysis.facts import Facts
from lab.model import Evidence


@dataclass(frozen=True)
class Note:
    """What a rule could not say, and why; or what to do to learn more."""

    text: str


Rule = Callable[[Facts], Iterator[Evidence | Note]]

_RULES: dict[int, list[Rule]] = {}


def rule(*codes: int) -> Callable[[Rule], Rule]:
    """Registers a rule for bugcheck codes. Rules of one code run in the order they were registered."""

    def register(function: Rule) -> Rule:
        for code in codes:
            _RULES.setdefault(code, []).append(function)
        return function

    return register


def rules_for(code: int) -> tuple[Rule, ...]:
    return tuple(_RULES.get(code, ()))


def codes() -> frozenset[int]:
    """Every bugcheck that some rule speaks about."""
    return frozenset(_RULES)


def apply(facts: Facts, rules: Iterable[Rule] | None = None) -> tuple[tuple[Evidence, ...], tuple[str, ...]]:
    """(evidence, notes) of every rule for the bugcheck of `facts`."""
    evidence: list[Evidence] = []
    notes: list[str] = []
    chosen = rules_for(facts.bugcheck.code) if rules is None else tuple(rules)
    if not chosen:
        notes.append(f"There is no rule for bugcheck {facts.bugcheck.code:#x} yet; only the facts are shown.")
    for each in chosen:
        for said in each(facts):
            if isinstance(said, Note):
                notes.append(said.text)
            else:
                evidence.append(said)
    return tuple(evidence), tuple(notes)
