"""What the playbook can answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lab.bisect.steps import Purpose, Try
from lab.model import InvalidReason, Recipe, Verdict


class Rung(StrEnum):
    """Why a trial is run. Stored as the purpose of its recipe."""

    REPRODUCE = "reproduce"
    VERIFIER = "verifier"
    BASELINE = "baseline"
    ALL_OFF = "all off"
    BISECT = "bisect"
    WITHOUT = "confirm: without"
    ONLY = "confirm: only"


SEARCH = {
    Purpose.BASELINE: Rung.BASELINE,
    Purpose.ALL_OFF: Rung.ALL_OFF,
    Purpose.SEARCH: Rung.BISECT,
    Purpose.WITHOUT: Rung.WITHOUT,
    Purpose.ONLY: Rung.ONLY,
}
"""The rungs of the search over sets of drivers."""


@dataclass(frozen=True)
class RunTrial:
    """Run `recipe` next. `headline` is for the timeline, without a colon; `why` is one sentence.

    `asked` is the search's own word for it, None for the rungs before the search.
    """

    recipe: Recipe
    headline: str
    why: str
    asked: Try | None = None


@dataclass(frozen=True)
class Pause:
    """Nothing is worth starting before a running trial ends."""

    why: str


@dataclass(frozen=True)
class Conclude:
    """Nothing more to do: the verdict."""

    verdict: Verdict


@dataclass(frozen=True)
class Abort:
    """Trials keep being invalid: not a result, but something for a person to mend."""

    reason: InvalidReason
    why: str


Step = RunTrial | Conclude | Abort
