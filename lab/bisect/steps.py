"""What a search is asked and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lab.model import VerdictKind


class Purpose(StrEnum):
    """Why a trial is run."""

    BASELINE = "baseline"
    ALL_OFF = "all off"
    SEARCH = "search"
    ONLY = "confirm: only"
    WITHOUT = "confirm: without"


@dataclass(frozen=True)
class Running:
    """A trial that has not ended: `planned` seconds under load, of which it has stood `stood`.

    `ahead` are the seconds until its load begins.
    """

    on: frozenset[str]
    planned: float
    stood: float
    purpose: Purpose
    ahead: float = 0.0


@dataclass(frozen=True)
class Try:
    """Start this trial next. `bits` is what it is expected to tell, 0 for a baseline run.

    `likely` are the seconds under load that it is expected to take, as a crash ends it (None: all).
    """

    on: frozenset[str]
    seconds: float
    purpose: Purpose
    why: str
    bits: float = 0.0
    likely: float | None = None


@dataclass(frozen=True)
class Wait:
    """Nothing useful can be started before a running trial ends."""

    why: str


@dataclass(frozen=True)
class Answer:
    """`culprits` are unit names, `probability` that of the whole answer, `confirmed_by` trial numbers."""

    kind: VerdictKind
    culprits: tuple[str, ...]
    probability: float
    because: tuple[str, ...]
    confirmed_by: tuple[int, ...] = ()
    would_decide: str = ""
