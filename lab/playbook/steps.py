"""What the playbook can answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lab.model import InvalidReason, Recipe, Verdict


class Rung(StrEnum):
    """Why a trial is run. Stored as the purpose of its recipe."""

    REPRODUCE = "reproduce"
    VERIFIER = "verifier"
    BISECT = "bisect"
    WITHOUT = "confirm: without"
    ONLY = "confirm: only"


@dataclass(frozen=True)
class RunTrial:
    """Run `recipe` next. `headline` is for the timeline, without a colon; `why` is one sentence."""

    recipe: Recipe
    headline: str
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
