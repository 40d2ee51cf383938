"""How much evidence from dumps moves the search before the first trial."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from lab.model import Evidence, Strength

WEIGHTS = {Strength.WEAK: 1.0, Strength.MODERATE: 3.0, Strength.STRONG: 12.0, Strength.PROOF: 60.0}
"""How much one fact weighs against `KNOW_NOTHING`. Guesses, not measured; to be learned from solved cases."""

KNOW_NOTHING = 4.0
"""The weight of "the evidence misleads": one weak fact is believed 1 : 4, one strong fact 12 : 4."""

CAP = 0.9
"""All evidence together moves at most this share of the prior: evidence that misleads must not cost much."""

_CLEARED = 0.1
"""The least that is left of a unit's share, however often it is cleared."""


def prior(units: Mapping[str, tuple[str, ...]], evidences: Iterable[Evidence]) -> dict[str, float]:
    """The share of each unit, all above zero and summing to 1.

    `units` gives each unit's image file names ("BadDriver.sys"), compared without regard to case.
    A fact that names several units speaks for each of them. The same rule about the same image counts
    once, however many dumps show it. A unit is cleared when all its images are.
    """
    if not units:
        return {}
    points: dict[tuple[str, str], float] = {}
    clears: dict[tuple[str, str], float] = {}
    for evidence in evidences:
        weight = WEIGHTS[evidence.strength]
        for facts, images in ((points, evidence.points_to), (clears, evidence.clears)):
            for image in images:
                key = (evidence.rule, image.casefold())
                facts[key] = max(weight, facts.get(key, 0.0))

    left = {unit: _left(images, clears) for unit, images in units.items()}
    scores = {unit: left[unit] * _score(images, points) for unit, images in units.items()}
    total, spread = math.fsum(scores.values()), math.fsum(left.values())
    trust = min(CAP, total / (total + KNOW_NOTHING))
    return {
        unit: (1.0 - trust) * left[unit] / spread + (trust * scores[unit] / total if total > 0 else 0.0)
        for unit in units
    }


def _score(images: tuple[str, ...], points: Mapping[tuple[str, str], float]) -> float:
    """Sum over the rules that point to any of the images."""
    names = {image.casefold() for image in images}
    rules: dict[str, float] = {}
    for (rule, image), weight in points.items():
        if image in names:
            rules[rule] = max(weight, rules.get(rule, 0.0))
    return math.fsum(rules.values())


def _left(images: tuple[str, ...], clears: Mapping[tuple[str, str], float]) -> float:
    """What clearing facts leave of a unit: 1 when not cleared, never less than a floor."""
    shares = []
    for image in images:
        mine = math.fsum(weight for (_, name), weight in clears.items() if name == image.casefold())
        shares.append(1.0 / (1.0 + mine))
    return max(_CLEARED, max(shares, default=1.0))
