"""Sums over hypotheses as quadratic forms of a set, for one length of soak and given what still runs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lab.bisect import hazard
from lab.bisect.belief import Belief, Family
from lab.bisect.hazard import Floats
from lab.bisect.hypotheses import Kind

_LIGHT = 1e-2
"""Layers that weigh less than this share of the heaviest do not take part in choosing."""


class Pending(NamedTuple):
    """A run that has not ended: what is on, as (n,) zeros and ones, and how long it may still take."""

    on: Floats
    seconds: float


class Prediction(NamedTuple):
    """Per hypothesis, the layers summed out: probability, and while its units are on and off the chance of
    a crash and the expected length of a run."""

    weight: Floats
    crash_on: Floats
    crash_off: Floats
    length_on: Floats
    length_off: Floats


def _heavy(family: Family) -> NDArray[np.intp]:
    """The layers that take part."""
    layers = family.weight.reshape(len(family.weight), -1).sum(axis=1)
    return np.flatnonzero(layers > _LIGHT * max(float(layers.max()), 1e-300))


def predict(family: Family, seconds: float) -> Prediction:
    """What a soak of `seconds` would show under each hypothesis of a family, at a steady rate."""
    kept = _heavy(family)
    weight = family.weight[kept]
    total = weight.sum(axis=0)
    on_shape, on_rate = family.on.shape, family.on.rate[kept]
    crash = 1.0 - hazard.stands(on_shape, on_rate, seconds)
    length = hazard.duration(on_shape, on_rate, seconds)
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


class Given:
    """A belief and what still runs: the weights of all hypotheses together with each of the 2^k joint
    outcomes of the k pending runs. They are the same for every soak that is weighed."""

    def __init__(self, belief: Belief, pending: tuple[Pending, ...]) -> None:
        self.belief = belief
        self.triples = np.array(belief.triples, dtype=np.intp).reshape(-1, 3)
        self.rows = 2 ** len(pending)
        self.weights = {kind: self._joint(kind, family, pending) for kind, family in belief.families.items()}

    def _joint(self, kind: Kind, family: Family, pending: tuple[Pending, ...]) -> list[Floats]:
        found = [family.weight[_heavy(family)].sum(axis=0)]
        for run in pending:
            seen = predict(family, run.seconds)
            chance = np.where(self._active(kind, run.on > 0), seen.crash_on, seen.crash_off)
            found = [mass * part for mass in found for part in (1.0 - chance, chance)]
        return found

    def _active(self, kind: Kind, on: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which of a family's hypotheses are active in a set."""
        if kind is Kind.SYSTEM:
            return np.ones((1,), dtype=bool)
        if kind is Kind.TRIPLE:
            return np.asarray(on[self.triples].all(axis=1))
        either = kind is Kind.EITHER
        return np.asarray(np.logical_or.outer(on, on) if either else np.logical_and.outer(on, on))


class Forms:
    """For one soak length: everything the score of a set needs, as constants and n × n matrices.

    Row o < 2^k of `stack` is the crash mass of the o-th joint outcome of the k pending runs, then come the
    conditional entropy and the expected length.
    """

    def __init__(self, given: Given, seconds: float) -> None:
        belief, n = given.belief, len(given.belief.question.units)
        self.rows = given.rows
        self.masses = np.zeros(self.rows)
        self.constants = np.zeros(self.rows + 2)
        self.stack = np.zeros((self.rows + 2, n, n))
        self.triples = given.triples
        self.third = np.zeros((self.rows + 2, len(self.triples)))
        for kind, family in belief.families.items():
            now = predict(family, seconds)
            known_on, known_off = entropy(now.crash_on), entropy(now.crash_off)
            joint = given.weights[kind]
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
