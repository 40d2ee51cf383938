"""The order of a whole search: baseline, all off, search, confirm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from lab.bisect import greedy
from lab.bisect.belief import SYSTEM, Belief
from lab.bisect.confirm import CONFIDENCE, Confirmations, next_confirmation
from lab.bisect.port import Engine
from lab.bisect.verdict import THRESHOLD, decide

BASELINE_CRASHES = 2
"""Crashes to see before the search: they tell how long a crash takes, and that it comes at all."""


class Stage(StrEnum):
    BASELINE = "baseline"
    ALL_OFF = "all off"
    SEARCH = "search"
    CONFIRM = "confirm"


@dataclass(frozen=True)
class Run:
    """The units to leave on next, and how long to keep the load up if nothing happens."""

    stage: Stage
    enabled: frozenset[str]
    seconds: float


def next_run(
    belief: Belief,
    seen: Confirmations,
    *,
    allowed: frozenset[str] | None = None,
    always: frozenset[str] = frozenset(),
    threshold: float = THRESHOLD,
    engine: Engine = greedy,
) -> Run | None:
    """What to run next; None when the verdict is certain. How many runs to spend is the caller's choice.

    First everything on, until it has crashed twice. Then one long run with everything off: only that
    tells a driver from Windows or the hardware in one go. Then sets chosen by `engine`, and at
    `threshold` the confirming runs. `allowed` (None: all) may be on, `always` stay on.
    """
    if decide(belief, seen, threshold=threshold) is not None:
        return None
    may = frozenset(belief.units) if allowed is None else allowed | always
    if belief.crashes < BASELINE_CRASHES:
        return Run(Stage.BASELINE, may | always, belief.soak)
    off = math.fsum(o.seconds for o in belief.observations if not o.enabled - always)
    silence = engine.soak_seconds(belief, always, CONFIDENCE)
    crashed_off = any(o.crashed and not o.enabled for o in belief.observations)
    if off == 0 and not crashed_off:
        return Run(Stage.ALL_OFF, always, max(belief.soak, silence))
    wanted = next_confirmation(belief, seen)
    if belief.posterior()[seen.culprit] >= threshold and wanted is not None:
        enabled = (wanted & may) | always
        left = engine.soak_seconds(belief, enabled)
        if seen.culprit != SYSTEM and seen.alone:
            left = seen.needed - seen.stood
        return Run(Stage.CONFIRM, enabled, max(belief.soak, left))
    return Run(Stage.SEARCH, engine.next_set(belief, may, always), belief.soak)
