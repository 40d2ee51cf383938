"""Verdicts on several drivers in words: a pair, three, each by itself, one of several, undecided."""

from __future__ import annotations

import re
from dataclasses import replace

import bisect_samples as plays
import pytest

from lab.bisect.steps import Answer
from lab.model import Trial, Verdict, VerdictKind
from lab.playbook import View
from lab.playbook.search import _seen
from lab.report import verdict, words

PAIR = plays.pair()
PAIR_CASE = PAIR.found(VerdictKind.PAIR)
SINGLE = plays.single()
SINGLE_CASE = SINGLE.found(VerdictKind.DRIVER)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (
            VerdictKind.PAIR,
            "{0} and {1} cause the crash only together; removing either of them stops the crash.",
        ),
        (VerdictKind.EACH_OF, "{0} and {1} cause the crash, each by itself; removing both stops the crash."),
        (VerdictKind.ONE_OF, "Either {0} or {1} causes the crash."),
    ],
)
def test_kinds_of_several_culprits_are_told_apart(kind: VerdictKind, sentence: str) -> None:
    names = tuple(sorted(PAIR.culprits))
    said = verdict.answer(replace(PAIR_CASE, verdict=Verdict(kind, names, 0.99, ())))
    assert said.sentence == sentence.format(*(f"{n}.sys" for n in names))
    assert said.settled is (kind is not VerdictKind.ONE_OF)


def test_three_that_need_each_other() -> None:
    names = (*sorted(PAIR.culprits), PAIR.services[0])
    said = verdict.answer(replace(PAIR_CASE, verdict=Verdict(VerdictKind.TRIPLE, names, 0.99, ())))
    assert "cause the crash only together" in said.sentence and "either" not in said.sentence
    assert said.actions[0].text == "One of them is enough, for the crash takes all 3: the one you need least."
    assert said.decide == (
        f"A trial with {words.names([f'{n}.sys' for n in names])} alone that crashes, and trials that stand, "
        f"each without {words.names([f'{n}.sys' for n in names], 'or')}.",
    )


def test_of_a_pair_one_may_stay() -> None:
    said = verdict.answer(PAIR_CASE)
    first, second = sorted(PAIR.culprits)
    assert said.actions[0].title == f"Remove {first}.sys or {second}.sys, until there is a newer version"
    assert said.proof[0].startswith("With them alone: crashed after")
    assert said.proof[1].startswith(f"With {second}.sys on and {first}.sys off: stood 30 min")
    assert "each of them" not in said.actions[0].text.casefold()


def test_of_several_each_has_to_go() -> None:
    names = tuple(sorted(PAIR.culprits))
    said = verdict.answer(replace(PAIR_CASE, verdict=Verdict(VerdictKind.EACH_OF, names, 0.99, ())))
    assert said.actions[0].title == "Deal with both"
    assert len([a for a in said.actions if a.title.startswith("Update or remove")]) == 2


def together(trial: Trial, names: frozenset[str], on: bool) -> Trial:
    off = trial.recipe.disabled - names if on else trial.recipe.disabled | names
    enabled = trial.enabled | names if on else trial.enabled - names
    return replace(trial, enabled=enabled, recipe=replace(trial.recipe, disabled=off))


def test_drivers_that_always_moved_together_cannot_be_told_apart() -> None:
    names = frozenset(SINGLE.services[:2])
    trials = tuple(together(t, names, t.number % 2 == 0) for t in SINGLE_CASE.trials)
    ruling = Verdict(VerdictKind.ONE_OF, tuple(sorted(names)), 0.9, ())
    case = replace(SINGLE_CASE, trials=trials, verdict=ruling)
    assert verdict.answer(case).sentence.endswith(": in every trial they were on or off together.")
    apart = (together(trials[0], frozenset({SINGLE.services[0]}), True), *trials[1:])
    assert "together" not in verdict.answer(replace(case, trials=apart)).sentence


def test_crashes_with_one_of_a_pair_off_speak_against_it() -> None:
    first = min(PAIR.culprits)
    wrong = Verdict(
        VerdictKind.PAIR, (first, next(s for s in PAIR.services if s not in PAIR.culprits)), 0.7, ()
    )
    said = verdict.answer(replace(PAIR_CASE, verdict=wrong))
    assert re.fullmatch(
        r"Against this verdict: trials? .* crashed with at least one of them off\.", said.against
    )
    assert "removing" not in said.sentence


def test_what_would_decide_it_stands_in_its_own_place() -> None:
    ruling = Verdict(
        VerdictKind.UNDECIDED, (), 0.2, ("the budget is spent", "what would decide it: 40 min more of load")
    )
    said = verdict.answer(replace(SINGLE_CASE, verdict=ruling))
    assert said.because == ("The budget is spent.",)
    assert said.decide[0] == "40 min more of load."


def test_an_undecided_pair_is_no_choice_between_two() -> None:
    ruling = Verdict(VerdictKind.UNDECIDED, tuple(sorted(PAIR.culprits)), 0.6, ("the budget is spent",))
    apart = verdict.answer(replace(PAIR_CASE, verdict=ruling))
    said = verdict.answer(replace(PAIR_CASE, verdict=replace(ruling, together=True)))
    assert re.fullmatch(r"Not decided yet: it may be \S+ or \S+\.", apart.sentence)
    assert re.fullmatch(r"Not decided yet: it may be \S+ and \S+ together\.", said.sentence)
    assert any("on together, and each of them off" in way for way in said.decide)
    assert any("apart" in way for way in apart.decide)


def test_a_verdict_that_names_nobody_has_no_number() -> None:
    nobody = Verdict(VerdictKind.UNDECIDED, (), 0.03, ("the budget is spent",))
    said = verdict.answer(replace(SINGLE_CASE, verdict=nobody))
    assert said.percent == "" and "no" in said.sure and "%" not in said.sure
    somebody = replace(nobody, culprits=SINGLE.services[:1], probability=0.3)
    assert verdict.answer(replace(SINGLE_CASE, verdict=somebody)).percent == "30 %"


def test_what_the_trials_say_is_not_said_twice() -> None:
    for kind, case in ((VerdictKind.PAIR, PAIR_CASE), (VerdictKind.DRIVER, SINGLE_CASE)):
        assert case.verdict is not None
        view = View(case)
        seen = _seen(
            view,
            Answer(kind, case.verdict.culprits, 0.99, (), case.verdict.confirmed_by),
            case.verdict.culprits,
        )
        assert len(seen) == 2
        known = replace(case, verdict=replace(case.verdict, because=(*seen, "and more")))
        assert verdict.answer(known).because == ("And more.",)


def test_many_crashes_in_confirming_trials_are_told_by_their_mean() -> None:
    crashed = [t for t in SINGLE_CASE.trials if t.outcome.kind == "crashed" and SINGLE.culprits <= t.enabled]
    assert len(crashed) > 4 and SINGLE_CASE.verdict is not None
    ruling = replace(SINGLE_CASE.verdict, confirmed_by=tuple(t.number for t in crashed))
    said = " ".join(verdict.answer(replace(SINGLE_CASE, verdict=ruling)).proof)
    assert re.search(r"crashed \d+ times, after \S+ \S+.* of load on average \(trials ", said)
