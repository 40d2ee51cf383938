"""Rates of crashes that nobody knows: Gamma beliefs, integrated out.

While the culprit is on, the crash is a Poisson event of rate λ; while it is off, one of rate μ (another
defect with the same face). With λ ~ Gamma(a, b), k crashes in e seconds under load make it
Gamma(a + k, b + e), and the probability to stand s seconds more is (B / (B + s))^A.

**Two paces.** Most crashes come now and then, some at once. One Gamma wide enough for both would guess badly
at either, so λ has two, a slow one and a quick one, and the observations weigh them.

**Decided at boot.** Some defects crash on some boots and never on the others, however long the soak. Then
only a share π of the boots is bad, and a silence s under load has the probability
(1 − π) + π·exp(−λ·s): it is worth less than its seconds. `STEADY` is π = 1; a few smaller values of π stand
beside it with a little prior weight, and their silences are credited with fewer seconds (`credited`).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

A_ON = 4.0
"""Gamma priors of λ: their shape."""
PACES = np.array([4.0, 0.4])
"""Their rates in usual soaks: means of 1 and of 10 crashes a usual soak. These and their prior
were found by simulation."""
PACE_PRIOR = np.array([0.2, 0.8])
A_OFF, B_OFF = 0.4, 40.0
"""Gamma prior of μ: a mean of 1 % for a usual soak, with a long tail."""

SHARES = np.array([1.0, 0.75, 0.5, 0.3])
"""Values of π: the share of boots that can crash. 1.0 is the steady rate."""
SHARE_PRIOR = np.array([0.94, 0.02, 0.02, 0.02])


class Layers(NamedTuple):
    """What is weighed side by side: (G,) a share of bad boots, a pace (see `PACES`), and their prior."""

    share: Floats
    pace: Floats
    prior: Floats


def _layers(shares: int) -> Layers:
    """Every pace with each of the first so many shares."""
    prior = np.outer(SHARE_PRIOR[:shares], PACE_PRIOR).ravel()
    return Layers(np.repeat(SHARES[:shares], len(PACES)), np.tile(PACES, shares), prior)


STEADY, BY_BOOT = _layers(1), _layers(len(SHARES))


@lru_cache(maxsize=32)
def _log_gamma_table(shape: float, size: int) -> Floats:
    return np.array([math.lgamma(shape + k) for k in range(size)])


def log_gamma(shape: float, crashes: Floats) -> Floats:
    """ln Γ(shape + k) for whole, not negative k of any array shape."""
    counts = crashes.astype(np.intp)
    size = 64
    while size <= int(counts.max(initial=0)):
        size *= 2
    found: Floats = _log_gamma_table(shape, size)[counts]
    return found


def log_evidence(shape: float, crashes: Floats, rate: Floats) -> Floats:
    """Log of the Gamma-Poisson marginal likelihood, up to a constant: ln Γ(A) − A·ln B."""
    return np.asarray(log_gamma(shape, crashes) - (shape + crashes) * np.log(rate))


def stands(shape: Floats, rate: Floats, seconds: float) -> Floats:
    """Probability of no crash for `seconds` more."""
    return np.asarray(np.exp(shape * (np.log(rate) - np.log(rate + seconds))))


def duration(shape: Floats, rate: Floats, seconds: float) -> Floats:
    """Expected seconds until the crash or the end of the soak: ∫ (B / (B + t))^A dt from 0 to `seconds`."""
    excess = shape - 1.0
    return np.asarray(rate / excess * -np.expm1(excess * (np.log(rate) - np.log(rate + seconds))))


def credited(seconds: Floats, share: float, rate: float) -> Floats:
    """Seconds of a steady rate that a silence is worth when only `share` of the boots are bad."""
    if share >= 1.0:
        return seconds
    return np.asarray(-np.log((1.0 - share) + share * np.exp(-rate * seconds)) / rate)
