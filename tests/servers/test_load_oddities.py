"""A load on a server that breaks the protocol ends in time, counts right, and says what was wrong."""

from __future__ import annotations

import pytest
from nullsmb import NullServer

from lab.model import LoadPlan, LoadReport, SystemClock
from lab.smb import SmbTarget, run_load


def load(mode: str, plan: LoadPlan) -> LoadReport:
    with NullServer(mode=mode, content="pattern") as server:
        target = SmbTarget(
            "127.0.0.1", server.port, server.settings.user, server.settings.password, "Data", "Data"
        )
        report = run_load(target, plan, clock=SystemClock())
    failed = sum(count for _, count in report.failed)
    assert report.reads_sent == report.reads_answered + failed + report.lost
    assert not report.target_died
    return report


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("read: closed", "closed the connection"),
        ("read: reset", "connection reset by peer"),
        ("read: twice", "answered a request that is not in flight"),
        ("read: unsigned", "sent an unsigned answer"),
        ("read: wrong signature", "the signature of an answer"),
        ("read: more than asked", "READ: "),
        ("read: frame of 2 GiB", "a frame of"),
        ("read: noise", "which is not SMB2"),
    ],
)
def test_what_ended_its_connections_is_told(mode: str, says: str) -> None:
    report = load(mode, LoadPlan("steady", seconds=2.0, connections=2, verify_every=1))
    assert (
        "lost with their connection (" in report.undelivered
        or "lost and not made again" in report.undelivered
    )
    assert says in report.undelivered
    assert 1 <= report.reconnects <= 25  # made again, and at a modest pace


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("odd: late", ""),
        ("odd: reordered", ""),
        ("odd: interim", ""),
        ("odd: lease breaks", ""),
        ("odd: credit flood", ""),
        ("odd: short", "answers brought fewer bytes than were asked for"),
        ("read: no credits", "no READ was answered in the last"),
        ("read: silence", "READs were answered"),
    ],
)
def test_odd_but_allowed_is_no_trouble_and_starvation_is_told(mode: str, says: str) -> None:
    report = load(mode, LoadPlan("steady", seconds=2.0, connections=2))
    assert says in report.undelivered and bool(says) is bool(report.undelivered)
    assert report.reads_answered > 0 and report.reconnects == 0


def test_a_connection_that_is_never_answered_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.smb.load.watch.STUCK_SECONDS", 1.0)
    report = load("read: silence", LoadPlan("steady", seconds=4.0, connections=2))
    assert report.reconnects >= 2 and report.lost > 0
