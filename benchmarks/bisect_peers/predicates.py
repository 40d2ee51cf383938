"""Ways to tell whether a set of units crashes, when not always: one soak, some, or as many as needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from benchmarks.bisect_peers.meter import Meter

Test = Callable[[Sequence[str]], bool]


def once(meter: Meter) -> Test:
    return meter.once


def repeats(p: float, tests: int, wrong: float) -> int:
    """How often to try a set so that `tests` sets that can crash are all seen to, but for `wrong`."""
    missed = 1 - (1 - wrong) ** (1 / tests)
    return max(1, math.ceil(math.log(missed) / math.log1p(-p) - 1e-9))


def some(meter: Meter, times: int) -> Test:
    """Any crash of `times` soaks, on all hosts; the first one stops the rest."""

    def crashes(on: Sequence[str]) -> bool:
        left = times
        while left > 0:
            ran = min(left, meter.told.hosts)
            if any(meter.together(on, ran, until_crash=True)):
                return True
            left -= ran
        return False

    return crashes


def sprt(meter: Meter, wrong: float) -> Test:
    """Wald's sequential test of p against q with `wrong` errors on both sides; all hosts run the same set.

    Known: with the culprit on a host can crash by itself, too.
    """
    told = meter.told
    p, q = 1 - (1 - told.p) * (1 - told.q), told.q
    limit = math.log((1 - wrong) / wrong)
    crash = math.log(p / q) if q > 0 else math.inf
    quiet = math.log((1 - p) / (1 - q))

    def crashes(on: Sequence[str]) -> bool:
        ratio = 0.0
        while abs(ratio) < limit:
            ratio += sum(crash if crashed else quiet for crashed in meter.together(on, told.hosts))
        return ratio > 0

    return crashes
