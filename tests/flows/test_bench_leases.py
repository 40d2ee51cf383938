"""Who may work on a case, and on which hosts."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows import bench as module
from flows.bench import leased, nobody_else_on
from lab.journal import Journal, Lease, open_journal
from lab.model import InfrastructureError, LoadPlan, Recipe, Signature, VerifierPlan

RECIPE = Recipe(frozenset(), VerifierPlan(), LoadPlan())
ALIVE = f"{socket.gethostname()}:{os.getpid()}"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with open_journal(tmp_path / "j.db") as journal:
        yield journal


def a_case_on(journal: Journal, host: str, owner: str) -> str:
    case = journal.new_case("t", Signature(0x20, 0, "", ()), LoadPlan()).id
    journal.begin_trial(case, host, RECIPE)
    if owner:
        journal.acquire(host, owner, 60.0)
    return case


def test_a_case_is_searched_by_one_process_at_a_time(journal: Journal) -> None:
    case = a_case_on(journal, "srv3", ALIVE)
    with pytest.raises(InfrastructureError, match=f"being worked on by {ALIVE}, on srv3"):
        nobody_else_on(journal, case, ["srv1", "srv2"])
    nobody_else_on(journal, a_case_on(journal, "srv4", ""), ["srv1", "srv2"])  # that one is another


@pytest.mark.parametrize("owner", ["", f"{socket.gethostname()}:4194305"])  # more than any process id
def test_what_a_dead_process_left_behind_is_nobody_s(journal: Journal, owner: str) -> None:
    case = a_case_on(journal, "srv3", owner)
    nobody_else_on(journal, case, ["srv1", "srv2"])


def test_a_host_of_our_own_is_not_somebody_else_s(journal: Journal) -> None:
    nobody_else_on(journal, a_case_on(journal, "srv1", ALIVE), ["srv1", "srv2"])


def test_a_journal_that_was_locked_for_a_while_costs_no_host(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keeper failed once; whoever asks then looks again, instead of waiting for its next try."""
    tried = threading.Event()
    renew, renewed = Journal.renew, list[Lease]()

    def locked(self: Journal, lease: Lease, seconds: float) -> Lease:
        if threading.current_thread().name.startswith("lease-") and not renewed:
            tried.set()
            raise InfrastructureError("the journal is locked")
        renewed.append(renew(self, lease, seconds))
        return renewed[-1]

    monkeypatch.setattr(Journal, "renew", locked)
    monkeypatch.setattr(module, "LEASE_SECONDS", 0.4)
    with leased(journal, "srv1") as ours:
        assert tried.wait(30)
        ours()
        assert journal.release(renewed[0]), "somebody else takes the host"
        deadline = time.monotonic() + 30
        while lost(ours) is None:
            assert time.monotonic() < deadline


def lost(ours: Callable[[], None]) -> InfrastructureError | None:
    try:
        ours()
    except InfrastructureError as error:
        return error
    return None
