"""What no search can beat: limits of information for a searcher who knows p, q and the kind of answer.

Trials: Fano's inequality for naming one of M answers with at most δ wrong, over a channel with feedback
whose input is a set of drivers, plus Burnashev's term for the last doubt where a host can crash without the
culprit, too [Burnashev 1976, "Data transmission over a discrete channel with feedback"]. Minutes: the same
bits over the most bits a minute that any share of suspects and any length of soak give, the time of the
crash included.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_SHARES = np.linspace(0.02, 0.98, 97)
_STEPS = 400


@dataclass(frozen=True)
class Bound:
    """Trials of the usual soak; machine minutes when every soak is the usual one, and when it is free."""

    trials: float
    minutes_usual: float
    minutes: float
    soak: float


def answers(n: int, kind: str) -> int:
    """How many hypotheses there are of a kind, "single" or "pair", among n units."""
    return n if kind == "single" else n * (n - 1) // 2


@cache
def bound(
    n: int, p: float, q: float, kind: str, *, wrong: float = 0.01, soak: float = 10.0, setup: float = 4.0
) -> Bound:
    """`p` and `q` are the chances that a usual soak crashes by the culprit, and by itself; times in minutes.

    With the culprit on, both can crash the host. ValueError unless 0 <= q < 1 and 0 < p < 1.
    """
    if not (0 < p < 1 and 0 <= q < 1):
        raise ValueError(f"p must be between 0 and 1, q at least 0 and less than 1: {p}, {q}")
    bits = (1 - wrong) * math.log2(answers(n, kind)) - _entropy(wrong)
    active = 1 - (1 - p) * (1 - q)
    trials = bits / _capacity(active, q)
    if q > 0:
        trials += math.log2(1 / wrong) / max(_divergence(active, q), _divergence(q, active))
    rates = (-math.log1p(-p) + -math.log1p(-q)) / soak, -math.log1p(-q) / soak
    best, length = max((_bits_a_minute(*rates, float(each), setup), float(each)) for each in _lengths(soak))
    return Bound(trials, bits / _bits_a_minute(*rates, soak, setup), bits / best, length)


def _lengths(soak: float) -> Floats:
    return soak * np.geomspace(0.1, 10, 200)


def _entropy(p: float) -> float:
    """Of a coin, in bits."""
    return -sum(x * math.log2(x) for x in (p, 1 - p) if x > 0)


def _divergence(p: float, q: float) -> float:
    """Of Kullback and Leibler, between two coins, in bits; 0 < q < 1."""
    return sum(x * math.log2(x / y) for x, y in ((p, q), (1 - p, 1 - q)) if x > 0)


def _capacity(p: float, q: float) -> float:
    """The most bits that one trial of fixed length gives, over the share of suspects that are on."""
    shares = (number / 1000 for number in range(1, 1000))
    return max(_entropy(m * p + (1 - m) * q) - m * _entropy(p) - (1 - m) * _entropy(q) for m in shares)


def _bits_a_minute(on: float, off: float, length: float, setup: float) -> float:
    """The most over the share of suspects that are on, of a soak that a crash ends; rates a minute."""
    at = (np.arange(_STEPS) + 0.5) * (length / _STEPS)
    known, dull = on * np.exp(-on * at), off * np.exp(-off * at)
    share = _SHARES[:, None]
    crash = share * _log(known) + (1 - share) * _log(dull) - _log(share * known + (1 - share) * dull)
    stands, stays = math.exp(-on * length), math.exp(-off * length)
    quiet = _SHARES * stands + (1 - _SHARES) * stays
    survival = _SHARES * _log(np.array(stands)) + (1 - _SHARES) * _log(np.array(stays)) - _log(quiet)
    lasts = (1 - stands) / on, (1 - stays) / off if off else length
    cost = setup + _SHARES * lasts[0] + (1 - _SHARES) * lasts[1]
    return float(((crash.sum(axis=1) * (length / _STEPS) + survival) / cost).max())


def _log(x: Floats) -> Floats:
    """x·log2 x, 0 at 0."""
    return np.where(x > 0, x * np.log2(np.maximum(x, 1e-300)), 0.0)
