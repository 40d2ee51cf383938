"""What is believed after some trials: a pure function of the question and the observations.

Every hypothesis "these units together" is one entry of a symmetric n × n matrix: singles on the diagonal,
half of each pair on both sides of it. With s the 0/1 vector of a set of units, any sum over the hypotheses
that are active in that set is then the quadratic form sᵀ Q s, and the crashes and seconds of every
hypothesis come from one matrix product over the trials. "Each of two is enough" is another such matrix:
its active sum is 2·(V·1)·s − sᵀ V s.

The first axis of the arrays are the layers (`hazard.Layers`): how soon crashes come, and on which boots.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from lab.bisect import hazard
from lab.bisect.hazard import Floats
from lab.bisect.hypotheses import SYSTEM, Hypothesis, Kind
from lab.bisect.units import Units

SYSTEM_PRIOR = 0.03
PAIR_PRIOR = 0.12
EITHER_PRIOR = 0.02
TRIPLE_PRIOR = 0.02
"""Prior probabilities of the kinds; the singles have the rest. All triples share theirs, also those that are
not weighed: the few that are were chosen for what was seen."""

FLOOR = 0.02
"""The share of the prior of singles that is always spread evenly, so that no unit starts at zero."""

_MIN_LOG = -745.0


class Observation(NamedTuple):
    """One run under load: the units that were on, its seconds, whether it ended in the crash."""

    on: frozenset[str]
    seconds: float
    crashed: bool
    trial: int = 0


@dataclass(frozen=True)
class Question:
    """What is looked for, and what a trial costs.

    `prior` gives a weight ≥ 0 for each unit (None: all alike). `soak` is the length of a usual run in
    seconds under load, the scale on which rates are guessed before any is seen; `setup` are the
    seconds that a trial costs besides. `refused` are sets that did not boot.
    """

    units: Units
    prior: Mapping[str, float] | None = None
    soak: float = 600.0
    setup: float = 240.0
    refused: tuple[frozenset[str], ...] = ()
    system_prior: float = SYSTEM_PRIOR
    pair_prior: float = PAIR_PRIOR

    def __post_init__(self) -> None:
        if not (0 < self.soak < float("inf") and 0 <= self.setup < float("inf")):
            raise ValueError("soak and setup must be numbers of seconds, the soak above 0")
        if self.prior is not None and not all(0 <= w < float("inf") for w in self.prior.values()):
            raise ValueError("prior weights must be finite and not negative")
        if not (self.system_prior > 0 and self.pair_prior >= 0 and self.system_prior + self.pair_prior < 1):
            raise ValueError("prior probabilities of the kinds must leave something for the single units")

    @cached_property
    def weights(self) -> Floats:
        """(n,) the share of each unit, above zero, summing to 1."""
        n = len(self.units)
        even = np.full(n, 1.0 / n)
        if self.prior is None:
            return even
        given = np.array([float(self.prior.get(name, 0.0)) for name in self.units.names])
        if not given.max() > 0:
            return even
        given = given / given.max()
        return np.asarray(FLOOR * even + (1.0 - FLOOR) * given / given.sum())

    @cached_property
    def log_prior(self) -> Floats:
        """(n, n): singles on the diagonal; beside it half of each pair, one member suspected, one free."""
        n = len(self.units)
        share = self.weights
        pairs = np.add.outer(share, share) if n > 1 else np.zeros((1, 1))
        np.fill_diagonal(pairs, 0.0)
        if n > 1:
            pairs *= self.pair_prior / pairs.sum()
        singles = (1.0 - self.system_prior - (self.pair_prior if n > 1 else 0.0)) * share
        if not self.units.free:  # a pair of a unit and one that it needs is that unit: one hypothesis
            nested = self.units.reach & ~np.eye(n, dtype=bool)
            singles = singles + 2.0 * np.where(nested, pairs, 0.0).sum(axis=1)
            pairs[nested | nested.T] = 0.0
        np.fill_diagonal(pairs, singles)
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(pairs))

    @cached_property
    def log_prior_either(self) -> Floats:
        """(n, n), nothing on the diagonal: half of each "either of two" on both sides."""
        share = self.weights
        pairs = np.add.outer(share, share)
        np.fill_diagonal(pairs, 0.0)
        if not self.units.free:
            pairs[self.units.reach | self.units.reach.T] = 0.0
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(pairs * (EITHER_PRIOR / max(pairs.sum(), 1e-300))))


class Side(NamedTuple):
    """Gamma beliefs of a family of hypotheses: shape and rate (seconds); the rate by layer if on."""

    shape: Floats
    rate: Floats


class Family(NamedTuple):
    """Hypotheses of one form. `weight` (G, ...) sums to the probability of the family."""

    weight: Floats
    on: Side
    off: Side

    def rate(self, *at: int) -> float:
        """Mean crash rate a second while the units of one hypothesis are on."""
        weight, rate = (np.moveaxis(layers, 0, -1)[at] for layers in (self.weight, self.on.rate))
        return float((weight * self.on.shape[at] / rate).sum() / weight.sum())


@dataclass(frozen=True)
class Belief:
    """Immutable. `wide` adds "either of two" to the hypotheses, `triples` these (unit numbers, rising).

    `by_boot` weighs beside the steady rate that only a share of the boots can crash; that is for asking
    whether it is so (`steadiness`). Where it is, a search goes on with a `window`: of each run only so many
    seconds count, whatever came later, because a boot that has stood them will stand. `steady` is what
    that question was answered, for those who read a belief. `boot` are the seconds for which one boot's
    silence may count where a silence confirms: a window that is set sooner, in doubt.
    """

    question: Question
    observations: tuple[Observation, ...] = ()
    wide: bool = False
    triples: tuple[tuple[int, int, int], ...] = ()
    by_boot: bool = False
    window: float = float("inf")
    steady: float = 1.0
    boot: float = float("inf")

    def observe(self, on: frozenset[str], seconds: float, crashed: bool, trial: int = 0) -> Belief:
        """The belief after one more run. Names in `on` that are no units do not matter."""
        seen = Observation(on, float(seconds), crashed, trial)
        return replace(self, observations=(*self.observations, seen))

    # ---- what was seen, as arrays over the trials

    @cached_property
    def sets(self) -> Floats:
        """(t, n) zeros and ones."""
        units = self.question.units
        rows = [units.marks(o.on) for o in self.observations]
        return np.array(rows, dtype=float).reshape(len(rows), len(units))

    @cached_property
    def crashed(self) -> Floats:
        return np.array([o.crashed and o.seconds <= self.window for o in self.observations], dtype=float)

    @cached_property
    def seconds(self) -> Floats:
        if any(not 0 <= o.seconds < float("inf") for o in self.observations):
            raise ValueError("seconds of an observation must be finite and not negative")
        return np.array([min(o.seconds, self.window) for o in self.observations], dtype=float)

    @cached_property
    def credits(self) -> Floats:
        """(G, t) seconds that each run counts if its culprit was on, by layer."""
        return np.array([self._credit(float(share)) for share in self.layers.share])

    @property
    def layers(self) -> hazard.Layers:
        return hazard.BY_BOOT if self.by_boot else hazard.STEADY

    def _credit(self, share: float) -> Floats:
        if share >= 1.0 or not len(self.seconds):
            return self.seconds
        all_on = (self.sets.min(axis=1) > 0) & (self.crashed == 0)
        crashes, crash_seconds = self.crashed.sum(), float(self.seconds @ self.crashed)
        start = self.question.soak + crash_seconds  # as if one more crash had come, after a usual soak
        rate, quiet = (1.0 + crashes) / start, self.seconds[all_on]
        for _ in range(3):  # silences with everything on: bad boots that were lucky, or good ones
            alive = share * np.exp(-rate * quiet)
            rate = (1.0 + crashes) / (start + float((alive / (1 - share + alive)) @ quiet))
        return np.where(self.crashed > 0, self.seconds, hazard.credited(self.seconds, share, rate))

    # ---- the posterior

    @cached_property
    def families(self) -> dict[Kind, Family]:
        """SYSTEM (G, 1); PAIR (G, n, n) with the singles on its diagonal; EITHER likewise if `wide`;
        TRIPLE (G, m) if there are triples."""
        s, q = self.sets, self.question
        hits = self.crashed[:, None] * s
        k_all, e_all = self.crashed.sum(), self.seconds.sum()
        g_all = self.credits.sum(axis=1)
        k1 = s.T @ hits
        e1 = s.T @ (self.seconds[:, None] * s)
        g1 = np.matmul(s.T, self.credits[:, :, None] * s)
        shape = (len(self.layers.share), 1)
        found = {
            Kind.SYSTEM: self._weigh(
                np.full((1,), np.log(q.system_prior)), np.full((1,), k_all), np.full((1,), e_all),
                g_all.reshape(shape),
            ),
            Kind.PAIR: self._weigh(q.log_prior, k1, e1, g1),
        }  # fmt: skip
        if self.wide and len(q.units) > 1:
            found[Kind.EITHER] = self._weigh(q.log_prior_either, _either(k1), _either(e1), _either(g1))
        if self.triples:
            active = s[:, np.array(self.triples)].min(axis=2)  # (t, m)
            prior = np.full((len(self.triples),), np.log(TRIPLE_PRIOR / math.comb(len(q.units), 3)))
            found[Kind.TRIPLE] = self._weigh(
                prior, self.crashed @ active, self.seconds @ active, self.credits @ active
            )
        top = max(float(f.weight.max()) for f in found.values())
        scaled = {kind: np.exp(np.maximum(f.weight - top, _MIN_LOG)) for kind, f in found.items()}
        total = sum(float(w.sum()) for w in scaled.values())
        return {kind: f._replace(weight=scaled[kind] / total) for kind, f in found.items()}

    def _weigh(self, log_prior: Floats, k1: Floats, e1: Floats, g1: Floats) -> Family:
        """Log weights of hypotheses with these crashes, seconds and credited seconds while on."""
        q = self.question
        k0 = self.crashed.sum() - k1
        axes = (slice(None), *([None] * k1.ndim))
        share, pace, prior = (each[axes] for each in self.layers)
        rate_on = pace * q.soak + g1
        rate_off = hazard.B_OFF * q.soak + np.maximum(self.seconds.sum() - e1, 0.0)
        weight = (
            log_prior
            + np.log(prior)
            + hazard.A_ON * np.log(pace)
            + k1 * np.log(share)
            + hazard.log_evidence(hazard.A_ON, k1, rate_on)
            + hazard.log_evidence(hazard.A_OFF, k0, rate_off)
        )
        return Family(weight, Side(hazard.A_ON + k1, rate_on), Side(hazard.A_OFF + k0, rate_off))

    @cached_property
    def joint(self) -> Floats:
        """(n, n) probabilities: singles on the diagonal, half of each pair on both sides."""
        return np.asarray(self.families[Kind.PAIR].weight.sum(axis=0))

    @cached_property
    def either(self) -> Floats | None:
        family = self.families.get(Kind.EITHER)
        return None if family is None else np.asarray(family.weight.sum(axis=0))

    @cached_property
    def system(self) -> float:
        return float(self.families[Kind.SYSTEM].weight.sum())

    def probability(self, hypothesis: Hypothesis) -> float:
        """0 for a hypothesis that is not (yet) considered."""
        if hypothesis.kind is Kind.SYSTEM:
            return self.system
        hypothesis = self.alike(hypothesis)[0]
        index = [self.question.units.index[u] for u in hypothesis.units]
        if hypothesis.kind is Kind.SINGLE:
            return float(self.joint[index[0], index[0]])
        if hypothesis.kind is Kind.TRIPLE:
            known = tuple(sorted(index)) in self.triples
            return (
                float(self.families[Kind.TRIPLE].weight[:, self.triples.index(tuple(sorted(index)))].sum())
                if known
                else 0.0
            )
        table = {Kind.PAIR: self.joint, Kind.EITHER: self.either}.get(hypothesis.kind)
        return 0.0 if table is None else 2.0 * float(table[index[0], index[1]])

    def ranked(self, limit: int = 10) -> list[tuple[Hypothesis, float]]:
        """The most probable first; equal ones by kind and name."""
        names = self.question.units.names
        found = [(SYSTEM, self.system)]
        tables = [(Kind.PAIR, self.joint), (Kind.EITHER, self.either)]
        for kind, table in tables:
            if table is None:
                continue
            folded = 2.0 * np.triu(table, 1) + np.diag(np.diag(table))
            flat = folded.ravel()
            some = min(len(flat), limit)
            edge = max(float(np.partition(flat, len(flat) - some)[len(flat) - some]), 1e-300)
            best = np.flatnonzero(flat > edge)
            for at in (*best, *np.flatnonzero(flat == edge)[:some]):
                i, j = divmod(int(at), len(names))
                if kind is Kind.PAIR and i == j:
                    found.append((Hypothesis(Kind.SINGLE, (names[i],)), float(flat[at])))
                elif i < j:
                    found.append((Hypothesis(kind, (names[i], names[j])), float(flat[at])))
        if self.triples:
            masses = self.families[Kind.TRIPLE].weight.sum(axis=0)
            for at in np.argsort(-masses, kind="stable")[:limit]:
                members = tuple(names[i] for i in self.triples[at])
                found.append((Hypothesis(Kind.TRIPLE, members), float(masses[at])))
        order = list(Kind)
        found.sort(key=lambda f: (-f[1], order.index(f[0].kind), f[0].units))
        return found[:limit]

    def suspicion(self) -> dict[str, float]:
        """For each unit the probability that it takes part."""
        part = np.diag(self.joint) + 2.0 * (self.joint.sum(axis=1) - np.diag(self.joint))
        if self.either is not None:
            part = part + 2.0 * self.either.sum(axis=1)
        if self.triples:
            masses = np.repeat(self.families[Kind.TRIPLE].weight.sum(axis=0), 3)
            part = part + np.bincount(np.array(self.triples).ravel(), masses, len(part))
        return dict(zip(self.question.units.names, (float(p) for p in np.minimum(part, 1.0)), strict=True))

    def alike(self, hypothesis: Hypothesis) -> tuple[Hypothesis, ...]:
        """The hypotheses that no set that can be tried tells from this one, the plainest first.

        A unit by itself, and the same unit together with one that it needs, are one hypothesis.
        """
        if hypothesis.kind is Kind.PAIR:
            first, second = hypothesis.units
            for unit, other in ((first, second), (second, first)):
                if other in self._needed(unit):
                    return self.alike(Hypothesis(Kind.SINGLE, (unit,)))
        if hypothesis.kind is not Kind.SINGLE:
            return (hypothesis,)
        (unit,) = hypothesis.units
        pairs = (Hypothesis(Kind.PAIR, tuple(sorted((unit, other)))) for other in sorted(self._needed(unit)))
        return (hypothesis, *pairs)

    def _needed(self, unit: str) -> frozenset[str]:
        return self.question.units.needs.get(unit, frozenset())


def steadiness(question: Question, observations: tuple[Observation, ...]) -> float:
    """Probability that crashes come at a steady rate, and are not decided at boot."""
    belief = Belief(question, observations, by_boot=True)
    steady = belief.layers.share == 1.0
    return sum(float(f.weight[steady].sum()) for f in belief.families.values())


def _either(both: Floats) -> Floats:
    """From sums while both are on to sums while at least one is."""
    alone = np.diagonal(both, axis1=-2, axis2=-1)
    return np.asarray(alone[..., :, None] + alone[..., None, :] - both)
