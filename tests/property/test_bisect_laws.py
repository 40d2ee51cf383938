"""Laws that the belief must keep, whatever is observed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.bisect import SYSTEM, Belief, Observation, next_set, prior, soak_seconds
from lab.bisect.greedy import information
from lab.model import Evidence, Strength

UNITS = tuple("abcdef")
SECONDS = st.floats(0, 1e5, allow_nan=False)
sets = st.frozensets(st.sampled_from(UNITS))
runs = st.lists(st.builds(Observation, sets, SECONDS, st.booleans()), max_size=12)
weights = st.one_of(st.none(), st.dictionaries(st.sampled_from(UNITS), st.floats(0, 1e6)))
beliefs = st.builds(
    lambda p, seen, system: _after(Belief(UNITS, p, system), seen), weights, runs, st.floats(0.001, 0.5)
)
evidences = st.builds(
    Evidence,
    rule=st.sampled_from(["r1", "r2", "r3"]),
    statement=st.just("."),
    strength=st.sampled_from(Strength),
    where=st.just(""),
    points_to=st.lists(st.sampled_from([u + ".SYS" for u in UNITS]), max_size=3).map(tuple),
    clears=st.lists(st.sampled_from([u + ".sys" for u in UNITS]), max_size=3).map(tuple),
)


def _after(belief: Belief, seen: list[Observation]) -> Belief:
    for o in seen:
        belief = belief.observe(*o)
    return belief


@given(beliefs)
def test_posterior_is_a_distribution_that_excludes_nobody(belief: Belief) -> None:
    posterior = belief.posterior()
    assert set(posterior) == {*UNITS, SYSTEM}
    assert math.fsum(posterior.values()) == pytest.approx(1.0, abs=1e-9)
    assert all(0.0 <= p <= 1.0 for p in posterior.values())


@given(runs, st.randoms(use_true_random=False))
def test_the_order_of_observations_does_not_matter(seen: list[Observation], odds: object) -> None:
    shuffled = list(seen)
    odds.shuffle(shuffled)  # type: ignore[attr-defined]
    assert _after(Belief(UNITS), seen).posterior() == _after(Belief(UNITS), shuffled).posterior()


@st.composite
def baselines(draw: st.DrawFn) -> Belief:
    """All that is known at the start of a search: some crashes with everything on."""
    belief = Belief(UNITS, draw(weights), draw(st.floats(0.001, 0.5)))
    for after in draw(st.lists(st.floats(0.1, belief.soak), max_size=3)):
        belief = belief.observe(UNITS, after, True)
    return belief


@given(baselines(), sets.filter(lambda on: len(on) > 0), st.floats(0, 8))
def test_a_crash_lowers_every_unit_that_was_off(belief: Belief, on: frozenset[str], seconds: float) -> None:
    before, after = belief.posterior(), belief.observe(on, seconds, True).posterior()
    assert all(after[off] < before[off] for off in set(UNITS) - on)
    assert after[SYSTEM] > before[SYSTEM] or on == set(UNITS)


@given(baselines(), sets.filter(bool), st.floats(0.1, 1e4))
def test_silence_lowers_every_unit_that_was_on(belief: Belief, on: frozenset[str], seconds: float) -> None:
    before, after = belief.posterior(), belief.observe(on, seconds, False).posterior()
    if on != set(UNITS):
        assert all(after[unit] < before[unit] for unit in on)
        assert after[SYSTEM] < before[SYSTEM]


@given(beliefs, sets, SECONDS, SECONDS)
def test_predictions_are_probabilities_that_grow_with_time(
    belief: Belief, on: frozenset[str], one: float, two: float
) -> None:
    short, long = sorted((one, two))
    assert 0.0 <= belief.predict(on, short) <= belief.predict(on, long) + 1e-12 <= 1.0 + 1e-12


@given(beliefs, sets, sets)
def test_the_next_set_keeps_to_what_is_allowed(
    belief: Belief, allowed: frozenset[str], always: frozenset[str]
) -> None:
    chosen = next_set(belief, allowed, always)
    assert always <= chosen <= allowed | always
    assert chosen == next_set(belief, allowed, always)
    assert information(belief, chosen) >= information(belief, always) - 1e-9


@given(beliefs, sets, st.floats(0.5, 0.99), st.floats(0.5, 0.99))
def test_more_confidence_takes_a_longer_soak(belief: Belief, on: frozenset[str], a: float, b: float) -> None:
    low, high = sorted((a, b))
    if high - low > 0.01 and _same_rivals(belief, on, low, high):
        assert 0 < soak_seconds(belief, on, low) <= soak_seconds(belief, on, high)


def _same_rivals(belief: Belief, on: frozenset[str], low: float, high: float) -> bool:
    mass = math.fsum(p for u, p in belief.posterior().items() if u in on or u == SYSTEM)
    return (mass < 1 - low) == (mass < 1 - high)


@given(st.lists(evidences, max_size=8))
def test_evidence_never_excludes_a_unit_and_is_capped(seen: list[Evidence]) -> None:
    units = {u: (u + ".sys",) for u in UNITS}
    shares = prior(units, seen)
    assert math.fsum(shares.values()) == pytest.approx(1.0)
    assert min(shares.values()) >= 0.1 * 0.1 / len(UNITS)
    assert max(shares.values()) <= 0.9 + 0.1
    assert prior(units, [*seen, *seen]) == shares  # seen twice is known once
