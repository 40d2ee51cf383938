"""The runs with everything on: does it crash at all, how soon, at a steady rate?"""

from __future__ import annotations

import math
from enum import Enum, auto

from lab.bisect.belief import Observation
from lab.bisect.standing import Standing, spoken
from lab.bisect.steps import Answer, Purpose, Running, Try, Wait
from lab.model import VerdictKind

SOAK = 3.0
"""Length of a run with everything on, in usual soaks. Where crashes come at a steady rate it costs nothing to
wait for them; where they are decided at boot, the silences of the good boots show it."""
CRASHES = 2
"""Crashes with everything on that are always wanted first."""
MORE, SOAKS = 5, 6.0
"""So many are taken as long as all runs together took less than so many usual soaks, set-up included."""
HOPELESS_SOAKS = 40.0
"""So long with everything on and without a crash, and it is called not reproducible. Set-up included."""
RARE_SOAKS = 12.0
"""After so many usual soaks, set-up included, one crash must do."""


class _Need(Enum):
    RUN = auto()
    NOTHING = auto()
    HOPELESS = auto()


def baseline(now: Standing) -> Try | Wait | Answer | None:
    """A run with everything on while it is wanted; None when enough is known, or will be."""
    need = _need(now)
    if need is _Need.NOTHING:
        return None
    runs, crashes = _runs(now)
    if need is _Need.HOPELESS:
        load = math.fsum(o.seconds for o in runs)
        said = f"{len(runs)} runs with everything on, {spoken(load)} under load, no crash"
        return Answer(VerdictKind.NOT_REPRODUCIBLE, (), 0.0, (said,))
    if len(_under_way(now)) >= max(1, MORE - crashes):
        return None if crashes >= CRASHES else Wait("the runs with everything on come first")
    seconds = SOAK * now.question.soak
    return Try(now.everything, seconds, Purpose.BASELINE, "everything on: how soon does it crash?")


def known(now: Standing) -> bool:
    """Whether no run with everything on is wanted any more: those under way tell nothing that is needed."""
    return _need(now) is _Need.NOTHING


def _need(now: Standing) -> _Need:
    runs, crashes = _runs(now)
    setup, soak = now.question.setup, now.question.soak
    ended = math.fsum(o.seconds + setup for o in runs) / soak
    soaks = ended + math.fsum(max(setup - r.ahead, 0.0) + r.stood for r in _under_way(now)) / soak
    if crashes >= CRASHES and (crashes >= MORE or soaks >= SOAKS):
        return _Need.NOTHING
    if not any(o.crashed for o in now.seen):
        return _Need.HOPELESS if ended >= HOPELESS_SOAKS else _Need.RUN
    return _Need.NOTHING if crashes and ended >= RARE_SOAKS else _Need.RUN


def _runs(now: Standing) -> tuple[list[Observation], int]:
    runs = [o for o in now.seen if o.on == now.everything]
    return runs, sum(o.crashed for o in runs)


def _under_way(now: Standing) -> list[Running]:
    return [r for r in now.running if r.purpose is Purpose.BASELINE]
