"""How far a running trial is, for the process that comes after the one that ran it."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lab.journal import Heartbeat, open_journal, schema
from lab.model import (
    ConfigurationError,
    InfrastructureError,
    LoadPlan,
    Recipe,
    Signature,
    Survived,
    VerifierPlan,
)

RECIPE = Recipe(frozenset(), VerifierPlan(), LoadPlan())
BEAT = Heartbeat(0.0, "7/2026-11-22T09:00:00Z", 1 << 40, frozenset({"a", "b"}), b"PAGEDU64\0\xff")


def test_a_running_trial_has_its_last_heartbeat_and_an_ended_one_leaves_none(tmp_path: Path) -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    path = tmp_path / "j.db"
    with open_journal(path, now=lambda: now) as journal:
        case = journal.new_case("t", Signature(0x20, 0, "", ()), LoadPlan()).id
        first, second = (journal.begin_trial(case, host, RECIPE) for host in ("a", "b"))
        journal.beat(case, second, BEAT)
        now += timedelta(seconds=2)
        journal.beat(case, second, replace(BEAT, seconds=2.5))
    with open_journal(path, now=lambda: now) as journal:
        one, two = journal.running_trials()
        assert one.heartbeat is None
        assert two.heartbeat == replace(BEAT, seconds=2.5, time="2026-11-22T00:00:02.000+00:00")
        journal.end_trial(case, second, Survived(2.5, cut_short="the lab ended"), {"a"}, None, 9.0)
        assert journal.case(case).trials[0].outcome == Survived(2.5, "the lab ended")
        with pytest.raises(InfrastructureError, match="has already ended"):
            journal.beat(case, second, BEAT)
        with pytest.raises(ConfigurationError, match="no trial 9"):
            journal.beat(case, 9, BEAT)
        journal.abandon(case, first, "gone")
        assert journal.running_trials() == []
    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT count(*) FROM lab_heartbeat").fetchone() == (0,)


def test_a_journal_of_the_version_before_gets_its_table_and_keeps_its_name(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    with open_journal(path) as journal:
        name = journal.lab_id()
        case = journal.new_case("t", Signature(0x20, 0, "", ()), LoadPlan()).id
        number = journal.begin_trial(case, "h", RECIPE)
        journal.end_trial(case, number, Survived(8.0), (), None, 9.0)
    with sqlite3.connect(path) as old:
        old.execute("DROP TABLE lab_heartbeat")
        old.execute("UPDATE lab_version SET version = 3")
        old.execute("""UPDATE lab_trial SET outcome = '{"after": 8.0, "kind": "survived"}'""")
    old.close()
    with open_journal(path) as journal:
        assert journal.lab_id() == name
        assert journal.case(case).trials[0].outcome == Survived(8.0)
        journal.beat(case, journal.begin_trial(case, "h", RECIPE), BEAT)
    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT version FROM lab_version").fetchall() == [(schema.SCHEMA_VERSION,)]
        assert raw.execute("SELECT count(*) FROM lab_lab").fetchone() == (1,)


def test_the_usual_load_of_a_case_can_be_another_from_now_on(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j.db") as journal:
        case = journal.new_case("t", Signature(0x20, 0, "", ()), LoadPlan()).id
        journal.set_load(case, LoadPlan(seconds=30.0))
        assert journal.case(case).load == LoadPlan(seconds=30.0)
        with pytest.raises(ConfigurationError, match="no case"):
            journal.set_load("nowhere", LoadPlan())
