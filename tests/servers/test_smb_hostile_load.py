"""A load on a server that answers wrongly or oddly: it ends, and accounts for every READ to the last one."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest
from nullsmb import NullServer
from nullsmb_modes import READING_BADLY, READING_ODDLY

from lab.model import LoadPlan, LoadReport
from lab.model.clock import SystemClock
from lab.smb.load.run import run_load
from lab.smb.target import Encryption, Security, Signing, SmbTarget

PLAN = LoadPlan(profile="steady", seconds=0.3, connections=1, in_flight=32, size=4096, verify_every=1)
PATIENCE = 30.0
"""Seconds that no load of 0.3 s may take, however the server behaves and however busy this machine is."""

ROADS = {
    "signed": Security(),
    "plain": Security(signing=Signing.IF_ASKED),
    "sealed": Security(encryption=Encryption.REQUIRED),
}
FAILS = {
    "read: an error": "STATUS_INSUFFICIENT_RESOURCES",
    "read: warning with data": "STATUS_BUFFER_OVERFLOW",
    "read: pending without a promise": "STATUS_PENDING",
}
HARMLESS = {"read: no credits", "read: another tree"}
"""A load of one tree does not look at the answers' tree; no credits only slow it down."""
UNPROTECTED = {"read: wrong signature", "read: unsigned", "read: bit flipped"}
SOME = ["read: twice", "read: stranger", "read: torn, reset", "read: negative length", "read: frame of 0"]
SOME += ["read: compressed", "read: noise without frames", *sorted(UNPROTECTED)]


@pytest.fixture(scope="module")
def server() -> Iterator[NullServer]:
    with NullServer() as running:
        yield running


def loaded(
    server: NullServer, mode: str, plan: LoadPlan = PLAN, road: str = "signed"
) -> tuple[LoadReport, Counter[str]]:
    """What the load says it did, and what the server saw of it."""
    server.behave(mode)
    before, started = server.counts(), time.monotonic()
    settings = server.settings
    target = SmbTarget(
        "127.0.0.1", server.port, settings.user, settings.password, "Data", "Admin", ROADS[road]
    )
    report = run_load(target, plan, clock=SystemClock())
    assert time.monotonic() - started < PATIENCE
    failed = sum(number for _, number in report.failed)
    assert report.reads_sent == report.reads_answered + failed + report.lost
    counts = server.counts() - before
    assert counts["ids never granted"] == counts["wrong signatures"] == counts["wrong charges"] == 0
    return report, counts


def assert_exact(report: LoadReport, counts: Counter[str]) -> None:
    """Nothing was lost, and the server saw the same READs: beside them only one that looks at the file."""
    assert report.reads_answered > 0 and report.lost == 0 and report.reconnects == 0
    assert report.reads_sent <= counts["READ"] <= report.reads_sent + 1


@pytest.mark.parametrize("mode", READING_BADLY)
def test_answers_that_are_wrong_are_not_counted_as_read(server: NullServer, mode: str) -> None:
    report, counts = loaded(server, mode)
    if mode in HARMLESS:
        assert_exact(report, counts)
        assert report.failed == ()
    elif mode in FAILS:
        assert_exact(report, counts)
        assert report.failed == ((FAILS[mode], 1),)
    else:
        assert report.lost > 0
        assert report.reads_answered <= counts["READ"] - 1
    assert report.short == 0
    assert report.bytes_read == report.reads_answered * 4096


@pytest.mark.parametrize("road", ["plain", "sealed"])
@pytest.mark.parametrize("mode", SOME)
def test_the_same_unsigned_and_encrypted(server: NullServer, mode: str, road: str) -> None:
    report, counts = loaded(server, mode, road=road)
    noticed = mode not in UNPROTECTED or (road == "sealed" and "flipped" in mode)
    if noticed:
        assert report.lost > 0
    else:
        assert_exact(report, counts)


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("mode", READING_ODDLY)
def test_answers_that_are_odd_are_counted_exactly(server: NullServer, mode: str, road: str) -> None:
    report, counts = loaded(server, mode, road=road)
    assert_exact(report, counts)
    assert report.failed == ()
    assert (report.pending > 0) == ("interim" in mode)
    if "interim" in mode:
        every = READING_ODDLY[mode][0].get("every", 1)
        assert 0 <= report.pending - report.reads_answered // every <= 1
    assert (report.short > 0) == (mode == "odd: short")
    if mode == "odd: short":
        whole = report.reads_answered - report.short
        assert report.bytes_read == whole * 4096 + report.short * 1000


def test_large_reads_are_counted_exactly_when_their_answers_are_dropped_by_the_kernel(
    server: NullServer,
) -> None:
    plan = LoadPlan(profile="steady", seconds=0.3, connections=2, in_flight=8, size=1 << 20, verify_every=0)
    for mode in ("odd: short", "odd: interim", "odd: reordered"):
        report, counts = loaded(server, mode, plan, road="plain")
        assert_exact(report, counts)
        assert report.short <= report.reads_answered


def test_errors_at_random_are_counted_by_name(server: NullServer) -> None:
    server.behave(rules=[{"on": "READ", "do": "status", "value": 0xC000_009A, "chance": 0.2}])
    target = SmbTarget("127.0.0.1", server.port, "tester", "Null-Test-1", "Data", "Admin")
    report = run_load(target, PLAN, clock=SystemClock())
    ((name, number),) = report.failed
    assert name == "STATUS_INSUFFICIENT_RESOURCES" and 0 < number < report.reads_answered
    assert report.reads_sent == report.reads_answered + number


def test_a_server_that_grants_nothing_more_is_not_asked_for_more(server: NullServer) -> None:
    report, counts = loaded(server, "read: no credits")
    assert report.credit_stalls > 0 and counts["READ"] <= 8192
    assert "credits" in report.undelivered or "answer" in report.undelivered


@pytest.mark.parametrize("credits", [1, 5])
def test_a_load_on_few_credits_never_takes_more(server: NullServer, credits: int) -> None:
    server.behave("odd: late", max_credits=credits)  # a pending READ would give its credit back
    target = SmbTarget("127.0.0.1", server.port, "tester", "Null-Test-1", "Data", "Admin")
    before = server.counts()
    try:
        report = run_load(target, PLAN, clock=SystemClock())
    finally:
        server.behave(max_credits=8192)
    assert_exact(report, server.counts() - before)
    assert report.credit_stalls > 0 and report.undelivered
    assert max(phase.in_flight for phase in report.phases) <= credits


def test_many_connections_in_one_thread_survive_their_bad_company(server: NullServer) -> None:
    plan = LoadPlan(profile="steady", seconds=1.0, connections=24, in_flight=240, size=4096)
    report, _ = loaded(server, "read: frame of 0", plan)
    assert report.lost > 0 and report.reconnects > 0
    report, counts = loaded(server, "", plan)
    assert report.lost == 0 and report.reads_answered == report.reads_sent > 0
    assert counts["READ"] - report.reads_sent in (0, 1)
