"""From trials to observations, confirming runs and the verdict."""

from __future__ import annotations

from lab.bisect import (
    SYSTEM,
    Belief,
    confirmations,
    decide,
    next_confirmation,
    observations,
    prior,
    verdict_from,
)
from lab.bisect.verdict import percent
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
    VerdictKind,
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


def believe(trials: list[Trial], units: tuple[str, ...] = ABC) -> Belief:
    belief = Belief(units)
    for seen in observations(case(*trials), units):
        belief = belief.observe(*seen)
    return belief


CONVICTING = [
    trial(1, "abc", crash(2.0)),
    trial(2, "abc", crash(3.0)),
    trial(3, "a", crash(2.0)),
    trial(4, "bc", Survived(60.0)),
]


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


def test_a_driver_is_convicted_by_probability_and_both_confirming_runs() -> None:
    belief = believe(CONVICTING)
    seen = confirmations(CONVICTING, ABC, belief)
    assert (seen.culprit, seen.alone, seen.without, seen.complete) == ("a", (3,), (4,), True)
    assert next_confirmation(belief, seen) is None
    verdict = decide(belief, seen)
    assert verdict is not None and verdict == verdict_from(belief, seen)
    assert verdict.kind is VerdictKind.DRIVER
    assert verdict.culprits == ("a",) and verdict.confirmed_by == (3, 4)
    assert verdict.probability == belief.posterior()["a"] >= 0.99
    assert "3 of 4 valid runs ended in the crash." in verdict.because


def test_certainty_without_the_confirming_runs_is_undecided() -> None:
    trials = CONVICTING[:2] + [trial(n, "ab", crash(1.0)) for n in (3, 4)]
    trials += [trial(n, "b", Survived(60.0)) for n in (5, 6)] + [trial(7, "c", Survived(60.0))]
    belief = believe(trials)
    seen = confirmations(trials, ABC, belief)
    assert belief.posterior()["a"] >= 0.99
    assert decide(belief, seen) is None
    verdict = verdict_from(belief, seen)
    assert verdict.kind is VerdictKind.UNDECIDED and verdict.culprits == ()
    assert verdict.probability == belief.posterior()["a"]
    assert any("only a on" in line for line in verdict.because)
    assert next_confirmation(belief, seen) == {"a"}


def test_silence_must_last_long_enough_and_is_added_up() -> None:
    short = [*CONVICTING[:3], trial(4, "bc", Survived(4.0))]
    seen = confirmations(short, ABC, believe(short), culprit="a")
    assert not seen.complete and seen.stood == 4.0 < seen.needed
    assert next_confirmation(believe(short), seen) == {"b", "c"}
    longer = [*short, trial(5, "bc", Survived(40.0)), trial(6, "bc", crash(5.0, Relation.OTHER))]
    assert confirmations(longer, ABC, believe(longer), culprit="a").stood == 49.0


def test_a_crash_without_the_culprit_is_held_against_the_verdict() -> None:
    trials = [*CONVICTING, trial(5, "bc", crash(3.0))]
    seen = confirmations(trials, ABC, believe(trials), culprit="a")
    assert seen.against == (5,) and seen.stood == 0.0 and not seen.complete
    assert decide(believe(trials), seen) is None
    assert any("also crashed without" in line for line in verdict_from(believe(trials), seen).because)


def test_the_system_needs_a_crash_with_everything_off() -> None:
    trials = [trial(n, "", crash(2.0)) for n in (1, 2, 3)]
    belief = believe(trials)
    assert belief.leader() == SYSTEM
    verdict = decide(belief, confirmations(trials, ABC, belief))
    assert verdict is not None and verdict.kind is VerdictKind.SYSTEM
    assert verdict.culprits == () and verdict.confirmed_by == (1, 2, 3)
    split = [trial(n, x, crash(1.0)) for n, x in enumerate("abcabc")]  # each crashed, none was off in all
    seen = confirmations(split, ABC, believe(split))
    assert seen.culprit == SYSTEM and decide(believe(split), seen) is None
    assert next_confirmation(believe(split), seen) == frozenset()


def test_drivers_that_only_move_together_are_one_answer() -> None:
    members = {"a": ("a", "a2"), "b": ("b",), "c": ("c",)}
    belief = believe(CONVICTING)
    verdict = decide(belief, confirmations(CONVICTING, members, belief), members=members)
    assert verdict is not None and verdict.kind is VerdictKind.ONE_OF
    assert verdict.culprits == ("a", "a2")


def test_units_that_no_trial_told_apart_are_one_answer_only_at_the_end() -> None:
    trials = [trial(n, "ab", crash(1.0)) for n in (1, 2, 3)] + [trial(4, "c", Survived(200.0))]
    belief = believe(trials)
    seen = confirmations(trials, ABC, belief)
    assert decide(belief, seen) is None
    verdict = verdict_from(belief, seen)
    assert verdict.kind is VerdictKind.ONE_OF and verdict.culprits == ("a", "b")
    assert verdict.probability == belief.posterior()["a"] + belief.posterior()["b"]


def test_one_unit_alone_is_judged_against_the_rest_of_the_system() -> None:
    trials = [trial(n, "a", crash(2.0)) for n in (1, 2)] + [trial(3, "", Survived(100.0))]
    belief = believe(trials, ("a",))
    verdict = decide(belief, confirmations(trials, ("a",), belief))
    assert verdict is not None and verdict.culprits == ("a",) and verdict.confirmed_by == (1, 2, 3)


def test_nearly_certain_is_never_written_as_certain() -> None:
    assert percent(0.99999) == "more than 99.9 %"
    assert percent(1e-9) == "less than 0.1 %"
    assert percent(0.9) == "90 %" and percent(0.973) == "97.3 %"


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
