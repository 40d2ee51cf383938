"""The belief's numbers, against ones worked out by hand."""

from __future__ import annotations

import math

import pytest

from lab.bisect import SYSTEM, Belief, next_set, soak_seconds

FOUR = ("a", "b", "c", "d")


def test_knows_nothing_at_first() -> None:
    posterior = Belief(FOUR).posterior()
    assert posterior[SYSTEM] == pytest.approx(0.03)
    assert [posterior[u] for u in FOUR] == pytest.approx([0.97 / 4] * 4)


def test_posterior_odds_are_those_of_the_gamma_poisson_model() -> None:
    # soak 10: λ ~ Gamma(1, 3), μ ~ Gamma(0.4, 400). One crash after 2 s with only a on.
    posterior = Belief(("a", "b"), soak=10.0).observe({"a"}, 2.0, True).posterior()
    on = (1 / 3) * (3 / 5) ** 2  # E[λ e^(-2λ)]
    off = 0.4 * 400**0.4 / 402**1.4  # E[μ e^(-2μ)]
    assert posterior["a"] / posterior["b"] == pytest.approx(on / off)
    assert posterior[SYSTEM] / posterior["a"] == pytest.approx(0.03 / 0.485)


def test_seconds_have_no_unit_of_their_own() -> None:
    seconds = Belief(FOUR, soak=8.0).observe({"a", "b"}, 2.0, True).observe({"a"}, 8.0, False)
    minutes = Belief(FOUR, soak=8 / 60).observe({"a", "b"}, 2 / 60, True).observe({"a"}, 8 / 60, False)
    assert seconds.posterior() == pytest.approx(minutes.posterior())


def test_learns_how_long_a_crash_takes() -> None:
    quick, slow = Belief(FOUR), Belief(FOUR)
    for _ in range(3):
        quick, slow = quick.observe(FOUR, 0.5, True), slow.observe(FOUR, 6.0, True)
    assert quick.predict(FOUR, 2.0) > 0.8 > 0.5 > slow.predict(FOUR, 2.0)
    assert soak_seconds(quick, frozenset("a")) < soak_seconds(slow, frozenset("a"))


def test_a_convincing_soak_is_about_three_mean_crash_times_once_they_are_known() -> None:
    belief = Belief(FOUR, soak=8.0)
    for _ in range(200):
        belief = belief.observe(FOUR, 4.0, True)
    assert soak_seconds(belief, frozenset(FOUR)) == pytest.approx(3 * 4.0, rel=0.03)
    assert belief.predict(FOUR, soak_seconds(belief, frozenset(FOUR)), given="a") == pytest.approx(
        0.95, abs=1e-3
    )


def test_other_defects_are_expected_now_and_then() -> None:
    # One crash with a off does not acquit it when everything else speaks against it.
    belief = Belief(FOUR)
    for _ in range(8):
        belief = belief.observe({"a"}, 1.0, True).observe({"b", "c", "d"}, 20.0, False)
    assert belief.observe({"b"}, 5.0, True).leader() == "a"


def test_the_first_set_is_about_half_of_the_units() -> None:
    belief = Belief(tuple(f"u{i}" for i in range(16)))
    for _ in range(3):
        belief = belief.observe(belief.units, 1.0, True)
    assert 6 <= len(next_set(belief, frozenset(belief.units))) <= 10


def test_prior_moves_the_first_set() -> None:
    belief = Belief(tuple("abcdefgh"), {"c": 1.0})
    for _ in range(3):
        belief = belief.observe(belief.units, 1.0, True)
    chosen = next_set(belief, frozenset(belief.units))
    assert chosen in ({"c"}, set(belief.units) - {"c"})  # the suspect by itself, or all but it
    assert belief.posterior()["a"] > 0


def test_names_that_are_no_units_do_not_matter() -> None:
    belief = Belief(FOUR)
    assert belief.observe({"a", "pinned"}, 1, True) == belief.observe({"a"}, 1.0, True)


@pytest.mark.parametrize("units", [(), ("a", "a"), ("",)])
def test_refuses_units_that_are_no_names(units: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="units"):
        Belief(units)


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
def test_refuses_seconds_that_are_none(seconds: float) -> None:
    with pytest.raises(ValueError, match="seconds"):
        Belief(FOUR).observe(FOUR, seconds, True)


def test_three_hundred_units_and_a_hundred_runs_stay_quick_and_finite() -> None:
    belief = Belief(tuple(f"u{i:03}" for i in range(300)))
    for i in range(100):
        belief = belief.observe(belief.units[i % 7 :: 3], 1e4, i % 3 == 0)
    posterior = belief.posterior()
    assert math.fsum(posterior.values()) == pytest.approx(1.0)
    assert next_set(belief, frozenset(belief.units))
