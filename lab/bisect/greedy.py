"""The simple engine: one trial after the other, each chosen for the most information.

What a run can tell is the mutual information between "who is it" and "does it crash", the rates
integrated out (the answer's entropy less its entropy when the culprit is known). A set is improved by
switching single units from a few starts, until no switch helps. Only sums over hypotheses are needed,
so a switch costs constant time.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable

from lab.bisect.old_belief import SYSTEM, Belief, Hazard, active

_RANDOM_STARTS = 3
_SWEEPS = 8
_GAIN = 1e-12


def next_set(
    belief: Belief, allowed: frozenset[str], always: frozenset[str] = frozenset(), *, seed: int = 0
) -> frozenset[str]:
    """The units to leave on next, for a soak of `belief.soak` seconds (see `port.Engine`).

    Deterministic: random starts come from `seed` and the number of observations so far.
    """
    units = frozenset(belief.units)
    free = sorted((allowed & units) - always)
    fixed = always & units
    odds = random.Random(f"{seed}/{len(belief.observations)}/{len(free)}")
    best, most = frozenset(fixed), -1.0
    for start in _starts(belief, free, fixed, odds):
        found, bits = _climb(_Scores(belief), free, fixed | start)
        if bits > most + _GAIN:
            best, most = found, bits
    return best | always


def information(belief: Belief, enabled: frozenset[str]) -> float:
    """Bits that a soak of `belief.soak` seconds with these units on is expected to tell of the culprit."""
    return _Scores(belief).start(enabled)


def soak_seconds(belief: Belief, enabled: frozenset[str], confidence: float = 0.95) -> float:
    """How many seconds of load without a crash are convincing with these units on.

    So long that, were the culprit among them (or none of the units), a crash would have come with
    probability `confidence`, by the rates learned so far. When that is already all but excluded, the
    rates of all hypotheses count: how long the crash takes with its culprit on.
    """
    if not 0 < confidence < 1:
        raise ValueError("confidence must be between 0 and 1")
    hypotheses = belief.weighed.items()
    rivals = [(h.probability, h.on) for name, h in hypotheses if active(name, enabled)]
    mass = math.fsum(p for p, _ in rivals)
    if mass < 1 - confidence:
        rivals, mass = [(h.probability, h.on) for _, h in hypotheses], 1.0
    low, high = 0.0, belief.soak
    while _stands(rivals, high) > (1 - confidence) * mass:
        low, high = high, high * 2
    for _ in range(40):
        middle = (low + high) / 2
        if _stands(rivals, middle) > (1 - confidence) * mass:
            low = middle
        else:
            high = middle
    return high


def _stands(mixture: Iterable[tuple[float, Hazard]], seconds: float) -> float:
    return math.fsum(p * hazard.stands(seconds) for p, hazard in mixture)


def _starts(
    belief: Belief, free: list[str], fixed: frozenset[str], odds: random.Random
) -> list[frozenset[str]]:
    """Half of the probability, dealt out from the top; its complement; and some at random."""
    posterior = belief.posterior()
    half: set[str] = set()
    mass = posterior[SYSTEM] + math.fsum(posterior[u] for u in fixed)
    for unit in sorted(free, key=lambda u: (-posterior[u], u)):
        if mass + posterior[unit] <= 0.5 or not half:
            half.add(unit)
            mass += posterior[unit]
    starts = [frozenset(half), frozenset(free) - half]
    for _ in range(_RANDOM_STARTS):
        share = odds.uniform(0.35, 0.75)
        starts.append(frozenset(u for u in free if odds.random() < share))
    return starts


def _climb(scores: _Scores, free: list[str], start: frozenset[str]) -> tuple[frozenset[str], float]:
    enabled, bits = set(start), scores.start(start)
    for _ in range(_SWEEPS):
        improved = False
        for unit in free:
            switched = scores.switched(unit, unit not in enabled)
            if switched > bits + _GAIN:
                bits, improved = switched, True
                scores.switch(unit, unit not in enabled)
                enabled ^= {unit}
        if not improved:
            break
    return frozenset(enabled), bits


class _Scores:
    """The two sums of the mutual information for one set, and what each unit adds to them when on."""

    def __init__(self, belief: Belief) -> None:
        crash, known = [], []
        self.added: dict[str, tuple[float, float]] = {}
        for name, h in belief.weighed.items():
            on, off = (1.0 - side.stands(belief.soak) for side in (h.on, h.off))
            first = on if name == SYSTEM else off
            crash.append(h.probability * first)
            known.append(h.probability * _entropy(first))
            if name != SYSTEM:
                self.added[name] = (
                    h.probability * (on - off),
                    h.probability * (_entropy(on) - _entropy(off)),
                )
        self.crash, self.known = math.fsum(crash), math.fsum(known)

    def start(self, enabled: frozenset[str]) -> float:
        for unit in sorted(enabled & self.added.keys()):
            self.switch(unit, True)
        return _entropy(self.crash) - self.known

    def switch(self, unit: str, on: bool) -> None:
        crash, known = self.added[unit]
        sign = 1.0 if on else -1.0
        self.crash += sign * crash
        self.known += sign * known

    def switched(self, unit: str, on: bool) -> float:
        crash, known = self.added[unit]
        sign = 1.0 if on else -1.0
        return _entropy(self.crash + sign * crash) - (self.known + sign * known)


def _entropy(p: float) -> float:
    """Bits of a yes/no answer that is yes with probability `p`."""
    if p <= 0.0 or p >= 1.0:
        return 0.0
    return -(p * math.log2(p) + (1 - p) * math.log2(1 - p))
