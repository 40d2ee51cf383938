"""What is opened is a journal of ours, or is refused untouched; and it is PostgreSQL's SQL too."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from lab.journal import open_journal, schema
from lab.model import ConfigurationError, LoadPlan, Signature, TimedOut

SIGNATURE = Signature(0x20, 0, "", ())


def test_sqlite_is_set_up_for_several_processes_and_foreign_keys(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "journal.db"
    open_journal(path).close()
    with sqlite3.connect(path) as raw:
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert raw.execute("SELECT version FROM lab_version").fetchall() == [(schema.SCHEMA_VERSION,)]
    journal = open_journal(path)
    with journal._database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000
    journal.close()


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    open_journal(path).close()
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE lab_version SET version = 99")
    with pytest.raises(ConfigurationError, match="schema version 99"):
        open_journal(path)


@pytest.mark.parametrize("content", [b"PAGEDU64" + b"\0" * 8000, b"not a database, but long enough " * 40])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "MEMORY.DMP"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="cannot be used as a journal"):
        open_journal(path)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_database_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "places.sqlite"
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE bookmarks (id)")
    raw.close()
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="'bookmarks'"):
        open_journal(path)
    assert path.read_bytes() == before


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a directory"):
        open_journal(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot make the journal's directory"):
        open_journal(tmp_path / "file" / "journal.db")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "://", "nosuch://me:hunter2@there/db"])
def test_bad_addresses_are_refused_without_showing_a_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        open_journal(url)
    assert "hunter2" not in str(refused.value) + refused.value.help


def test_a_sqlite_url_is_a_path(tmp_path: Path) -> None:
    open_journal(f"sqlite:///{tmp_path}/by-url.db").close()
    assert (tmp_path / "by-url.db").exists()


def test_waiting_for_another_process_has_an_end_and_a_name(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = open_journal(path, busy_seconds=0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(TimedOut, match=r"0\.05 s for journal-lock"):
        journal.new_case("t", SIGNATURE, LoadPlan())
    assert journal.cases() == []  # reading does not wait for a writer
    other.execute("ROLLBACK")
    assert journal.new_case("t", SIGNATURE, LoadPlan()).title == "t"
    other.close()
    journal.close()


def test_a_call_that_fails_in_the_middle_changes_nothing(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal.db")
    with pytest.raises(RuntimeError), journal._database.write() as connection:
        connection.execute(schema.lease.insert().values(host="h", owner="o", token=1, expires=""))
        raise RuntimeError
    assert journal.leases() == [] and journal.acquire("h", "o", 5).token == 1
    journal.close()


def test_a_value_of_another_program_is_one_clear_sentence(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = open_journal(path)
    case = journal.new_case("t", SIGNATURE, LoadPlan())
    with sqlite3.connect(path) as raw:
        raw.execute('UPDATE lab_case SET expected = \'{"code": "?"}\'')
    with pytest.raises(ConfigurationError, match="signature that this version cannot read"):
        journal.case(case.id)
    journal.close()


def test_every_table_can_be_made_by_postgresql() -> None:
    sql = [str(CreateTable(t).compile(dialect=postgresql.dialect())) for t in schema.metadata.sorted_tables]
    assert len(sql) == 10 and any("SERIAL" in s for s in sql)
