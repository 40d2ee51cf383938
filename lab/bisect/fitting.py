"""Which hypotheses are weighed: few at first, more when the observations do not fit them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations

from lab.bisect import hazard
from lab.bisect.belief import Belief, Observation, Question, steadiness
from lab.bisect.hypotheses import Hypothesis, Kind

STEADY = 0.25
"""Below this probability of a steady rate, crashes are taken to be decided at boot."""
DOUBTFUL = 0.97
"""Below this one, a silence that confirms must already span several boots."""
WINDOW, WINDOW_LEAST, WINDOW_OUTLIER = 1.25, 0.3, 4.0
"""Then so many times the longest time to a crash counts of each run, at least so many usual soaks; a crash
that took so many times the median is taken for another one."""
SELDOM = 0.2
"""When a run as long as the window crashes with less than this chance, the whole of each run counts again:
rare crashes look as if decided at boot. Two thirds of the least share of bad boots that is weighed."""
UNRELATED = 2
"""Crashes without the leading hypothesis' units from which on "either of two" is considered."""
MISFIT = 1e-3
"""How improbable unrelated crashes must be for the best explanation to be called one that does not fit."""
ABSURD, LEADERS = 0.02, 6
"""How improbable silences must be for triples to be considered, and among how many leading hypotheses."""


def believe(question: Question, observations: Iterable[Observation]) -> Belief:
    """The belief after these observations. It widens when the plain hypotheses do not explain them.

    Crashes without the leading hypothesis' units: perhaps either of two is enough. Silences with them:
    perhaps a third is needed.
    """
    seen = tuple(observations)
    steady = steadiness(question, seen)
    boot = _window(question, seen) if steady < DOUBTFUL else float("inf")
    belief = Belief(question, seen, steady=steady, boot=boot)
    if steady < STEADY:
        windowed = replace(belief, window=boot)
        belief = belief if _chance(windowed, boot) < SELDOM else windowed
    top, _ = belief.ranked(1)[0]
    wide = sum(o.crashed and not top.active(o.on) for o in belief.observations) >= UNRELATED
    triples = _triples(belief) if _too_silent(belief, top) else ()
    return replace(belief, wide=wide, triples=triples) if wide or triples else belief


def _window(question: Question, seen: tuple[Observation, ...]) -> float:
    times = sorted(o.seconds for o in seen if o.crashed)
    if not times:
        return float("inf")
    usual = [t for t in times if t <= WINDOW_OUTLIER * times[len(times) // 2]]
    return max(WINDOW * usual[-1], WINDOW_LEAST * question.soak)


def _chance(belief: Belief, seconds: float) -> float:
    """Of a crash in a run of these seconds with the culprit on, whichever single unit or pair it is."""
    family = belief.families[Kind.PAIR]
    stands = hazard.stands(family.on.shape, family.on.rate, seconds)
    return 1.0 - float((family.weight * stands).sum()) / max(float(family.weight.sum()), 1e-300)


def _too_silent(belief: Belief, top: Hypothesis) -> bool:
    """With everything on it crashes at a rate at which the silences with the leader's units on are absurd."""
    everything = frozenset(belief.question.units.names)
    base = [o for o in belief.observations if o.on == everything]
    crashes, seconds = sum(o.crashed for o in base), math.fsum(o.seconds for o in base)
    active = [o for o in belief.observations if o.on != everything and top.active(o.on)]
    if not crashes or top.kind not in (Kind.SINGLE, Kind.PAIR):
        return False
    # k crashes in e seconds here, K in E there: under one rate k is binomial
    k, n = sum(o.crashed for o in active), sum(o.crashed for o in active) + crashes
    share = math.fsum(o.seconds for o in active) / max(math.fsum(o.seconds for o in active) + seconds, 1e-9)
    tail = math.fsum(math.comb(n, i) * share**i * (1.0 - share) ** (n - i) for i in range(k + 1))
    return tail < ABSURD


def _triples(belief: Belief) -> tuple[tuple[int, int, int], ...]:
    """The leading pairs and singles, each with every third unit; none of which needs another."""
    units = belief.question.units
    leaders = [h for h, _ in belief.ranked(LEADERS) if h.kind in (Kind.SINGLE, Kind.PAIR)]
    involved = sorted({units.index[u] for h in leaders for u in h.units})[:LEADERS]
    found = set()
    for i, j in combinations(involved, 2):
        for k in range(len(units)):
            members = sorted({i, j, k})
            if len(members) == 3 and not any(units.reach[a, b] for a in members for b in members if a != b):
                found.add((members[0], members[1], members[2]))
    return tuple(sorted(found))


def without_cause(belief: Belief, top: Hypothesis) -> str:
    """Why the best explanation does not fit; "" when it does.

    It does not when crashes came without its units more often than unrelated ones ever should, by the
    prior belief about these (a negative binomial count).
    """
    question = belief.question
    off = [o for o in belief.observations if not top.active(o.on)]
    crashes, seconds = sum(o.crashed for o in off), math.fsum(o.seconds for o in off)
    if not crashes:
        return ""
    known = hazard.B_OFF * question.soak
    share, rest = seconds / (known + seconds), 1.0
    mass = (known / (known + seconds)) ** hazard.A_OFF
    for k in range(crashes):
        rest -= mass
        mass *= (hazard.A_OFF + k) / (k + 1) * share
    if rest >= MISFIT:
        return ""
    return (
        f"the model does not fit: {crashes} crashes in {seconds:.0f} s under load came without "
        f"{' and '.join(top.units)}, the best explanation there is; there may be a third cause"
    )
