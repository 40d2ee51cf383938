"""The belief against the same model written as loops over hypotheses."""

from __future__ import annotations

import math
import random

import pytest
from bisect_oracle import Oracle, closed_sets, some_runs, some_triples, some_units

from lab.bisect import hazard
from lab.bisect.belief import FLOOR, Belief, Observation, Question, steadiness
from lab.bisect.fitting import believe
from lab.bisect.hypotheses import SYSTEM, Hypothesis, Kind
from lab.bisect.units import Units


def single(unit: str) -> Hypothesis:
    return Hypothesis(Kind.SINGLE, (unit,))


def compare(belief: Belief) -> None:
    oracle = Oracle(belief)
    assert sum(oracle.probability(h) for h in oracle.layers) == pytest.approx(1.0)
    for h in oracle.layers:
        assert belief.probability(h) == pytest.approx(oracle.probability(h), rel=1e-9, abs=1e-12)
    if belief.by_boot:
        assert steadiness(belief.question, belief.observations) == pytest.approx(
            Oracle(Belief(belief.question, belief.observations, by_boot=True)).steady, rel=1e-9
        )


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("needy", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_probabilities_are_those_of_the_enumerated_model(seed: int, needy: bool, wide: bool) -> None:
    odds = random.Random(f"belief {seed}")
    units = some_units(odds, needy=needy)
    prior = {name: odds.random() ** 3 for name in units.names} if seed % 2 else None
    question = Question(units, prior, soak=odds.choice([8.0, 600.0, 3600.0]))
    triples = some_triples(odds, units) if seed % 3 == 0 else ()
    runs = some_runs(odds, units)
    for by_boot, window in ((False, math.inf), (True, math.inf), (False, 0.3 * question.soak)):
        compare(Belief(question, runs, wide, triples, by_boot, window))
        compare(Belief(question, (), wide, triples, by_boot, window))


def test_quick_crashes_and_long_silences_of_one_set_are_decided_at_boot() -> None:
    question = Question(Units.plain("abcd"))
    seen: tuple[Observation, ...] = ()
    before = steadiness(question, seen)
    for after in (20.0, 35.0, 25.0, 40.0, 30.0, 20.0):
        quiet = Observation(frozenset("abcd"), 900.0, False)
        seen = (*seen, Observation(frozenset("abcd"), after, True), quiet)
    assert steadiness(question, seen) < 0.1 < 0.85 < before
    window = believe(question, seen).window  # then a little more than the longest time to a crash counts
    assert 40.0 < window < 600.0 and believe(question, seen[:1]).window == math.inf


def test_odds_by_hand() -> None:
    # A crash after 2 s with only a on: the mean of λ·exp(-2λ) for λ ~ two Gammas, on a boot that can crash.
    def crash_after(seconds: float, shape: float, rate: float) -> float:
        return float(shape / rate * (rate / (rate + seconds)) ** (shape + 1))

    paces = zip(hazard.PACES, hazard.PACE_PRIOR, strict=True)
    on = sum(float(part) * crash_after(2.0, hazard.A_ON, 10 * float(pace)) for pace, part in paces)
    off = crash_after(2.0, hazard.A_OFF, 10 * hazard.B_OFF)
    bad = float(hazard.SHARES @ hazard.SHARE_PRIOR) / float(hazard.SHARE_PRIOR.sum())
    for by_boot, chance in ((False, 1.0), (True, bad)):
        belief = Belief(Question(Units.plain("ab"), soak=10.0), by_boot=by_boot)
        belief = belief.observe(frozenset("a"), 2.0, True)
        odds = belief.probability(single("a")) / belief.probability(single("b"))
        assert odds == pytest.approx(chance * on / off)


def test_a_long_silence_is_worth_no_more_than_the_window_when_boots_decide() -> None:
    """Quick crashes with everything on, and long silences, too: then silence elsewhere acquits less."""
    question = Question(Units.plain("abcd"))
    everything, half = frozenset("abcd"), frozenset("ab")
    crash, quiet = Observation(everything, 30.0, True), Observation(everything, 900.0, False)

    def left(seen: list[Observation], seconds: float) -> float:
        return believe(question, [*seen, Observation(half, seconds, False)]).probability(single("a"))

    assert left([crash] * 6, 1800.0) < 0.2 * left([crash] * 6, 300.0)
    by_boot = [crash, quiet] * 6
    assert left(by_boot, 1800.0) == pytest.approx(left(by_boot, 300.0))
    assert left(by_boot, 1800.0) > 2 * left([crash] * 6, 1800.0)


def test_the_floor_of_the_evidence() -> None:
    question = Question(Units.plain("abcde"), prior={"a": 1.0})
    assert question.weights.sum() == pytest.approx(1.0)
    assert question.weights[1:] == pytest.approx([FLOOR / 5] * 4)
    assert question.weights[0] > 0.98
    even = Question(Units.plain("abcde"), prior={"a": 0.0, "zz": 9.0})  # nothing about these units
    assert even.weights == pytest.approx([0.2] * 5)


def test_pairs_begin_with_one_member_suspected_and_one_free() -> None:
    belief = Belief(Question(Units.plain("abcd"), prior={"a": 1.0}))
    pair = {p: belief.probability(Hypothesis(Kind.PAIR, p)) for p in (("a", "b"), ("b", "c"))}
    assert pair["a", "b"] > 40 * pair["b", "c"] > 0
    assert belief.system == pytest.approx(0.03)


def test_a_unit_and_its_pair_with_what_it_needs_are_one() -> None:
    units = Units.of("abcd", {"a": ["b"], "b": ["c"]})
    belief = Belief(Question(units))
    for nested in (("a", "b"), ("a", "c"), ("b", "c")):
        assert Hypothesis(Kind.PAIR, nested) not in dict(belief.ranked(99))
        assert Hypothesis(Kind.PAIR, nested) in belief.alike(single(nested[0]))
    assert belief.alike(single("d")) == (single("d"),)
    plain = Belief(Question(Units.plain("abcd")))
    merged = plain.probability(single("a")) + 2 * plain.probability(Hypothesis(Kind.PAIR, ("a", "b")))
    assert belief.probability(single("a")) == pytest.approx(merged)


def test_those_alike_cannot_be_told_apart_by_any_set_and_others_can() -> None:
    units = Units.of("abcde", {"a": ["b"], "b": ["c"], "d": ["c"]})
    belief = Belief(Question(units))
    sets = list(closed_sets(units))

    def shown(h: Hypothesis) -> tuple[bool, ...]:
        return tuple(h.active(on) for on in sets)

    every = [h for h, _ in belief.ranked(99)]
    assert len({shown(h) for h in every}) == len(every)  # what is ranked is told apart by some set
    for h in every:
        assert belief.alike(h)[0] == h
        assert {shown(other) for other in belief.alike(h)} == {shown(h)}


def test_ranked_is_in_order_and_whole() -> None:
    odds = random.Random("ranked")
    units = some_units(odds, 6, 6)
    belief = Belief(Question(units), some_runs(odds, units), wide=True)
    every = belief.ranked(9999)
    assert [p for _, p in every] == sorted((p for _, p in every), reverse=True)
    assert math.fsum(p for _, p in every) == pytest.approx(1.0)
    assert belief.ranked(5) == every[:5]
    assert all(belief.probability(h) == pytest.approx(p) for h, p in every)


def test_equal_ones_are_ranked_by_kind_and_name() -> None:
    belief = Belief(Question(Units.plain("dcba")))
    assert [h for h, _ in belief.ranked(4)] == [single(u) for u in "abcd"]


def test_the_leader_is_found_among_many_equals() -> None:
    names = [f"u{i:03}" for i in range(300)]
    everything = frozenset(names)
    belief = Belief(Question(Units.plain(names))).observe(everything, 300.0, True)
    belief = belief.observe(frozenset({"u299"}), 100.0, True)
    belief = belief.observe(everything - {"u299"}, 3000.0, False)
    assert belief.ranked(1) == [(single("u299"), belief.probability(single("u299")))]


def test_suspicion_adds_up_what_a_unit_takes_part_in() -> None:
    odds = random.Random("suspicion")
    units = some_units(odds, 5, 5)
    belief = Belief(Question(units), some_runs(odds, units), wide=True)
    for unit, part in belief.suspicion().items():
        mine = (p for h, p in belief.ranked(9999) if unit in h.units)
        assert part == pytest.approx(min(1.0, math.fsum(mine)))


def test_system_speaks_up_when_everything_is_off() -> None:
    belief = Belief(Question(Units.plain("abc"))).observe(frozenset("abc"), 100.0, True)
    assert belief.system == pytest.approx(0.03)
    assert belief.observe(frozenset(), 60.0, True).ranked(1)[0][0] == SYSTEM


@pytest.mark.parametrize("seconds", [-1.0, math.inf, math.nan])
def test_impossible_seconds_are_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="seconds of an observation"):
        Belief(Question(Units.plain("ab"))).observe(frozenset("a"), seconds, False).ranked()


@pytest.mark.parametrize(
    "bad",
    [
        {"soak": 0.0},
        {"soak": math.inf},
        {"setup": -1.0},
        {"prior": {"a": -1.0}},
        {"prior": {"a": math.nan}},
        {"system_prior": 0.0},
        {"system_prior": 0.9, "pair_prior": 0.1},
    ],
)
def test_impossible_questions_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        Question(Units.plain("ab"), **bad)  # type: ignore[arg-type]
