"""How a search is shown: who it could be after each trial, drivers by trials, runs with and without."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import bisect_samples as plays
import pytest
import report_samples as samples
from html_outline import Outline

from lab.bisect.fitting import believe
from lab.model import Case, Survived, Verdict, VerdictKind
from lab.playbook import View
from lab.report import calibration, matrix, survival
from lab.report.html import render_html
from lab.report.ladder import steps, stretches
from lab.report.markdown import render_markdown
from lab.report.posterior import posterior

ROOT = Path(__file__).parents[2]


def played(make: Callable[[], plays.Play], kind: VerdictKind) -> tuple[plays.Play, Case]:
    play = make()
    return play, play.found(kind, "the host stood without")


SINGLE, SINGLE_CASE = played(plays.single, VerdictKind.DRIVER)
PAIR, PAIR_CASE = played(plays.pair, VerdictKind.PAIR)
MANY, MANY_CASE = played(plays.many, VerdictKind.DRIVER)
RUDE, RUDE_CASE = played(plays.hostile, VerdictKind.DRIVER)
UNDECIDED = plays.undecided()
UNDECIDED_CASE = UNDECIDED.case(Verdict(VerdictKind.UNDECIDED, (), 0.0, ("the budget is spent",)), "")
NONE = plays.none_of_them()
NONE_CASE = NONE.case(Verdict(VerdictKind.SYSTEM, (), 0.98, ("it also came with all off",)), "")
EVERY = {
    "single": (SINGLE, SINGLE_CASE),
    "pair": (PAIR, PAIR_CASE),
    "many": (MANY, MANY_CASE),
    "hostile": (RUDE, RUDE_CASE),
    "undecided": (UNDECIDED, UNDECIDED_CASE),
    "none": (NONE, NONE_CASE),
}
every = pytest.mark.parametrize("name", EVERY)


@every
def test_the_page_of_a_search_is_sound(name: str) -> None:
    play, case = EVERY[name]
    page = render_html(case, search=play)
    outline = Outline(page)
    assert (outline.faults, outline.open) == ([], [])
    ids = outline.values("id")
    assert len(ids) == len(set(ids))
    links = [v[1:] for v in outline.values("href") if v.startswith("#")]
    assert set(links) <= set(ids)
    assert outline.tags.count("script") == 1
    assert not [n for _, n, _ in outline.attributes if n.startswith("on")]
    assert not set(page) & {"\u202e", "\x1b", "\ud800"}
    assert "Who it could be" in outline.words


@every
def test_the_probabilities_always_add_up(name: str) -> None:
    play, case = EVERY[name]
    picture = posterior(case, play)
    assert picture is not None
    assert picture.tracks[-1].kind == "others"
    for column in zip(*(t.levels for t in picture.tracks), strict=True):
        assert sum(column) == pytest.approx(1.0, abs=1e-6)
    assert {len(t.levels) for t in picture.tracks} == {len(case.trials) + 1}


def test_no_number_of_a_trial_is_written_over_the_word_start() -> None:
    for play, case in EVERY.values():
        picture = posterior(case, play)
        assert picture is not None
        numbered = [mark for mark in picture.marks if mark.numbered]
        assert numbered[0].number == 1 or numbered[0].x > 8.0, "some way to the right"


def test_a_level_is_what_the_engine_believed_after_that_trial() -> None:
    picture = posterior(SINGLE_CASE, SINGLE)
    assert picture is not None
    for number in (0, 5, 12, len(SINGLE_CASE.trials)):
        seen = [o for o in SINGLE.observations if o.trial <= number]
        told = dict(believe(SINGLE.question, seen).suspicion())
        alone = believe(SINGLE.question, seen).ranked(100)
        leader = next((p for h, p in alone if h.units == tuple(SINGLE.culprits)), None)
        assert leader is not None and leader <= told[next(iter(SINGLE.culprits))] + 1e-9
        assert picture.tracks[0].levels[number] == pytest.approx(leader)


def test_a_trial_that_says_nothing_changes_nothing() -> None:
    picture = posterior(SINGLE_CASE, SINGLE)
    assert picture is not None
    (mark,) = [m for m in picture.marks if m.state == "invalid"]
    assert all(t.levels[mark.number] == t.levels[mark.number - 1] for t in picture.tracks)


def test_the_culprit_stands_out_and_since_when_is_said() -> None:
    picture = posterior(SINGLE_CASE, SINGLE)
    assert picture is not None
    leader = picture.tracks[0]
    assert (leader.kind, [t.kind for t in picture.tracks].count("culprit")) == ("culprit", 1)
    (number,) = re.findall(r"Since trial (\d+) one answer .*: " + re.escape(leader.label), picture.finding)
    assert leader.levels[int(number) - 1] <= 0.5 < min(leader.levels[int(number) :])
    assert picture.finding in render_markdown(SINGLE_CASE, search=SINGLE).replace("\\", "")


def test_a_pair_is_one_suspect() -> None:
    picture = posterior(PAIR_CASE, PAIR)
    assert picture is not None
    first, second = sorted(PAIR.culprits)
    assert (picture.tracks[0].label, picture.tracks[0].kind) == (
        f"{first}.sys and {second}.sys together",
        "culprit",
    )


def test_nobody_is_called_more_probable_than_the_rest_before_it_is_so() -> None:
    picture = posterior(UNDECIDED_CASE, UNDECIDED)
    assert picture is not None and picture.tracks[0].levels[-1] < 0.5
    assert picture.finding == "No suspect is more probable than all the others together."


def test_without_a_search_or_a_suspect_there_is_no_picture() -> None:
    short = plays.short()
    assert posterior(short.case(None, ""), short) is None
    assert posterior(SINGLE_CASE, None) is None
    empty = plays.short()
    empty.services = ()  # nothing can be switched: the question would be refused
    assert posterior(SINGLE_CASE, empty) is None
    assert "Who it could be" not in Outline(render_html(SINGLE_CASE)).words


def test_three_hundred_drivers_are_sixteen_rows() -> None:
    picture = matrix.matrix(MANY_CASE)
    assert picture is not None
    assert len(picture.rows) == matrix.MANY
    assert [r.culprit for r in picture.rows] == [True] + [False] * 15
    others = picture.rows[-1]
    assert others.label == "285 other drivers"
    trial = MANY_CASE.trials[3]
    shown = {r.full.removesuffix(".sys") for r in picture.rows}
    ran = len([s for s in trial.enabled if s not in shown])
    assert (others.cells[3].short, others.cells[3].share) == (f"{ran}/285", ran / 285)


def test_bars_are_as_long_as_the_load() -> None:
    picture = matrix.matrix(SINGLE_CASE)
    assert picture is not None
    times = [survival.time_under_load(t) for t in SINGLE_CASE.trials]
    longest = max(times)
    assert max(c.bar for c in picture.columns) == matrix.BAR
    for column, seconds in zip(picture.columns, times, strict=True):
        assert column.bar == (max(2, round(matrix.BAR * seconds / longest)) if seconds else 0)


def test_the_matrix_says_in_how_many_trials_the_culprit_ran() -> None:
    picture = matrix.matrix(PAIR_CASE)
    assert picture is not None
    both = [t for t in PAIR_CASE.trials if PAIR.culprits <= t.enabled and survival.counts(t)]
    crashed = [t for t in both if t.outcome.kind == "crashed"]
    first, second = sorted(PAIR.culprits)
    stood = len(both) - len(crashed)
    assert picture.finding.startswith(
        f"{first}.sys and {second}.sys ran together in all {len(crashed)} trials that crashed, "
        f"and in {stood or 'none'} of the "
    )


def test_a_pair_is_compared_with_both_on_and_with_one_off() -> None:
    picture = survival.survival(PAIR_CASE)
    assert picture is not None and picture.many
    together, apart = picture.groups
    assert apart.label == "With one or both of them off"
    assert {r.trial for r in together.runs} == {
        t.number for t in PAIR_CASE.trials if PAIR.culprits <= t.enabled and survival.counts(t)
    }
    assert (apart.crashes, together.caused, apart.caused) == (0, True, False)
    assert "at the same rate with one of them off" in picture.chance


def test_each_of_several_is_compared_with_any_on_and_none_on() -> None:
    case = replace(PAIR_CASE, verdict=Verdict(VerdictKind.EACH_OF, tuple(sorted(PAIR.culprits)), 0.9, ()))
    with_any, without = survival.split(case)
    assert all(PAIR.culprits & t.enabled for t in with_any)
    assert without and not any(PAIR.culprits & t.enabled for t in without)


def test_a_curve_counts_a_run_that_stood_until_its_end() -> None:
    """Kaplan and Meier by hand: crashes at 100, 300 and 400 s; one run stood 200 s."""
    play = plays.Play(("a", "b"), frozenset({"a"}), 1.0, seed=0)
    on = frozenset({"a"})
    for outcome in (plays.crash(100), Survived(200), plays.crash(300), plays.crash(400)):
        play.add(on, outcome, "bisect")
    picture = survival.survival(play.case(None, ""))
    assert picture is not None
    curve = picture.groups[0].curve
    levels = [float(v) for v in re.findall(r"V([\d.]+)", curve.area)]
    assert levels == [25.0, 62.5, 100.0, 100.0]  # fallen: 1/4; then 1/2 of the 3/4; then the last
    assert [(m.y, m.text) for m in curve.stood] == [(25.0, "Trial 2 stood 3 min 20 s")]
    assert curve.note == "Half have crashed after 5 min."


def test_long_searches_are_folded_in_the_story() -> None:
    found = steps(SINGLE_CASE, {})
    told = stretches(found)
    assert [s for stretch in told for s in stretch.steps] == list(found)
    (folded,) = [s for s in told if s.summary]
    assert folded.summary.startswith(f"Trials {folded.steps[0].number} to {folded.steps[-1].number}")
    assert all(not s.confirms for s in folded.steps)


def test_other_trials_in_a_row_are_told_one_by_one() -> None:
    play = plays.Play(("a", "b"), frozenset({"a"}), 1.0, seed=0)
    for _ in range(6):
        play.run(frozenset({"a", "b"}), "baseline")
    told = stretches(steps(play.case(None, ""), {}))
    assert [s.summary for s in told] == [""] * 6


def test_what_the_playbook_knows_of_a_case_is_a_search() -> None:
    picture = posterior(SINGLE_CASE, View(SINGLE_CASE))
    assert picture is not None
    assert picture.tracks[0].kind == "culprit"
    assert picture.tracks[0].levels[-1] > 0.95
    system = samples.system_case()
    nobody = replace(system, drivers=tuple(replace(d, pinned="it must stay") for d in system.drivers))
    assert posterior(nobody, View(nobody)) is None


FIGURES = {"first certain": [20000, 19860.0, 19800], "by probability": [[0, 0.0, 0], [400, 100.0, 90]]}


def test_calibration_is_one_sentence_and_its_dots() -> None:
    found = calibration.of(FIGURES)
    assert found is not None
    assert found.sentence.replace("\u202f", " ") == (
        "In 20 000 simulated searches, answers stated with 99.3 % on average were right 99.0 % of the time."
    )
    assert [(d.stated, d.right) for d in found.dots] == [(25.0, 22.5)]
    assert calibration.of({"first certain": [0, 0, 0], "by probability": []}) is None


def test_calibration_is_shown_where_figures_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "calibration", lambda: calibration.of(FIGURES))
    assert "Can such numbers be trusted?" in Outline(render_html(SINGLE_CASE, search=SINGLE)).words
    monkeypatch.setattr(calibration, "calibration", lambda: None)
    assert "Can such numbers be trusted?" not in Outline(render_html(SINGLE_CASE, search=SINGLE)).words


def test_the_shipped_calibration_is_that_of_the_benchmark() -> None:
    shipped = ROOT / "lab" / "report" / calibration.FILE
    measured = ROOT / "benchmarks" / "results" / "bisect.json"
    if not (shipped.exists() and measured.exists()):
        pytest.skip("not measured yet")
    assert json.loads(shipped.read_text()) == json.loads(measured.read_text())["stated"]


def test_a_table_of_sixty_trials_is_not_written_into_a_ticket() -> None:
    short, long = render_markdown(SINGLE_CASE), render_markdown(PAIR_CASE)
    assert "| Driver | 1 | 2 |" in short
    assert "| Driver |" not in long
    assert f"{len(PAIR.services)} drivers in {len(PAIR_CASE.trials)} trials" in long
