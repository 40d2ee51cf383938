"""The belief against the same model written as loops over hypotheses."""

from __future__ import annotations

import math
import random

import pytest
from bisect_oracle import Oracle, closed_sets, some_runs, some_units

from lab.bisect.belief import FLOOR, Belief, Observation, Question
from lab.bisect.hypotheses import SYSTEM, Hypothesis, Kind
from lab.bisect.units import Units


def single(unit: str) -> Hypothesis:
    return Hypothesis(Kind.SINGLE, (unit,))


def compare(belief: Belief) -> None:
    """To 1e-9, among the hypotheses that the oracle knows: all but triples."""
    oracle = Oracle(belief.question, belief.observations, belief.wide)
    known = math.fsum(belief.probability(h) for h in oracle.layers)
    for h in oracle.layers:
        assert belief.probability(h) / known == pytest.approx(oracle.probability(h), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("needy", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_probabilities_are_those_of_the_enumerated_model(seed: int, needy: bool, wide: bool) -> None:
    odds = random.Random(f"belief {seed}")
    units = some_units(odds, needy=needy)
    prior = {name: odds.random() ** 3 for name in units.names} if seed % 2 else None
    question = Question(units, prior, soak=odds.choice([8.0, 600.0, 3600.0]))
    belief = Belief(question, some_runs(odds, units), wide)
    compare(belief)
    compare(Belief(question, (), wide))


def test_the_chance_that_the_rate_is_steady() -> None:
    question = Question(Units.plain("abcd"))
    seen = [
        Observation(frozenset("abcd"), s, c) for s, c in ((20, True), (900, False), (35, True), (900, False))
    ]
    belief = Belief(question, tuple(seen))
    assert belief.steady == pytest.approx(Oracle(question, seen).steady, rel=1e-9)
    assert belief.steady < Belief(question, tuple(seen[:1])).steady - 0.2  # early or not at all


def test_odds_by_hand() -> None:
    # Soak 10: λ ~ Gamma(1, 3), μ ~ Gamma(0.4, 400). A crash after 2 s with only a on, rate steady or not.
    belief = Belief(Question(Units.plain("ab"), soak=10.0)).observe(frozenset("a"), 2.0, True)
    on = (1 / 3) * (3 / 5) ** 2  # the mean of λ·exp(-2λ)
    off = 0.4 * 400**0.4 / 402**1.4  # the mean of μ·exp(-2μ)
    bad = 0.88 * 1.0 + 0.04 * (0.75 + 0.5 + 0.3)  # chance of a boot that can crash
    assert belief.probability(single("a")) / belief.probability(single("b")) == pytest.approx(
        on * bad / off, rel=1e-5
    )


def test_a_silence_is_worth_less_when_boots_decide() -> None:
    """Quick crashes with everything on and long silences, too: then silence elsewhere acquits less."""
    question = Question(Units.plain("abcd"))
    everything, half = frozenset("abcd"), frozenset("ab")
    steady = lottery = Belief(question)
    for _ in range(4):
        steady = steady.observe(everything, 30.0, True)
        lottery = lottery.observe(everything, 30.0, True).observe(everything, 900.0, False)
    quiet_steady = steady.observe(half, 300.0, False).probability(single("a"))
    quiet_lottery = lottery.observe(half, 300.0, False).probability(single("a"))
    assert quiet_steady < 0.02 < 0.05 < quiet_lottery


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


@pytest.mark.xfail(strict=True, reason="many equal ones push the leader out of the list")
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
