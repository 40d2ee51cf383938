"""The journal on a real PostgreSQL server, private to the test."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab.journal import open_journal
from lab.model import (
    Bugcheck,
    ConfigurationError,
    Crashed,
    EntryKind,
    InfrastructureError,
    LoadPlan,
    Recipe,
    Relation,
    Signature,
    VerifierPlan,
)

SIGNATURE = Signature(0x20, 0, "srv2!SrvProcWorkerThread", ())
RECIPE = Recipe(frozenset({"b", "a"}), VerifierPlan(), LoadPlan())


def _binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    path = shutil.which("initdb")
    return Path(path).parent if path else None


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """URL of a fresh server that listens on a Unix socket only."""
    pytest.importorskip("psycopg", reason="the Python package psycopg is not installed")
    binaries = _binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's server is not installed")
    become: dict[str, object] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        try:
            pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("root, and there is no user 'postgres' to run the server as")
        become = {"user": "postgres", "group": "postgres", "extra_groups": []}
    folder = Path(tempfile.mkdtemp(prefix="lab-pg-"))
    if become:
        shutil.chown(folder, "postgres", "postgres")
    run = {"check": True, "stdout": subprocess.DEVNULL, "cwd": "/", **become}
    data = str(folder / "data")
    control = [str(binaries / "pg_ctl"), "-D", data, "-w", "-t", "30"]
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    try:
        initdb = [
            str(binaries / "initdb"),
            "-D",
            data,
            "-U",
            "lab",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-locale",
            "-N",
        ]
        subprocess.run(initdb, **run)  # type: ignore[call-overload]
        subprocess.run([*control, "-l", str(folder / "log"), "-o", options, "start"], **run)  # type: ignore[call-overload]
        try:
            yield f"postgresql+psycopg://lab:unused-password@/postgres?host={folder}"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], **run)  # type: ignore[call-overload]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_a_case_from_its_first_line_to_its_last(server: str) -> None:
    with open_journal(server) as journal:
        assert "unused-password" not in journal.name
        case = journal.new_case("Stops \ud800\x00", SIGNATURE, LoadPlan())
        number = journal.begin_trial(case.id, "h", RECIPE)
        journal.note(case.id, EntryKind.FINDING, "NUL \x00", trial=number)
        outcome = Crashed(3.25, Bugcheck(0x20, (0, 2**64 - 1, 0, 1)), Relation.SAME)
        journal.end_trial(case.id, number, outcome, {"z", "a"}, None, 60.5)
        with pytest.raises(InfrastructureError, match="already ended"):
            journal.abandon(case.id, number, "late")
        with pytest.raises(ConfigurationError, match="no case"):
            journal.note("2026-nothing", EntryKind.STEP, "x")
        undo = journal.undo_push("h", "Start was 0.", "Set-DriverStart", {"start": 0})
        assert [u.id for u in journal.undo_pending("h")] == [undo]
        journal.undo_done(undo)
        assert journal.undo_pending("h") == [] and journal.running_trials() == []
    with open_journal(server) as journal:
        read = journal.case(case.id)
        assert read.trials[0].outcome == outcome and read.trials[0].recipe == RECIPE
        assert [e.number for e in read.entries] == [1]
        assert journal.cases()[0].trials == 1


def test_numbers_and_leases_hold_while_many_write_at_once(server: str) -> None:
    with open_journal(server) as journal:
        case_id = journal.new_case("t", SIGNATURE, LoadPlan()).id

        def work(who: int) -> list[int]:
            tokens = []
            with open_journal(server) as mine:
                for i in range(10):
                    mine.note(case_id, EntryKind.STEP, f"{who}/{i}")
                    try:
                        lease = mine.acquire("busy", f"worker {who}", 30)
                    except InfrastructureError as refused:
                        assert "is leased by worker" in str(refused)
                        continue
                    tokens.append(lease.token)
                    mine.release(lease)
            return tokens

        with ThreadPoolExecutor(4) as pool:
            tokens = [t for done in pool.map(work, range(4)) for t in done]
        assert [e.number for e in journal.entries(case_id)] == list(range(1, 41))
        assert sorted(tokens) == list(range(1, len(tokens) + 1))


def test_workers_that_make_the_journal_together_make_one(server: str) -> None:
    import psycopg

    socket = server.partition("host=")[2]
    for i in range(5):
        with psycopg.connect(host=socket, user="lab", dbname="postgres", autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE race{i}")
        url = server.replace("/postgres?", f"/race{i}?")

        def make(_: int, url: str = url) -> int:
            with open_journal(url) as journal:
                return len(journal.cases())

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(make, range(4))) == [0] * 4


def test_a_server_that_does_not_answer_is_the_labs_trouble(server: str) -> None:
    with pytest.raises(InfrastructureError, match=r"cannot make|failed") as refused:
        open_journal(server.replace("host=", "host=/nowhere"))
    assert "unused-password" not in str(refused.value)
