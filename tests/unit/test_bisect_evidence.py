"""From evidence to the prior."""

from __future__ import annotations

from lab.bisect import prior
from lab.model import Evidence, Strength


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
