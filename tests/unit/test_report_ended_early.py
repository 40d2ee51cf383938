"""Trials that say little or nothing: the report must not make more of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.model import (
    Case,
    Driver,
    Invalid,
    InvalidReason,
    LoadPlan,
    Origin,
    Outcome,
    Recipe,
    Signature,
    StartType,
    Survived,
    Trial,
    VerifierPlan,
)
from lab.report import ladder, matrix
from lab.report.markdown import render_markdown

LONELY = Driver("disk", "vlrscsi.sys", "", StartType.BOOT, True, origin=Origin.THIRD_PARTY, pinned="its disk")
DRIVERS = (
    *(
        Driver(f"d{i:02}", f"d{i:02}.sys", "", StartType.SYSTEM, True, origin=Origin.THIRD_PARTY)
        for i in range(20)
    ),
    LONELY,
)
ALL = frozenset(d.service for d in DRIVERS)


def trial(number: int, off: set[str], outcome: Outcome, *, looked: bool = True) -> Trial:
    recipe = Recipe(frozenset(off), VerifierPlan(), LoadPlan(seconds=600.0), "bisect")
    return Trial(
        number,
        "srv1",
        recipe,
        ALL - off if looked else frozenset(),
        outcome,
        "2026-11-22T10:00:00+00:00",
        700.0,
    )


def case(*trials: Trial) -> Case:
    return Case(
        "c", "t", "2026-11-22T09:00:00+00:00", Signature(0x20, 0, "", ()), LoadPlan(), DRIVERS, trials=trials
    )


GONE = Invalid(InvalidReason.INTERRUPTED, "interrupted")
HALF = {f"d{i:02}" for i in range(10)}


@pytest.mark.parametrize(
    ("off", "said"),
    [
        ({"d03"}, "Off: d03.sys"),
        (HALF, "10 of 21 drivers off"),
        (set(ALL - {"disk"}), "Only vlrscsi.sys on"),
        (set(), "All drivers as found"),
    ],
)
def test_what_was_planned_is_told_of_a_trial_that_never_began(off: set[str], said: str) -> None:
    known = case(trial(1, off, GONE, looked=False))
    assert ladder.off(known, known.trials[0]) == said


def test_a_run_that_was_cut_short_says_so_and_teaches_nothing() -> None:
    known = case(
        trial(1, {"d03"}, Survived(0.4, "the verdict came first")), trial(2, {"d03"}, Survived(600.0))
    )
    short, whole = ladder.steps(known, {})
    assert (short.end.detail, short.end.note) == ("0.4 s of load, cut short", "The verdict came first.")
    assert short.lessons == ()
    assert (whole.end.detail, whole.end.note) == ("10 min of load", "")
    assert [lesson.text for lesson in whole.lessons] == ["No crash: the cause may be d03.sys."]
    text = render_markdown(known)
    assert "The verdict came first." in text and text.count("the cause may be") == 1


def test_nobody_knows_what_ran_in_a_trial_that_never_began() -> None:
    known = case(
        trial(1, HALF, Survived(600.0)),
        trial(2, HALF, GONE, looked=False),
        trial(3, set(ALL) - {"disk"}, GONE),
    )
    picture = matrix.matrix(known)
    assert picture is not None and picture.others
    assert not [row for row in picture.rows if row.full == LONELY.image], "it was never switched off"
    assert picture.rest == "1 more driver was never switched off."
    others = picture.rows[-1].cells
    assert [cell.state for cell in others] == ["part", "unknown", "part"]
    assert others[1].text.endswith("ran in trial 2 is not known")


def test_a_trial_that_never_began_hides_no_row_that_changed() -> None:
    known = case(trial(1, set(), Survived(600.0)), trial(2, {"d19"}, replace(GONE, why="x"), looked=False))
    picture = matrix.matrix(known)
    assert picture is not None
    assert [row.full for row in picture.rows] == ["d19.sys"]
