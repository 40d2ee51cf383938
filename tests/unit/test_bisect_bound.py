"""The limits of information against a table computed apart from this code, and against closed forms."""

from __future__ import annotations

import math

import pytest

from benchmarks.bisect_peers.bound import bound

TABLE = [
    # n, p, q, kind, trials, minutes of usual soaks, minutes of free soaks
    (8, 0.999, 0.0, "single", 2.91, 26, 23),
    (8, 0.999, 0.02, "pair", 5.75, 44, 38),
    (8, 0.5, 0.02, "single", 14.26, 136, 120),
    (32, 0.8, 0.0, "pair", 14.21, 165, 160),
    (32, 0.2, 0.02, "single", 75.93, 839, 666),
    (64, 0.999, 0.0, "single", 5.89, 53, 46),
    (64, 0.999, 0.02, "single", 7.03, 56, 48),
    (64, 0.8, 0.02, "single", 12.31, 121, 118),
    (64, 0.5, 0.0, "single", 18.2, 234, 204),
    (64, 0.5, 0.02, "single", 25.31, 276, 243),
    (64, 0.2, 0.0, "single", 51.58, 702, 554),
    (64, 0.2, 0.02, "single", 88.6, 1009, 801),
    (64, 0.5, 0.0, "pair", 33.51, 430, 376),
    (64, 0.5, 0.02, "pair", 43.65, 509, 447),
    (150, 0.2, 0.02, "pair", 183.01, 2280, 1809),
]


@pytest.mark.parametrize(("n", "p", "q", "kind", "trials", "usual", "free"), TABLE)
def test_the_limits_are_those_of_the_table(
    n: int, p: float, q: float, kind: str, trials: float, usual: float, free: float
) -> None:
    found = bound(n, p, q, kind)
    assert found.trials == pytest.approx(trials, abs=0.011)
    assert found.minutes_usual == pytest.approx(usual, abs=0.6)
    assert found.minutes == pytest.approx(free, rel=0.002, abs=0.6)


def test_a_test_that_never_errs_gives_a_bit() -> None:
    bits = 0.99 * math.log2(64) + sum(x * math.log2(x) for x in (0.01, 0.99))
    assert bound(64, 1 - 1e-12, 0.0, "single").trials == pytest.approx(bits, rel=1e-3)


def test_a_channel_that_misses_has_the_capacity_of_the_z_channel() -> None:
    """log2(1 + (1-p)·p^(p/(1-p))) for a test that misses with probability p [textbook]."""
    miss = 0.5
    capacity = math.log2(1 + (1 - miss) * miss ** (miss / (1 - miss)))
    bits = 0.99 * math.log2(64) + sum(x * math.log2(x) for x in (0.01, 0.99))
    assert bound(64, 1 - miss, 0.0, "single").trials == pytest.approx(bits / capacity, rel=1e-4)


@pytest.mark.parametrize(("p", "q"), [(0.0, 0.0), (1.0, 0.0), (0.5, 1.0), (0.5, -0.1)])
def test_impossible_chances_are_refused(p: float, q: float) -> None:
    with pytest.raises(ValueError, match="p must be between"):
        bound(8, p, q, "single")
