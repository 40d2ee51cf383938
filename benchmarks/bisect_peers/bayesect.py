"""git-bayesect itself: a Bayesian search over the prefixes of an order, yes or no, its rates unknown to it.

Given for free: a baseline like ours with everything on, and as many clean runs with everything off as it
had crashes. It has no rule to stop: here it does at 95 %, as the other peers aim at, or at 99 %. `tuned`
takes for granted that hosts seldom crash without the culprit.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from git_bayesect import Bisector

from benchmarks.bisect_peers.meter import WRONG, Found, Meter, Told, World

CRASHES, MORE_CRASHES, LONG = 2, 5, 3600.0
"""The baseline: at least so many, and more up to so many while it has taken less than so many seconds."""

MOST = 1000
"""Trials after which the search is given up: it can doubt for ever."""


def _search(world: World, told: Told, *, old: tuple[float, float], wrong: float = WRONG) -> Found:
    meter = Meter(world, told)
    n = len(told.names)
    weights = np.ones(n) if told.weights is None else np.array([told.weights[unit] for unit in told.names])
    with np.errstate(divide="ignore", invalid="ignore"):
        bisector = Bisector(np.append(weights, 0.0), alpha_old=old[0], beta_old=old[1])
        for crashed in _baseline(world, told):
            bisector.record(0, crashed)
            if crashed:
                bisector.record(n, False)
        while bisector.distribution.max() < 1 - wrong and meter.trials < MOST:
            at = bisector.select()
            for crashed in meter.together(told.names[at:], told.hosts):
                bisector.record(at, crashed)
        best = int(bisector.distribution.argmax())
        sure = bisector.distribution[best] >= 1 - wrong
    return meter.found(told.names[best : best + 1] if sure else ())


def _baseline(world: World, told: Told) -> list[bool]:
    meter = Meter(world, told)
    seen: list[bool] = []
    while sum(seen) < CRASHES or (sum(seen) < MORE_CRASHES and meter.machine < LONG):
        seen.append(meter.once(told.names))
    return seen


bayesect = partial(_search, old=(0.5, 0.5))
bayesect_tuned = partial(_search, old=(0.3, 29.7))
bayesect_careful = partial(_search, old=(0.3, 29.7), wrong=0.01)
