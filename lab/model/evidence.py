"""Checked facts from a dump or a host, and what they say about drivers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Strength(StrEnum):
    """How much one fact moves us. Weights (log-odds) are `lab.bisect`'s business."""

    WEAK = "weak"
    MODERATE = "moderate"
    STRONG = "strong"
    PROOF = "proof"


@dataclass(frozen=True)
class Evidence:
    """One checked fact. `points_to`/`clears` hold image file names as loaded ("BadDriver.sys")."""

    rule: str  # stable id of the rule, e.g. "0xc4.c5.dispatch-routine"
    statement: str  # one sentence for a person
    strength: Strength
    where: str  # address, structure or file that it was read from
    points_to: tuple[str, ...] = ()
    clears: tuple[str, ...] = ()


@dataclass(frozen=True)
class Suspect:
    """A driver that evidence of one crash points to. `weight` in 0..1, relative within the crash."""

    image: str
    weight: float
    because: tuple[str, ...]
