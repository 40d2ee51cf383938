"""Binary searches over an order of the units: exactly one of them is to blame, says each."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.bisect_peers.meter import WRONG, Found, Meter, Told, World
from benchmarks.bisect_peers.predicates import Test, once, repeats, some, sprt


def bisect_once(world: World, told: Told) -> Found:
    """As `git bisect run` does: every answer of one soak is final."""
    meter = Meter(world, told)
    return _halve(meter, once(meter))


def bisect_repeated(world: World, told: Told) -> Found:
    """As many soaks a step as make 95 % right in the end, p known; any crash says the culprit is in it."""
    meter = Meter(world, told)
    return _halve(meter, some(meter, repeats(told.p, steps(len(told.names)), WRONG)))


def bisect_sprt(world: World, told: Told) -> Found:
    """A sequential test a step, p and q known, 5 % wrong in all."""
    meter = Meter(world, told)
    return _halve(meter, sprt(meter, WRONG / steps(len(told.names))))


def steps(n: int) -> int:
    return max(1, math.ceil(math.log2(n)))


def _halve(meter: Meter, crashes: Test) -> Found:
    left: Sequence[str] = meter.told.names
    while len(left) > 1:
        middle = _middle(left, meter.told)
        left = left[:middle] if crashes(left[:middle]) else left[middle:]
    return meter.found(left)


def _middle(left: Sequence[str], told: Told) -> int:
    """Where about half of the suspicion lies on either side."""
    weights = told.weights
    if weights is None:
        return len(left) // 2
    total, below, best = sum(weights[unit] for unit in left), 0.0, (math.inf, 1)
    for at, unit in enumerate(left[:-1], 1):
        below += weights[unit]
        best = min(best, (abs(total / 2 - below), at))
    return best[1]
