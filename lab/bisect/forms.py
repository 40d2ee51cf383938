"""Sums over hypotheses as quadratic forms of a set, for one length of soak and given what still runs."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lab.bisect import hazard
from lab.bisect.belief import Belief, Family
from lab.bisect.hazard import Floats
from lab.bisect.hypotheses import Kind

_LIGHT = 1e-2
"""Layers of the lottery that together weigh less than this do not take part in choosing."""


class Pending(NamedTuple):
    """A run that has not ended: what is on, as (n,) zeros and ones, and how long it may still take."""

    on: Floats
    seconds: float


class Prediction(NamedTuple):
    """Per hypothesis, the share of bad boots summed out: probability, and while its units are on and off
    the chance of a crash and the expected length of a run."""

    weight: Floats
    crash_on: Floats
    crash_off: Floats
    length_on: Floats
    length_off: Floats


def predict(family: Family, seconds: float) -> Prediction:
    """What a soak of `seconds` would show under each hypothesis of a family."""
    layers = family.weight.reshape(len(family.weight), -1).sum(axis=1)
    kept = np.flatnonzero(layers > _LIGHT * max(float(layers.max()), 1e-300))
    weight = family.weight[kept]
    total = weight.sum(axis=0)
    inner = (slice(None), *([None] * (weight.ndim - 1)))
    share = hazard.SHARES[kept][inner]
    on_shape, on_rate = family.on.shape, family.on.rate[kept]
    crash = share * (1.0 - hazard.stands(on_shape, on_rate, seconds))
    length = (1.0 - share) * seconds + share * hazard.duration(on_shape, on_rate, seconds)
    if len(kept) == 1:
        crash_on, length_on = crash[0], length[0]
    else:
        safe = np.maximum(total, 1e-300)
        crash_on, length_on = (weight * crash).sum(axis=0) / safe, (weight * length).sum(axis=0) / safe
    off = family.off
    return Prediction(
        total,
        crash_on,
        1.0 - hazard.stands(off.shape, off.rate, seconds),
        length_on,
        hazard.duration(off.shape, off.rate, seconds),
    )


class Forms:
    """For one soak length: everything the score of a set needs, as constants and n × n matrices.

    Row o < 2^k of `stack` is the crash mass of the o-th joint outcome of the k pending runs, then come the
    conditional entropy and the expected length.
    """

    def __init__(self, belief: Belief, seconds: float, pending: tuple[Pending, ...]) -> None:
        n = len(belief.question.units)
        outcomes = list(product((False, True), repeat=len(pending)))
        self.rows = len(outcomes)
        self.masses = np.zeros(self.rows)
        self.constants = np.zeros(self.rows + 2)
        self.stack = np.zeros((self.rows + 2, n, n))
        self.triples = np.array(belief.triples, dtype=np.intp).reshape(-1, 3)
        self.third = np.zeros((self.rows + 2, len(self.triples)))
        for kind, family in belief.families.items():
            now = predict(family, seconds)
            known_on, known_off = entropy(now.crash_on), entropy(now.crash_off)
            joint = self._joint(kind, family, now.weight, pending, outcomes)
            values = [weight * (now.crash_on - now.crash_off) for weight in joint]
            values += [
                now.weight * (known_on - known_off),
                now.weight * (now.length_on - now.length_off),
            ]
            off = [float((weight * now.crash_off).sum()) for weight in joint]
            off += [float((now.weight * known_off).sum()), float((now.weight * now.length_off).sum())]
            self.masses += [float(weight.sum()) for weight in joint]
            self.constants += off
            if kind is Kind.SYSTEM:  # on with every set
                self.constants += [float(v.sum()) for v in values]
                continue
            if kind is Kind.TRIPLE:
                self.third += values
                continue
            for row, matrix in enumerate(values):
                if kind is Kind.EITHER:
                    self.stack[row] -= matrix
                    np.fill_diagonal(self.stack[row], np.diag(self.stack[row]) + 2.0 * matrix.sum(axis=1))
                else:
                    self.stack[row] += matrix
        self.diagonals = np.ascontiguousarray(np.diagonal(self.stack, axis1=1, axis2=2))

    def _joint(
        self,
        kind: Kind,
        family: Family,
        weight: Floats,
        pending: tuple[Pending, ...],
        outcomes: list[tuple[bool, ...]],
    ) -> list[Floats]:
        """The weights of a family's hypotheses together with each joint outcome of the pending runs."""
        if not pending:
            return [weight]
        chances = []
        for run in pending:
            seen = predict(family, run.seconds)
            active: NDArray[np.bool_]
            if kind is Kind.SYSTEM:
                active = np.ones((1,), dtype=bool)
            elif kind is Kind.TRIPLE:
                active = np.asarray((run.on > 0)[self.triples].all(axis=1))
            else:
                on = run.on > 0
                active = np.logical_or.outer(on, on) if kind is Kind.EITHER else np.logical_and.outer(on, on)
            chances.append(np.where(active, seen.crash_on, seen.crash_off))
        found = []
        for outcome in outcomes:
            mass = weight
            for crashed, chance in zip(outcome, chances, strict=True):
                mass = mass * (chance if crashed else 1.0 - chance)
            found.append(mass)
        return found

    def sums(self, on: Floats) -> Floats:
        """(rows + 2,) the sums for one set, given as (n,) zeros and ones."""
        return self.sums_of(on[None, :])[:, 0]

    def sums_of(self, sets: Floats) -> Floats:
        """(rows + 2, m) the sums for m sets, given as (m, n) zeros and ones."""
        found = self.constants[:, None] + np.einsum("qmj,mj->qm", sets @ self.stack, sets)
        if len(self.triples):
            found += self.third @ sets[:, self.triples].min(axis=2).T
        return np.asarray(found)

    def switched(self, on: Floats, sums: Floats, product: Floats) -> Floats:
        """(rows + 2, n) the sums after switching each unit alone; `product` is stack @ on."""
        sign = 1.0 - 2.0 * on
        moved = sums[:, None] + sign * (self.diagonals + 2.0 * (product - on * self.diagonals))
        if len(self.triples):
            members = on[self.triples]  # (m, 3)
            missing = 3.0 - members.sum(axis=1)
            for column in range(3):
                # on: its triple ends if all were on; off: it begins if only this one is missing
                flips = np.where(members[:, column] > 0, missing == 0, missing == 1)
                unit = self.triples[flips, column]
                for row, values in enumerate(self.third[:, flips]):
                    moved[row] += sign * np.bincount(unit, values, len(on))
        return np.asarray(moved)

    def score(self, sums: Floats, setup: float) -> tuple[Floats, Floats]:
        """(bits per second, bits) of sets with these sums, (rows + 2, ...)."""
        crash = sums[: self.rows]
        masses = self.masses.reshape(-1, *([1] * (crash.ndim - 1)))
        told = (masses * entropy(crash / np.maximum(masses, 1e-300))).sum(axis=0)
        bits = np.maximum(told - sums[self.rows], 0.0)
        return np.asarray(bits / (setup + sums[self.rows + 1])), bits


_LOG2 = np.log(2.0)


def entropy(p: Floats) -> Floats:
    """Bits of a yes/no answer that is yes with probability p; outside (0, 1) by rounding is certain."""
    p = np.clip(p, 1e-15, 1.0 - 1e-15)
    return np.asarray(-(p * np.log(p) + (1.0 - p) * np.log1p(-p)) / _LOG2)
