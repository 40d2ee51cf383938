"""The model of a search written down a second time, as slowly and as plainly as possible.

Every hypothesis is an entry of a dictionary, every sum a loop, every expectation a sum over all that can
happen. Only the constants are shared with what is tested.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, permutations, product

from lab.bisect import hazard
from lab.bisect.belief import EITHER_PRIOR, FLOOR, TRIPLE_PRIOR, Belief, Observation, Question
from lab.bisect.hypotheses import SYSTEM, Hypothesis, Kind
from lab.bisect.units import Units

On = frozenset[str]
Triple = tuple[int, int, int]


def closed_sets(units: Units) -> Iterator[On]:
    """Every set of units that contains all that its members need."""
    for flags in product((False, True), repeat=len(units)):
        on = frozenset(name for name, flag in zip(units.names, flags, strict=True) if flag)
        if all(units.needs.get(name, frozenset()) <= on for name in on):
            yield on


def priors(question: Question, wide: bool, triples: Sequence[Triple] = ()) -> dict[Hypothesis, float]:
    """Each hypothesis with what it starts with. A pair of a unit and one that it needs is that unit."""
    units = question.units
    share = _shares(question)
    pairs = list(combinations(units.names, 2))
    found = {SYSTEM: question.system_prior}
    singles = 1.0 - question.system_prior - (question.pair_prior if pairs else 0.0)
    for name in units.names:
        found[Hypothesis(Kind.SINGLE, (name,))] = singles * share[name]
    all_pairs = sum(share[a] + share[b] for a, b in pairs)
    for a, b in pairs:
        prior = question.pair_prior * (share[a] + share[b]) / all_pairs
        if b in units.needs.get(a, ()):
            found[Hypothesis(Kind.SINGLE, (a,))] += prior
        elif a in units.needs.get(b, ()):
            found[Hypothesis(Kind.SINGLE, (b,))] += prior
        else:
            found[Hypothesis(Kind.PAIR, (a, b))] = prior
    if wide:
        free = [p for p in pairs if Hypothesis(Kind.PAIR, p) in found]
        all_free = sum(share[a] + share[b] for a, b in free)
        for a, b in free:
            found[Hypothesis(Kind.EITHER, (a, b))] = EITHER_PRIOR * (share[a] + share[b]) / all_free
    for three in triples:
        members = tuple(units.names[i] for i in three)
        found[Hypothesis(Kind.TRIPLE, members)] = TRIPLE_PRIOR / math.comb(len(share), 3)
    return found


def _shares(question: Question) -> dict[str, float]:
    names = question.units.names
    given = {name: (question.prior or {}).get(name, 0.0) for name in names}
    total = sum(given.values())
    if not total:
        return {name: 1 / len(names) for name in names}
    return {name: FLOOR / len(names) + (1 - FLOOR) * given[name] / total for name in names}


class Oracle:
    """What is to be believed after the observations of a belief, and what one more run would tell."""

    def __init__(self, belief: Belief) -> None:
        question = self.question = belief.question
        seen = self.seen = [_within(o, belief.window) for o in belief.observations]
        shares = zip(hazard.SHARES, hazard.SHARE_PRIOR, strict=True)
        kept = [(float(s), float(p)) for s, p in shares if belief.by_boot or s == 1]
        paces = [(float(b), float(p)) for b, p in zip(hazard.PACES, hazard.PACE_PRIOR, strict=True)]
        self.shares = [share for share, _ in kept for _ in paces]
        self.everything = frozenset(question.units.names)
        raw: dict[Hypothesis, list[float]] = {}
        self.gamma: dict[Hypothesis, list[tuple[float, float]]] = {}
        self.gamma_off: dict[Hypothesis, tuple[float, float]] = {}
        rates = [self._usual_rate(share) for share in self.shares]
        for h, prior in priors(question, belief.wide, belief.triples).items():
            on = [o for o in seen if h.active(o.on)]
            off = [o for o in seen if not h.active(o.on)]
            a_off = hazard.A_OFF + sum(o.crashed for o in off)
            b_off = hazard.B_OFF * question.soak + sum(o.seconds for o in off)
            self.gamma_off[h] = (a_off, b_off)
            raw[h], self.gamma[h] = [], []
            layers = product(kept, paces)
            for ((share, heavy), (pace, likely)), rate in zip(layers, rates, strict=True):
                crashes = sum(o.crashed for o in on)
                a = hazard.A_ON + crashes
                b = pace * question.soak + sum(_worth(o, share, rate) for o in on)
                seen_on = share**crashes * pace**hazard.A_ON * math.gamma(a) / b**a
                raw[h].append(prior * heavy * likely * seen_on * math.gamma(a_off) / b_off**a_off)
                self.gamma[h].append((a, b))
        total = sum(sum(layers) for layers in raw.values())
        self.layers: Mapping[Hypothesis, list[float]] = {
            h: [w / total for w in layers] for h, layers in raw.items()
        }

    def _usual_rate(self, share: float) -> float:
        """Crashes a second on a bad boot, by the runs that crashed and the quiet ones with everything on."""
        start = self.question.soak + sum(o.seconds for o in self.seen if o.crashed)
        crashes = 1.0 + sum(o.crashed for o in self.seen)
        quiet = [o.seconds for o in self.seen if not o.crashed and self.everything <= o.on]
        rate = crashes / start
        for _ in range(3):
            bad = [share * math.exp(-rate * s) / (1 - share + share * math.exp(-rate * s)) for s in quiet]
            rate = crashes / (start + sum(p * s for p, s in zip(bad, quiet, strict=True)))
        return rate

    def probability(self, h: Hypothesis) -> float:
        return sum(self.layers[h])

    @property
    def steady(self) -> float:
        found = (zip(self.shares, layers, strict=True) for layers in self.layers.values())
        return sum(weight for layers in found for share, weight in layers if share == 1)

    def crash(self, h: Hypothesis, on: On, seconds: float) -> float:
        """The chance that a run crashes, if `h` is true and crashes come at a steady rate."""
        if not h.active(on):
            a, b = self.gamma_off[h]
            return float(1 - (b / (b + seconds)) ** a)
        parts = zip(self.layers[h], self.gamma[h], strict=True)
        crash = sum(w * (1 - (b / (b + seconds)) ** a) for w, (a, b) in parts)
        return float(crash / self.probability(h))

    def length(self, on: On, seconds: float) -> float:
        """Expected seconds under load: the chance to stand still, added up over the run by Simpson's rule."""
        steps = 400
        step = seconds / steps
        stands = [
            sum(self.probability(h) * (1 - self.crash(h, on, i * step)) for h in self.layers)
            for i in range(steps + 1)
        ]
        inner = 4 * sum(stands[1:-1:2]) + 2 * sum(stands[2:-1:2])
        return step / 3 * (stands[0] + inner + stands[-1])

    def bits(self, on: On, seconds: float, pending: Sequence[tuple[On, float]] = ()) -> float:
        """Information between hypothesis and outcome, given the outcomes of the pending runs: by definition,
        the mean of log2 P(h, y | o) / (P(h | o) P(y | o)) over all that can happen."""
        found = 0.0
        chances = {h: [self.crash(h, *run) for run in (*pending, (on, seconds))] for h in self.layers}
        for outcome in product((False, True), repeat=len(pending)):
            joint = {}
            for h in self.layers:
                mass = self.probability(h)
                for crashed, chance in zip(outcome, chances[h], strict=False):
                    mass *= chance if crashed else 1 - chance
                joint[h] = (mass * (1 - chances[h][-1]), mass * chances[h][-1])
            total = sum(sum(ys) for ys in joint.values())
            for y in (0, 1):
                told = sum(ys[y] for ys in joint.values())
                for ys in joint.values():
                    if ys[y] > 0:
                        found += ys[y] * math.log2(ys[y] * total / (sum(ys) * told))
        return found


def _within(run: Observation, window: float) -> Observation:
    """What counts of a run: the seconds in the window, and a crash only if it came in it."""
    return run._replace(seconds=min(run.seconds, window), crashed=run.crashed and run.seconds <= window)


def _worth(run: Observation, share: float, rate: float) -> float:
    """Seconds at a steady rate that a run counts, if only a share of the boots is bad."""
    if run.crashed:
        return run.seconds
    return -math.log(1 - share + share * math.exp(-rate * run.seconds)) / rate


def some_units(odds: random.Random, most: int = 6, least: int = 1, needy: bool = False) -> Units:
    """Units of a few services; with `needy` some of them need others, in cycles, too."""
    services = [f"s{i}" for i in range(odds.randint(least, most))]
    needs: dict[str, list[str]] = {}
    if needy:
        for _ in range(odds.randint(1, len(services))):
            needs.setdefault(odds.choice(services), []).append(odds.choice(services))
    return Units.of(services, needs)


def some_runs(odds: random.Random, units: Units, most: int = 8) -> tuple[Observation, ...]:
    """Two crashes with everything on, then runs of sets by chance."""
    everything = frozenset(units.names)
    runs = [Observation(everything, odds.uniform(10, 600), True, i) for i in (1, 2)]
    sets = list(closed_sets(units))
    for i in range(odds.randint(0, most)):
        crashed = odds.random() < 0.4
        runs.append(Observation(odds.choice(sets), odds.uniform(5, 900), crashed, 3 + i))
    return tuple(runs)


def some_triples(odds: random.Random, units: Units, most: int = 4) -> tuple[Triple, ...]:
    """Some triples of units none of which needs another."""
    found = [
        (i, j, k)
        for i, j, k in combinations(range(len(units)), 3)
        if all(
            units.names[b] not in units.needs.get(units.names[a], ()) for a, b in permutations((i, j, k), 2)
        )
    ]
    return tuple(sorted(odds.sample(found, min(most, len(found)))))
