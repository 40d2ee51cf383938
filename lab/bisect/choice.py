"""The next trial: the set of units and the soak that are expected to tell most for their time.

What a trial tells is the mutual information between "who is it" and "does it crash", the rates integrated
out, given the trials that still run elsewhere. Divided by the expected minutes (a crash ends a run early)
it is the score. Sets are improved by the best single switch, from a few starts, until none helps; the
soak is improved along a grid with the set kept as the start.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lab.bisect.belief import Belief
from lab.bisect.forms import Forms, Given, Pending
from lab.bisect.hazard import Floats
from lab.bisect.hypotheses import Kind
from lab.bisect.units import Units

SOAKS = tuple(float(f) for f in np.round(np.geomspace(0.15, 6.0, 22), 3))
"""Lengths of a soak that are tried, in usual soaks."""
MOST_PENDING = 3
"""Runs elsewhere whose outcomes are weighed: those with the most time left."""
OVER = 0.02
"""Usual soaks. With less left of it a run elsewhere is as good as over."""
ALONE = 2.0
"""A restart is weighed so many times: bits per minute look one trial ahead, and fewer and longer ones end
sooner. Found by simulation."""
BESIDE_OTHERS = 4.0
"""The same while other trials run: what is chosen now will be out of date sooner than it would be alone; a
long soak can then be ended early, a restart is spent."""
_GAIN = 1e-9


class Choice(NamedTuple):
    """A set to switch on, its soak, what it is expected to tell, and how long the trial should take.

    `rate` is what the choice was made by: bits per second, the restart weighed as `restart` says, times the
    chance that the set boots.
    """

    on: frozenset[str]
    seconds: float
    bits: float
    expected_seconds: float
    rate: float


def choose(belief: Belief, pending: Sequence[Pending] = (), *, longest: float | None = None) -> Choice:
    """The trial with the most bits per second. Deterministic.

    `longest` limits the soak in seconds.
    """
    question = belief.question
    given = given_what_runs(belief, pending)
    grid = [f * question.soak for f in SOAKS]
    if longest is not None:
        grid = [s for s in grid if s <= longest] or [longest]
    booting = _Booting(belief)
    starts = _starts(belief)
    best = _climb_soaks(given, grid, _first_soak(given, grid), booting, starts)
    return Choice(question.units.named(best.on > 0), best.seconds, best.bits, best.length, best.score)


def _climb_soaks(
    given: Given,
    grid: list[float],
    at: int,
    booting: _Booting,
    starts: Sequence[Floats],
) -> _Found:
    """The best trial in reach of one soak: along the grid while that helps."""
    best = _best_set(given, grid[at], booting, starts)
    for step in (1, -1):
        here = at
        while 0 <= here + step < len(grid):
            found = _best_set(given, grid[here + step], booting, [best.on])
            if found.score <= best.score:
                break
            best, here = found, here + step
        if here != at:
            break
    return best


class Told(NamedTuple):
    """What a run is expected to tell: bits per second, and bits."""

    rate: float
    bits: float


def told(given: Given, on: frozenset[str], seconds: float, setup: float) -> Told:
    """What a soak of one set is expected to tell, `setup` seconds from now."""
    forms = Forms(given, seconds)
    rate, bits = forms.score(forms.sums(given.belief.question.units.marks(on).astype(float)), setup)
    return Told(float(rate), float(bits))


def given_what_runs(belief: Belief, pending: Sequence[Pending]) -> Given:
    """A belief with the outcomes of what runs elsewhere, as far as they are weighed."""
    open_ones = [run for run in pending if run.seconds > OVER * belief.question.soak]
    return Given(belief, tuple(sorted(open_ones, key=lambda run: -run.seconds)[:MOST_PENDING]))


def restart(given: Given) -> float:
    """The seconds that a restart is weighed at."""
    return given.belief.question.setup * (BESIDE_OTHERS if given.rows > 1 else ALONE)


class _Found(NamedTuple):
    score: float
    bits: float
    seconds: float
    length: float
    on: Floats


def _best_set(
    given: Given,
    seconds: float,
    booting: _Booting,
    starts: Sequence[Floats],
) -> _Found:
    forms = Forms(given, seconds)
    climbs = (_climb(forms, given, seconds, booting, start) for start in starts)
    return max(climbs, key=lambda found: found.score)


def _climb(forms: Forms, given: Given, seconds: float, booting: _Booting, start: Floats) -> _Found:
    """Switch the unit that helps most, with what must move with it, until none helps."""
    question, setup = given.belief.question, restart(given)
    units = question.units
    on = start.copy()
    sums = forms.sums(on)
    rows = forms.stack @ on
    score, bits = forms.score(sums, setup)
    best = float(score) * booting.chance(on)
    for _ in range(4 * len(units)):
        moved = forms.switched(on, sums, rows)
        sets: Floats | None = None
        if not units.free:
            sets = _closed_moves(units, on)
            wide = np.flatnonzero(np.abs(sets - on).sum(axis=1) > 1)
            if len(wide):
                moved[:, wide] = forms.sums_of(sets[wide])
        scores, _ = forms.score(moved, setup)
        scores = scores * booting.chances(on, sets)
        pick = int(np.argmax(scores))
        if scores[pick] <= best * (1.0 + _GAIN) + 1e-300:
            break
        best = float(scores[pick])
        if sets is None:
            change = 1.0 - 2.0 * on[pick]
            rows = rows + change * forms.stack[:, :, pick]
            on = on.copy()
            on[pick] += change
        else:
            on = sets[pick]
            rows = forms.stack @ on
        sums = moved[:, pick]
    _, bits = forms.score(sums, setup)
    told = float(bits) if booting.chance(on) > 0 else 0.0
    return _Found(best, told, seconds, float(question.setup + sums[forms.rows + 1]), on)


def _closed_moves(units: Units, on: Floats) -> Floats:
    """(n, n): row i is the set after switching unit i, with what it needs or what needs it."""
    reach = units.reach
    flags = on > 0
    after = np.where(flags[:, None], flags & ~reach.T, flags | reach)
    return after.astype(float)


def _starts(belief: Belief) -> list[Floats]:
    """About half of the suspicion dealt out from the top, one unit at least; every second unit by suspicion;
    and most units."""
    units = belief.question.units
    n = len(units)
    joint = belief.joint
    part = np.diag(joint) + joint.sum(axis=1)
    order = np.argsort(-part, kind="stable")
    half = np.zeros(n)
    half[order[: max(1, int((np.cumsum(part[order]) <= 0.5 * part.sum()).sum()))]] = 1.0
    second = np.zeros(n)
    second[order[1::2]] = 1.0
    most = np.ones(n)
    most[order[::4]] = 0.0
    pairs = 1.0 - float(np.trace(joint)) / max(float(joint.sum()), 1e-300)
    chosen = [half, most] if pairs > 0.5 else [half, second]
    if units.free:
        return chosen
    return [units.reach[start > 0].any(axis=0).astype(float) if start.any() else start for start in chosen]


def _first_soak(given: Given, grid: list[float]) -> int:
    """A good length for half of the mass on, by the mean belief about the rate alone."""
    setup = restart(given)
    family = given.belief.families[Kind.PAIR]
    weight = family.weight
    mass = max(float(weight.sum()), 1e-300)
    shape = float((weight * family.on.shape).sum()) / mass
    rate = float((weight * family.on.rate).sum()) / mass
    seconds = np.array(grid)
    stand = np.exp(shape * (np.log(rate) - np.log(rate + seconds)))
    excess = max(shape - 1.0, 1e-6)
    length = rate / excess * -np.expm1(excess * (np.log(rate) - np.log(rate + seconds)))
    crash, m = 0.5 * (1.0 - stand), 0.5
    log2 = np.log2
    told = -(crash * log2(crash) + (1 - crash) * log2(1 - crash))
    p = np.clip(1.0 - stand, 1e-12, 1 - 1e-12)
    told = told - m * -(p * log2(p) + (1 - p) * log2(1 - p))
    return int(np.argmax(told / (setup + m * length + (1 - m) * seconds)))


class _Booting:
    """How likely a set is to boot at all, learned from those that did not.

    A set that was refused is never proposed again. Among the units that were off in every refused set and
    never off in a boot that came up, one is taken to be needed for booting.
    """

    def __init__(self, belief: Belief) -> None:
        units = belief.question.units
        refused = belief.question.refused
        self.refused = np.array([units.marks(s) for s in refused], dtype=float).reshape(-1, len(units))
        blame = np.zeros(len(units))
        if len(refused):
            blame = (self.refused.max(axis=0) == 0).astype(float)
            if len(belief.observations):
                blame = blame * (belief.sets.min(axis=0) > 0)
            blame = blame * (0.9 / max(blame.sum(), 1.0))
        self.blame = blame

    def chance(self, on: Floats) -> float:
        if not len(self.refused):
            return 1.0
        if (np.abs(self.refused - on).sum(axis=1) == 0).any():
            return 0.0
        return float(1.0 - self.blame @ (1.0 - on))

    def chances(self, on: Floats, sets: Floats | None) -> Floats:
        """(n,) for the sets after switching each unit."""
        if not len(self.refused):
            return np.ones(len(on))
        if sets is None:
            sets = np.abs(np.eye(len(on)) - on)
        return np.array([self.chance(row) for row in sets])
