"""From trials to observations, and from evidence to the prior."""

from __future__ import annotations

from lab.bisect import observations, prior
from lab.model import (
    Bugcheck,
    Case,
    Crashed,
    Evidence,
    Invalid,
    InvalidReason,
    LoadPlan,
    Outcome,
    Recipe,
    Relation,
    Signature,
    Strength,
    Survived,
    Trial,
    VerifierPlan,
)

ABC = ("a", "b", "c")


def trial(number: int, enabled: str, outcome: Outcome) -> Trial:
    recipe = Recipe(frozenset(), VerifierPlan(), LoadPlan())
    return Trial(number, "host", recipe, frozenset(enabled), outcome, "2026-01-01T00:00:00+00:00", 60.0)


def crash(after: float, relation: Relation = Relation.SAME) -> Crashed:
    return Crashed(after, Bugcheck(0x20), relation)


def case(*trials: Trial) -> Case:
    return Case("id", "t", "now", Signature(0x20, 0, "", ()), LoadPlan(), trials=trials)


def test_only_the_crash_looked_for_is_a_crash_and_other_stops_are_seconds_without_it() -> None:
    seen = observations(
        case(
            trial(1, "ab", crash(2.0)),
            trial(2, "a", crash(3.0, Relation.SIBLING)),
            trial(3, "b", crash(4.0, Relation.OTHER)),
            trial(4, "b", crash(5.0, Relation.OURS)),
            trial(5, "c", Survived(8.0)),
            trial(6, "c", Invalid(InvalidReason.NOT_APPLIED, "it stayed on")),
        ),
        ABC,
    )
    assert [(set(s), seconds, crashed) for s, seconds, crashed in seen] == [
        ({"a", "b"}, 2.0, True),
        ({"a"}, 3.0, True),
        ({"b"}, 4.0, False),
        ({"b"}, 5.0, False),
        ({"c"}, 8.0, False),
    ]


def test_a_unit_of_several_services_is_on_when_any_of_them_ran() -> None:
    units = {"suite": ("a", "b"), "other": ("c",)}
    seen = observations(case(trial(1, "b", Survived(1.0)), trial(2, "cz", Survived(1.0))), units)
    assert [o.enabled for o in seen] == [{"suite"}, {"other"}]


def fact(strength: Strength, *points_to: str, rule: str = "r", clears: tuple[str, ...] = ()) -> Evidence:
    return Evidence(rule, "A fact.", strength, "0x0", points_to, clears)


UNITS = {f"d{i}": (f"D{i}.sys",) for i in range(10)}


def test_stronger_evidence_moves_more_and_names_are_compared_without_case() -> None:
    shares = [prior(UNITS, [fact(s, "d3.SYS")])["d3"] for s in Strength]
    assert shares == sorted(shares) and 0.1 < shares[0] < shares[-1] <= 0.91


def test_evidence_that_names_several_is_shared_among_them() -> None:
    shares = prior(UNITS, [fact(Strength.STRONG, "D1.sys", "D2.sys", "unknown.sys")])
    assert shares["d1"] == shares["d2"] > 5 * shares["d3"]


def test_different_rules_add_up_and_repeats_do_not() -> None:
    once = fact(Strength.MODERATE, "D1.sys")
    assert prior(UNITS, [once, once]) == prior(UNITS, [once])
    assert (
        prior(UNITS, [once, fact(Strength.MODERATE, "D1.sys", rule="r2")])["d1"] > prior(UNITS, [once])["d1"]
    )


def test_a_cleared_driver_keeps_a_floor() -> None:
    shares = prior(UNITS, [fact(Strength.PROOF, clears=("D1.sys",), rule=f"r{i}") for i in range(9)])
    assert 0.009 < shares["d1"] < shares["d2"]


def test_no_evidence_leaves_all_alike() -> None:
    assert set(prior(UNITS, []).values()) == {0.1}
    assert prior({}, []) == {}
