"""How often the engine's stated probability was right in simulated searches: figures that are shipped."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from lab.report import words

FILE = "calibration.json"
"""Beside this module: `stated` of the results of `make bench-bisect`. Without it nothing is shown."""

FEWEST = 30
"""Statements that make a dot; a share of fewer would pretend to know."""


@dataclass(frozen=True)
class Dot:
    """Answers stated with about this probability, and how often they were right: both in percent."""

    stated: float
    right: float
    text: str


@dataclass(frozen=True)
class Calibration:
    sentence: str
    dots: tuple[Dot, ...]


@cache
def calibration() -> Calibration | None:
    """The figures that come with the program; None when there are none."""
    try:
        text = resources.files("lab.report").joinpath(FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return of(json.loads(text))


def of(stated: dict[str, Any]) -> Calibration | None:
    """From counts [statements, sum of their probabilities, how many were right]; None without any.

    `stated` has those of the first answer with 99 % of a search ("first certain"), and those of the
    leading answer, by its probability ("by probability"): one a search in each bin.
    """
    count, probability, right = stated["first certain"]
    if not count:
        return None
    sentence = (
        f"In {words.grouped(count)} simulated searches, answers stated with {_percent(probability / count)} "
        f"on average were right {_percent(right / count)} of the time."
    )
    dots = tuple(
        Dot(
            round(100 * p / n, 2), round(100 * k / n, 2), f"stated {_percent(p / n)}, right {_percent(k / n)}"
        )
        for n, p, k in stated["by probability"]
        if n >= FEWEST
    )
    return Calibration(sentence, dots)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
