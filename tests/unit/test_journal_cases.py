"""Cases, trials, crashes and undo entries, through a real SQLite file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lab.journal import Journal, open_journal
from lab.model import (
    Bugcheck,
    ConfigurationError,
    Crashed,
    Driver,
    DumpFacts,
    EntryKind,
    InfrastructureError,
    Invalid,
    InvalidReason,
    LoadPlan,
    LoadReport,
    Origin,
    Recipe,
    Relation,
    Signature,
    StartType,
    Survived,
    Triage,
    Trial,
    Verdict,
    VerdictKind,
    VerifierPlan,
)

SIGNATURE = Signature(0x20, 0, "srv2!SrvProcWorkerThread", ("nt!PspExitThread",))
RECIPE = Recipe(
    frozenset({"b", "a"}), VerifierPlan(0x800, ("BadDriver.sys",)), LoadPlan("burst", 8, 7), "first"
)
BAD = Driver(
    "BadDriver", "BadDriver.sys", r"\SystemRoot\BadDriver.sys", StartType.BOOT, True, altitudes=("189600",)
)


class Wall:
    """A wall clock that is moved by hand."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 22, 9, 41, 7, 123000, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def pass_by(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


def triage(code: int = 0x20) -> Triage:
    facts = DumpFacts("MEMORY.DMP", 1, 6, "kernel", 17763, "x64", 2, "2026-11-22T09:00:00+00:00", 300.5, True)
    return Triage(facts, Bugcheck(code, (0, 0xFFFF, 0, 1)), None, (), (), Signature(code, 0, "", ()))


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def journal(tmp_path: Path, wall: Wall) -> Iterator[Journal]:
    with open_journal(tmp_path / "journal.db", now=wall) as opened:
        yield opened


@pytest.fixture
def case_id(journal: Journal) -> str:
    return journal.new_case("Server stops", SIGNATURE, LoadPlan()).id


def test_a_new_case_has_a_readable_id_and_the_customers_dump(journal: Journal) -> None:
    case = journal.new_case("Stops", SIGNATURE, LoadPlan(seed=3), customer=triage(), customer_sha="ab" * 32)
    assert re.fullmatch(r"2026-11-22-0x20-[a-z2-9]{4}", case.id)
    assert case.opened == "2026-11-22T09:41:07.123+00:00"
    assert case.customer == "ab" * 32 and case.crashes == {"ab" * 32: triage()}
    assert (case.expected, case.load, case.title) == (SIGNATURE, LoadPlan(seed=3), "Stops")
    assert journal.case(case.id) == case


def test_ids_are_never_the_same(journal: Journal) -> None:
    ids = {journal.new_case("t", SIGNATURE, LoadPlan()).id for _ in range(30)}
    assert len(ids) == 30 and {c.id for c in journal.cases()} == ids


def test_a_case_is_found_by_its_beginning_and_its_last_letters(journal: Journal, wall: Wall) -> None:
    first = journal.new_case("t", SIGNATURE, LoadPlan())
    wall.pass_by(86400)
    second = journal.new_case("t", Signature(0xC4, 0xC5, "", ()), LoadPlan())
    assert second.id.startswith("2026-11-23-0xc4-")
    assert journal.case("2026-11-22").id == first.id
    assert journal.case(second.id[-4:].upper()).id == second.id
    with pytest.raises(ConfigurationError, match="any of 2 cases") as several:
        journal.case("2026")
    assert first.id in several.value.help and second.id in several.value.help


def test_an_unknown_case_is_told_with_the_nearest(journal: Journal, case_id: str) -> None:
    wrong = case_id.replace("0x20", "0x21")
    with pytest.raises(ConfigurationError, match=wrong) as unknown:
        journal.case(wrong)
    assert case_id in unknown.value.help
    for call in (
        lambda: journal.note(wrong, EntryKind.STEP, "x"),
        lambda: journal.begin_trial(wrong, "h", RECIPE),
        lambda: journal.set_drivers(wrong, ()),
        lambda: journal.add_crash(wrong, "00", triage()),
        lambda: journal.entries(wrong),
    ):
        with pytest.raises(ConfigurationError, match="no case"):
            call()


def test_drivers_and_verdict_are_kept(journal: Journal, case_id: str) -> None:
    verdict = Verdict(VerdictKind.DRIVER, ("BadDriver",), 0.997, ("because",), (3, 4))
    journal.set_drivers(case_id, [BAD])
    journal.set_verdict(case_id, verdict)
    case = journal.case(case_id)
    assert case.drivers == (BAD,) and case.drivers[0].origin is Origin.UNKNOWN
    assert case.verdict == verdict and journal.cases()[0].verdict == verdict


def test_entries_count_up_and_are_read_from_a_number_on(journal: Journal, case_id: str, wall: Wall) -> None:
    other = journal.new_case("other", SIGNATURE, LoadPlan()).id
    journal.note(other, EntryKind.STEP, "elsewhere")
    for i in range(5):
        wall.pass_by(1.5)
        journal.note(case_id, EntryKind.FINDING, f"line {i}")
    assert [e.number for e in journal.entries(case_id)] == [1, 2, 3, 4, 5]
    last = journal.entries(case_id, after=4)
    assert [(e.text, e.kind) for e in last] == [("line 4", EntryKind.FINDING)]
    assert last[0].time == "2026-11-22T09:41:14.623+00:00"
    assert journal.case(case_id).entries == tuple(journal.entries(case_id))


def test_an_entry_may_belong_to_a_trial_that_exists(journal: Journal, case_id: str) -> None:
    number = journal.begin_trial(case_id, "h", RECIPE)
    assert journal.note(case_id, EntryKind.ACTION, "reboot", trial=number).trial == number
    with pytest.raises(ConfigurationError, match="no trial 9"):
        journal.note(case_id, EntryKind.ACTION, "reboot", trial=9)


def test_text_that_no_database_takes_is_made_storable(journal: Journal, case_id: str) -> None:
    entry = journal.note(case_id, EntryKind.FINDING, "Gerät\x00 \ud800 名")
    assert journal.entries(case_id) == [entry]
    assert entry.text.startswith("Gerät") and "\x00" not in entry.text


def test_a_trial_is_running_until_it_has_ended(journal: Journal, case_id: str, wall: Wall) -> None:
    number = journal.begin_trial(case_id, "host-a", RECIPE)
    assert number == 1 and journal.begin_trial(case_id, "host-b", RECIPE) == 2
    running = journal.running_trials()
    assert next((r.case_id, r.number, r.host, r.recipe) for r in running) == (case_id, 1, "host-a", RECIPE)
    assert journal.case(case_id).trials == ()
    load = LoadReport("burst", 3.25, 10, 9, 4096, (("STATUS_PENDING", 1),), (1.0, 2.0, 3.5), True, 3.25)
    outcome = Crashed(3.25, Bugcheck(0x20, (0, 0xFFFF_FFFF_FFFF_FFFF, 0, 1)), Relation.SAME, "ab" * 32)
    journal.end_trial(case_id, 1, outcome, {"BadDriver", "a"}, load, 61.5)
    assert journal.case(case_id).trials == (
        Trial(
            1,
            "host-a",
            RECIPE,
            frozenset({"BadDriver", "a"}),
            outcome,
            "2026-11-22T09:41:07.123+00:00",
            61.5,
            load,
        ),
    )
    assert [r.number for r in journal.running_trials()] == [2]
    summary = journal.cases()[0]
    assert (summary.trials, summary.running, summary.crashes) == (1, 1, 0)


def test_a_trial_ends_exactly_once(journal: Journal, case_id: str) -> None:
    number = journal.begin_trial(case_id, "h", RECIPE)
    journal.end_trial(case_id, number, Survived(8.0), (), None, 60.0)
    for again in (
        lambda: journal.end_trial(case_id, number, Survived(9.0), (), None, 61.0),
        lambda: journal.abandon(case_id, number, "late"),
    ):
        with pytest.raises(InfrastructureError, match=r"already ended .*survived"):
            again()
    assert journal.case(case_id).trials[0].outcome == Survived(8.0)
    with pytest.raises(ConfigurationError, match="no trial 7"):
        journal.end_trial(case_id, 7, Survived(8.0), (), None, 60.0)


def test_a_trial_whose_process_died_is_abandoned(journal: Journal, case_id: str, wall: Wall) -> None:
    number = journal.begin_trial(case_id, "h", RECIPE)
    wall.pass_by(90)
    journal.abandon(case_id, number, "its process is gone")
    (trial,) = journal.case(case_id).trials
    assert trial.outcome == Invalid(InvalidReason.INTERRUPTED, "its process is gone")
    assert trial.seconds == 90.0 and trial.enabled == frozenset()
    assert journal.running_trials() == []


def test_the_first_reading_of_a_dump_stays(journal: Journal, case_id: str) -> None:
    assert journal.add_crash(case_id, "ab" * 32, triage())
    assert not journal.add_crash(case_id, "ab" * 32, triage(0xC4))
    assert journal.add_crash(case_id, "cd" * 32, triage(0xC4))
    assert journal.case(case_id).crashes == {"ab" * 32: triage(), "cd" * 32: triage(0xC4)}


def test_undo_entries_are_taken_back_newest_first(journal: Journal) -> None:
    first = journal.undo_push(
        "h", "Start of BadDriver is 0.", "Set-DriverStart", {"service": "BadDriver", "start": 0}
    )
    second = journal.undo_push("h", "Verifier was off.", "Set-Verifier", {"drivers": [], "flags": None})
    journal.undo_push("elsewhere", "x", "y", {})
    assert [u.id for u in journal.undo_pending("h")] == [second, first]
    assert journal.undo_pending("h")[0].parameters == {"drivers": [], "flags": None}
    journal.undo_done(second)
    journal.undo_done(second)
    assert [u.what for u in journal.undo_pending("h")] == ["Start of BadDriver is 0."]
    assert {u.host for u in journal.undo_pending()} == {"h", "elsewhere"}
    with pytest.raises(ConfigurationError, match="no undo entry 99"):
        journal.undo_done(99)


def test_an_undo_entry_holds_no_secrets(journal: Journal) -> None:
    with pytest.raises(ConfigurationError, match="secret 'AdminPassword'"):
        journal.undo_push("h", "w", "s", {"AdminPassword": "hunter2"})
    assert journal.undo_pending("h") == []


def test_what_was_written_is_there_for_the_next_process(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j.db") as journal:
        case = journal.new_case("t", SIGNATURE, LoadPlan())
        journal.begin_trial(case.id, "h", RECIPE)
        journal.undo_push("h", "w", "s", {"a": 1})
    with open_journal(tmp_path / "j.db") as journal:
        assert journal.case(case.id).title == "t"
        assert len(journal.running_trials()) == len(journal.undo_pending("h")) == 1
