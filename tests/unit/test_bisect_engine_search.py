"""Whole searches with the function that real hosts run, in worlds with known culprits and fixed seeds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from lab.bisect.belief import Question
from lab.bisect.confirming import CERTAIN
from lab.bisect.hypotheses import SYSTEM, Hypothesis, Kind
from lab.bisect.simulation import Crashing, Simulated, Times, simulate
from lab.bisect.units import Units
from lab.model import VerdictKind

NAMES = tuple(f"u{i:02}" for i in range(16))
PLAIN = Units.plain(NAMES)
NEEDY = Units.of(NAMES, {"u00": ["u01"], "u01": ["u02"], "u04": ["u02"], "u05": ["u06"], "u06": ["u05"]})
EVERYTHING = frozenset(NAMES)


def single(unit: str) -> Hypothesis:
    return Hypothesis(Kind.SINGLE, (unit,))


def search(
    culprits: Sequence[Hypothesis],
    p: float = 0.8,
    *,
    units: Units = PLAIN,
    times: Times = Times.STEADY,
    hosts: int = 1,
    q: float = 0.0,
    seed: int = 1,
    prior: dict[str, float] | None = None,
) -> Simulated:
    world = Crashing(culprits, p, q, times=times, seed=seed)
    return simulate(Question(units, prior), world, hosts=hosts, most_trials=300)


def check_named(result: Simulated, kind: VerdictKind, *culprits: str) -> None:
    """The answer, and that its confirming runs were really seen: silence without, a crash with them only."""
    answer = result.answer
    assert (answer.kind, answer.culprits) == (kind, culprits)
    assert answer.probability >= CERTAIN and answer.confirmed_by
    by_number = {o.trial: o for o in result.observations}
    confirming = [by_number[t] for t in answer.confirmed_by]
    crashes = [o for o in confirming if o.crashed]
    silences = [o for o in confirming if not o.crashed]
    assert crashes and silences
    assert all(set(culprits) & o.on for o in crashes)
    if kind is VerdictKind.EACH_OF:
        assert all(not set(culprits) & o.on for o in silences)
    else:
        assert all(not set(culprits) <= o.on for o in silences)


@pytest.mark.parametrize("hosts", [1, 4])
@pytest.mark.parametrize("seed", [2, 3])
def test_a_single_culprit(seed: int, hosts: int) -> None:
    check_named(search([single("u11")], 0.5, seed=seed, hosts=hosts), VerdictKind.DRIVER, "u11")


def test_a_pair() -> None:
    result = search([Hypothesis(Kind.PAIR, ("u03", "u12"))])
    check_named(result, VerdictKind.PAIR, "u03", "u12")
    quiet = [o.on for o in result.observations if not o.crashed and o.trial in result.answer.confirmed_by]
    assert {EVERYTHING - {"u03"}, EVERYTHING - {"u12"}} <= set(quiet)


def test_three_together() -> None:
    result = search([Hypothesis(Kind.TRIPLE, ("u02", "u05", "u11"))], 0.95)
    check_named(result, VerdictKind.TRIPLE, "u02", "u05", "u11")


@pytest.mark.parametrize("seed", [1, 2])
def test_each_of_two(seed: int) -> None:
    check_named(search([single("u03"), single("u12")], 0.95, seed=seed), VerdictKind.EACH_OF, "u03", "u12")


def test_none_of_them() -> None:
    result = search([SYSTEM], 0.95, seed=2)
    assert result.answer.kind is VerdictKind.SYSTEM and result.answer.culprits == ()
    crashed = [o for o in result.observations if o.trial in result.answer.confirmed_by]
    assert crashed and all(o.crashed and not o.on for o in crashed)


def test_a_culprit_that_needs_others() -> None:
    result = search([single("u00")], units=NEEDY)
    check_named(result, VerdictKind.DRIVER, "u00")
    assert any("u01" in said and "u02" in said for said in result.answer.because)


def test_a_culprit_that_others_need() -> None:
    check_named(search([single("u02")], units=NEEDY), VerdictKind.DRIVER, "u02")


def test_a_culprit_that_moves_with_another_is_their_unit() -> None:
    check_named(search([single("u05")], units=NEEDY), VerdictKind.DRIVER, "u05")
    assert NEEDY.services["u05"] == ("u05", "u06")


def test_a_pair_with_needs() -> None:
    result = search([Hypothesis(Kind.PAIR, ("u01", "u04"))], units=NEEDY)
    check_named(result, VerdictKind.PAIR, "u01", "u04")
    assert all(NEEDY.close_on(o.on) == o.on for o in result.observations)


def test_boots_that_decide() -> None:
    result = search([single("u07")], 0.6, times=Times.PER_BOOT)
    check_named(result, VerdictKind.DRIVER, "u07")


def test_unrelated_crashes_now_and_then() -> None:
    check_named(search([single("u09")], 0.8, q=0.02, seed=3), VerdictKind.DRIVER, "u09")


def test_evidence_that_is_right_helps_and_that_misleads_does_not_decide() -> None:
    even = dict.fromkeys(NAMES, 0.1 / len(NAMES))
    helped = search([single("u11")], 0.95, prior=even | {"u11": 0.8, "u01": 0.1})
    misled = search([single("u11")], 0.95, prior=even | {"u01": 0.8, "u02": 0.1})
    check_named(helped, VerdictKind.DRIVER, "u11")
    check_named(misled, VerdictKind.DRIVER, "u11")
    assert helped.trials < misled.trials


def test_not_reproducible() -> None:
    result = search([], 0.5)
    assert result.answer.kind is VerdictKind.NOT_REPRODUCIBLE
    assert all(o.on == EVERYTHING and not o.crashed for o in result.observations)
