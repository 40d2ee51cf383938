"""What the page shows is computed from the case, and agrees with it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import report_samples as samples

from lab.analysis.stops import KINDS
from lab.model import Bugcheck, ClassFilter, Verdict, VerdictKind
from lab.report import (
    bugchecks,
    crash,
    drivers,
    ladder,
    matrix,
    path,
    regions,
    stack,
    survival,
    verdict,
    words,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 s"),
        (0.006, "6 ms"),
        (1.0, "1 s"),
        (6.24, "6.2 s"),
        (9.96, "10 s"),
        (40.0, "40 s"),
        (185, "3 min 5 s"),
        (7800, "2 h 10 min"),
        (273600, "3 days 4 h"),
    ],
)
def test_seconds(value: float, text: str) -> None:
    assert words.seconds(value) == text


@pytest.mark.parametrize(
    ("probability", "number", "word"),
    [
        (1.0, "> 99.9 %", "practically certain"),
        (0.994, "99.4 %", "practically certain"),
        (0.967, "97 %", "very likely"),
        (0.8, "80 %", "likely"),
        (0.41, "41 %", "not likely enough to act on"),
    ],
)
def test_probability(probability: float, number: str, word: str) -> None:
    assert (words.percent(probability), words.sure(probability)) == (number, word)


def test_addresses_are_written_as_the_debugger_writes_them() -> None:
    assert words.address(0xFFFFF88005DB1B08) == "fffff880`05db1b08"


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (0, "Verifier off"),
        (0x800, "Miscellaneous checks (0x800)"),
        (0x810, "I/O verification (0x10) + Miscellaneous checks (0x800)"),
        (0x40000010, "I/O verification (0x10) + 0x40000000"),
    ],
)
def test_verifier_flags_have_names(flags: int, text: str) -> None:
    assert words.verifier(flags) == text


@pytest.mark.parametrize(
    ("bugcheck", "count"),
    [
        (Bugcheck(0x20, (0, 0xFFFF, 0, 1)), -1),
        (Bugcheck(0x20, (0, 2, 0, 1)), 2),
        (Bugcheck(0xC4, (0xC5, 0xFFFFF88001345610, 0xFFFE, 0)), -2),
        (Bugcheck(0xC4, (0xFB, 0xFFFFF88001345610, 1, 0)), 1),
        (Bugcheck(0x1, (0xFFFFF88001345610, 0, 0xFFFF, 1)), -1),
        (Bugcheck(0xC4, (0x62, 0, 0xFFFE, 0)), None),
        (Bugcheck(0xC4, (0xC1, 0xFFFFF88001345610, 0xFFFE, 0)), None),
        (Bugcheck(0xD1, (0, 0xFFFF, 0, 0)), None),
    ],
)
def test_the_apc_count_is_read_from_the_parameters(bugcheck: Bugcheck, count: int | None) -> None:
    assert bugchecks.apc_count(bugcheck) == count


def test_a_stop_says_nothing_that_its_parameters_do_not() -> None:
    """A count may be too high as well as too low, and an NMI may come from anybody."""
    assert "never enabled" not in bugchecks.meaning(Bugcheck(0x20, (0, 1, 0, 1)))
    assert "lab" not in bugchecks.meaning(Bugcheck(0x80, (0x4F4454, 0, 0, 0)))


def test_every_bugcheck_of_several_kinds_has_a_sentence_for_all_of_them() -> None:
    assert KINDS.keys() <= bugchecks.COMMON.keys(), "else the kind is said twice"


def test_the_kind_of_a_stop_is_said_once_beside_its_parameters_and_also_where_it_stands_alone() -> None:
    bugcheck = Bugcheck(0xC4, (0xC5, 0xFFFFF88001345610, 0xFFFF, 0))
    ((_, kind), *_) = bugchecks.parameters(bugcheck)
    assert bugchecks.meaning(bugcheck) == "Driver Verifier caught a driver breaking a rule."
    assert bugchecks.happened(bugcheck) == f"{kind}."


@pytest.mark.parametrize(
    ("altitude", "group"),
    [
        ("189600", "hierarchical storage"),
        ("328010.5", "antivirus"),
        ("329999", "antivirus"),
        ("1", ""),
        ("NaN", ""),
        ("x", ""),
    ],
)
def test_altitudes_tell_what_a_filter_is_for(altitude: str, group: str) -> None:
    assert drivers.altitude_group(altitude) == group


def test_a_driver_is_introduced_by_what_it_is() -> None:
    assert drivers.role(samples.BAD) == ("minifilter", "at altitude 189600 (hierarchical storage)")
    assert drivers.role(samples.SHADOW) == ("class filter", "upper filter of DiskDrive")
    assert drivers.role(samples.CALLBACK) == ("kernel driver", "")
    nameless = replace(samples.SHADOW, class_filters=(ClassFilter(samples.DISK, "", "lower", 0),))
    assert drivers.role(nameless) == ("class filter", f"lower filter of {samples.DISK}")


def test_the_matrix_shows_what_ran() -> None:
    case = samples.minifilter_case()
    picture = matrix.matrix(case)
    assert picture is not None
    first = picture.rows[0]
    assert (first.full, first.culprit) == ("BadDriver.sys", True)
    assert [c.state for c in first.cells] == ["on", "on", "on", "on", "off", "on"]
    suspect = next(r for r in picture.rows if r.full == "Suspect.sys")
    assert [c.state for c in suspect.cells] == ["on", "on", "off", "off", "on", "off"]
    assert [c.end.state for c in picture.columns] == ["crashed"] * 4 + ["stood", "crashed"]
    assert picture.finding == (
        "BadDriver.sys was the only one on in every trial that crashed and off in every trial that stood."
    )


def test_a_driver_that_would_not_stop_is_shown_as_running() -> None:
    picture = matrix.matrix(samples.callback_case())
    assert picture is not None
    suspect = next(r for r in picture.rows if r.full == "Suspect.sys")
    assert suspect.cells[4].state == "on"
    assert picture.finding.startswith("GuardHook.sys was the only one")


def test_rows_that_never_change_are_left_out_of_a_tall_matrix() -> None:
    case = samples.minifilter_case()
    extra = frozenset(f"extra{i}" for i in range(40))
    tall = replace(case, trials=tuple(replace(t, enabled=t.enabled | extra) for t in case.trials))
    picture = matrix.matrix(tall)
    assert picture is not None
    assert not [r for r in picture.rows if r.label.startswith("extra")]
    assert picture.rest == "41 more drivers were never switched off."  # hvstor is the 41st


def test_survival_compares_with_and_without() -> None:
    picture = survival.survival(samples.minifilter_case())
    assert picture is not None
    with_it, without = picture.groups
    assert (with_it.label, with_it.crashes, len(with_it.runs)) == ("With BadDriver.sys", 5, 5)
    assert with_it.mean == pytest.approx(6.58)
    assert [(r.trial, r.crashed, r.after) for r in without.runs] == [(5, False, 40.0)]
    assert [r.trial for r in with_it.runs if r.alone] == [6]
    assert all(0 <= r.share <= 100 for g in picture.groups for r in g.runs)
    assert picture.ticks[0] == (0.0, "0 s") and picture.ticks[-1][0] == 100.0
    assert "about once in 440 times" in picture.chance  # exp(40 / 6.58) = 437


def test_luck_is_not_spoken_of_when_it_crashed_without_the_culprit() -> None:
    case = samples.minifilter_case()
    assert case.verdict is not None
    wrong = replace(case, verdict=replace(case.verdict, culprits=("Suspect",)))
    picture = survival.survival(wrong)
    assert picture is not None and picture.chance == ""


def test_no_trial_no_picture() -> None:
    assert survival.survival(samples.open_case()) is None
    assert matrix.matrix(samples.open_case()) is None


def test_a_full_log_says_who_filled_it() -> None:
    triage = samples.minifilter_case().crashes[samples.SHA[2]]
    log = regions.regions(triage)
    assert log is not None
    assert log.sentence == (
        "All 128 entries are calls of Suspect.sys, and the log is full; none is by the crashing thread."
    )
    assert (log.callers[0].enters, log.callers[0].leaves, log.callers[0].balance) == (64, 64, "in balance")
    assert len(log.slots) == 128


def test_an_empty_log_and_no_log_are_two_things() -> None:
    crashes = samples.minifilter_case().crashes
    empty = regions.regions(crashes[samples.SHA[3]])
    assert empty is not None and empty.sentence.startswith("The log is empty")
    assert regions.regions(crashes[samples.SHA[1]]) is None


def test_an_unbalanced_caller_on_the_crashing_thread_stands_out() -> None:
    triage = samples.minifilter_case().crashes[samples.SHA[2]]
    assert triage.verifier is not None
    log = tuple(replace(e, direction="enter", thread=samples.THREAD) for e in triage.verifier.log[:3])
    view = regions.regions(replace(triage, verifier=replace(triage.verifier, log=log)))
    assert view is not None
    assert (view.callers[0].balance, view.callers[0].on_thread) == ("3 more enter than leave", 3)


def test_key_frames_carry_notes() -> None:
    frames = stack.frames(samples.dispatch_triage())
    checked = frames[2]
    assert checked.symbol == "nt!VfAfterCallDriver+0x33e"
    assert checked.tone == "key" and "rbx holds the saved state of the call." in checked.note
    assert checked.registers == ("rbx fffffa80`4b729790",)
    assert frames[4].tone == "innocent"
    assert (frames[0].index, frames[0].child_sp) == ("00", "fffff880`05db1b08")


def test_the_way_of_the_request_is_ordered_by_altitude() -> None:
    way = path.path(samples.dispatch_triage(), frozenset({"baddriver.sys"}))
    assert way is not None
    assert [(s.kind, s.name) for s in way.steps] == [
        ("caller", "srv2!Smb2ExecuteRead+0x9a6"),
        ("device", r"\FileSystem\FltMgr"),
        ("filter", "ProseLog.sys"),
        ("filter", "WoodVault.sys"),
        ("filter", "BadDriver.sys"),
        ("filter", "luafv.sys"),
        ("device", r"\FileSystem\Ntfs"),
    ]
    assert [s.name for s in way.steps if s.culprit] == ["BadDriver.sys"]
    assert [s.name for s in way.steps if s.called] == [r"\FileSystem\FltMgr"]


def test_a_step_tells_what_was_learned() -> None:
    case = samples.minifilter_case()
    steps = ladder.steps(case, crash.anchors(case))
    assert [s.rung for s in steps] == [
        "Reproduce",
        "Miscellaneous checks",
        "Miscellaneous checks",
        "I/O verification",
        "Confirm",
        "Confirm",
    ]
    assert steps[1].lessons[0].text.startswith("The critical-region log is full of Suspect.sys")
    assert steps[3].crash == "crash-5"
    assert steps[5].off == "Only BadDriver.sys and hvstor.sys on"


def test_a_step_is_titled_as_the_playbook_announced_it() -> None:
    case = samples.played_case()
    steps = ladder.steps(case, {})
    assert (steps[0].title, steps[0].why) == ("Reproduce the crash as found", "All drivers on, verifier off.")
    assert [s.rung for s in steps][-2:] == ["Confirm", "Confirm"]
    bare = ladder.steps(replace(case, entries=()), {})
    assert bare[0].title == "Reproduce the crash"
    assert bare[3].title.startswith("Look closer with I/O verification")


def test_a_step_says_what_is_new_and_nothing_twice() -> None:
    steps = ladder.steps(samples.played_case(), {})
    assert [lesson.text for lesson in steps[0].lessons] == ["The crash comes back in the lab."]
    assert [lesson.text[:30] for lesson in steps[1].lessons] == ["All 128 entries of the log are"]
    assert [lesson.text for lesson in steps[2].lessons] == ["The crash comes without Suspect.sys."]
    assert [lesson.text for lesson in steps[4].lessons] == ["No crash: the cause may be BadDriver.sys."]
    said = [lesson.text for step in steps for lesson in step.lessons]
    assert not [text for text in said if "READs answered" in text or text.startswith("STOP:")]
    assert len(said) == len(set(said))


def test_a_verdict_that_claims_nothing_shows_no_number() -> None:
    case = samples.not_reproducible_case()
    said = verdict.answer(case)
    assert said.percent == ""
    assert said.sure == "This clears no driver: a crash that did not come may still come."
    undecided = replace(samples.undecided_case(), verdict=Verdict(VerdictKind.UNDECIDED, (), 0.0, ("no",)))
    assert verdict.answer(undecided).percent == ""


def test_registers_that_hold_the_saved_state_are_pointed_out() -> None:
    triage = samples.dispatch_triage()
    silent = replace(triage, stack=tuple(replace(f, note="") for f in triage.stack))
    assert stack.frames(silent)[2].note.endswith("rbx holds the saved state of the call, fffffa80`4b729790.")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("stood up", "Stood up."),
        ("tvscout.sys fills the log.", "tvscout.sys fills the log."),
        ("srv2!X is idle", "srv2!X is idle."),
        ("", ""),
    ],
)
def test_sentences_begin_and_end_as_such(given: str, shown: str) -> None:
    assert words.sentence(given) == shown


def test_without_notes_a_step_says_what_the_dump_says() -> None:
    case = replace(samples.minifilter_case(), entries=())
    step = ladder.steps(case, {})[3]
    assert step.lessons[0].text.startswith("fltmgr!FltpDispatch returned with the APC disable count changed")


def test_a_positive_count_is_the_other_fault() -> None:
    case = samples.minifilter_case()
    over = {sha: replace(t, bugcheck=Bugcheck(0x20, (0, 1, 0, 1))) for sha, t in case.crashes.items()}
    said = verdict.answer(replace(case, crashes=over))
    assert said.count == "+1"
    assert "enables APCs it never disabled" in said.sentence


@pytest.mark.parametrize("text", ["plain.sys", "Größe–π.sys", "日本.sys"])
def test_honest_names_stay_as_they_are(text: str) -> None:
    assert words.visible(text) == text


def test_deceiving_characters_become_visible() -> None:
    assert words.visible("a\u202eb\u200bc\x00d\ud800\u2028e") == "a\\u202eb\\u200bc\\u0000d\\ud800\\u2028e"
