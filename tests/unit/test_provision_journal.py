"""Provisioned hosts in the journal: one entry a host, from intended to ended."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lab.journal import open_journal
from lab.model import ConfigurationError, InfrastructureError


def test_from_intended_to_ended(tmp_path: Path) -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    with open_journal(tmp_path / "j.db", now=lambda: now) as journal:
        key = journal.provision_begin("srv1", "rack", "restore", "me@lab")
        assert [(p.host, p.pool, p.owner, p.ready) for p in journal.provisions()] == [
            ("srv1", "rack", "me@lab", None)
        ]
        with pytest.raises(InfrastructureError, match="srv1 is half-made already, by me@lab") as caught:
            journal.provision_begin("SRV1", "rack", "restore", "you@lab")
        assert "lab machine reap" in caught.value.help
        assert journal.provision_seconds("rack") == []
        now += timedelta(seconds=90)
        journal.provision_ready(key)
        with pytest.raises(InfrastructureError, match="handed out already") as caught:
            journal.provision_begin("srv1", "rack", "restore", "you@lab")
        assert "lab provision return srv1" in caught.value.help
        journal.provision_end(key)
        journal.provision_end(key)
        assert journal.provisions() == [] and journal.provision_seconds("rack") == [90.0]
        assert journal.provision_begin("srv1", "rack", "restore", "you@lab") != key
        with pytest.raises(ConfigurationError, match="no provisioned host 99"):
            journal.provision_ready(99)


def test_a_lab_keeps_its_name_and_no_other_has_it(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j.db") as journal, open_journal(tmp_path / "other.db") as other:
        name = journal.lab_id()
        assert name.startswith("lab-") and name != other.lab_id()
    with open_journal(tmp_path / "j.db") as journal:
        assert journal.lab_id() == name


def test_a_journal_of_a_version_before_gets_its_tables(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    open_journal(path).close()
    with sqlite3.connect(path) as old:
        old.execute("DROP TABLE lab_provision")
        old.execute("DROP TABLE lab_lab")
        old.execute("UPDATE lab_version SET version = 1")
    old.close()
    with open_journal(path) as journal:
        assert journal.provisions() == []
        journal.provision_begin("srv1", "rack", "restore", "me@lab")
        name = journal.lab_id()
    with open_journal(path) as journal:
        assert len(journal.provisions()) == 1 and journal.lab_id() == name
