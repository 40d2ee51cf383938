"""From evidence to a ranking within one crash. What it weighs over many trials is `lab.bisect`'s business."""

from __future__ import annotations

from collections.abc import Sequence

from lab.analysis.facts import Facts
from lab.analysis.rules.fault import FAULT_ADDRESS
from lab.model import Evidence, Strength, Suspect

WEIGHTS = {Strength.WEAK: 1.0, Strength.MODERATE: 3.0, Strength.STRONG: 9.0, Strength.PROOF: 27.0}
"""Only their order and rough ratio matter: one stronger fact outweighs two of the strength below."""


def rank(facts: Facts, evidence: Sequence[Evidence]) -> tuple[Suspect, ...]:
    """Suspects, most suspicious first; weights add up to 1.

    An image is a suspect only through evidence; one rule counts once for an image, at its strongest. Images
    that come with Windows are not, with one exception: the module that holds the instruction at fault is
    named whoever made it, because it happened there.
    """
    by_rule: dict[str, dict[str, float]] = {}
    because: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    for fact in evidence:
        for image in fact.points_to:
            if not facts.accusable(image) and fact.rule != FAULT_ADDRESS:
                continue
            key = image.casefold()
            names.setdefault(key, image)
            rules = by_rule.setdefault(key, {})
            rules[fact.rule] = max(rules.get(fact.rule, 0.0), WEIGHTS[fact.strength])
            because.setdefault(key, []).append(fact.statement)
    scores = {key: sum(rules.values()) for key, rules in by_rule.items()}
    for fact in evidence:
        for image in fact.clears:
            if image.casefold() in scores:
                scores[image.casefold()] -= WEIGHTS[fact.strength]
    left = {key: score for key, score in scores.items() if score > 0}
    total = sum(left.values())
    ranked = sorted(left, key=lambda key: (-left[key], names[key].casefold()))
    return tuple(Suspect(names[key], left[key] / total, tuple(dict.fromkeys(because[key]))) for key in ranked)
