"""The read load and the file access against a real Samba server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from smbd import PASSWORD, USER, Smbd, free_port

from lab.model import LoadPlan, SystemClock
from lab.smb import (
    AccessDenied,
    CredentialsRefused,
    NotThere,
    Progress,
    SmbTarget,
    Unreachable,
    connect,
    run_load,
)
from lab.smb.datafile import LENGTH, NAME, content


def target(server: Smbd, **change: object) -> SmbTarget:
    values: dict[str, object] = {
        "host": "127.0.0.1",
        "port": server.port,
        "user": USER,
        "password": PASSWORD,
        "data_share": "Data",
        "admin_share": "Admin",
    }
    return SmbTarget(**(values | change))  # type: ignore[arg-type]


def after(seconds: float, action: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()
    return timer


def test_files_and_errors(smbd: Smbd) -> None:
    (smbd.admin / "Minidump").mkdir()
    (smbd.admin / "Minidump" / "small.dmp").write_bytes(b"x" * 10)
    data = content()[:1_000_001]
    with connect(target(smbd), "Data") as share:
        with share.create("made.bin") as file:
            file.write_at(0, data)
        with share.open("made.bin") as file:
            assert file.length == len(data)
            assert file.read_at(0, 2 << 20) == data
            assert file.read_at(65_530, 70_000) == data[65_530:135_530]
            assert file.read_at(len(data), 10) == b""
        with pytest.raises(NotThere, match=r"file 'none\.bin' of share 'Data' does not exist"):
            share.open("none.bin")
    assert (smbd.data / "made.bin").read_bytes() == data
    with connect(target(smbd), "Admin") as share:
        assert [info.name for info in share.list("Minidump")] == ["Minidump\\small.dmp"]
        assert share.stat("Minidump\\small.dmp").length == 10
        with pytest.raises(AccessDenied):
            share.create("new.bin")
    with pytest.raises(NotThere, match="share 'Nowhere' does not exist"):
        connect(target(smbd), "Nowhere")
    with pytest.raises(AccessDenied, match=f"access denied for user '{USER}' to share 'Denied'"):
        connect(target(smbd), "Denied")
    with pytest.raises(Unreachable, match="connection refused"):
        connect(target(smbd, port=free_port()), "Data")


def test_wrong_password_names_user_and_host_but_no_secret(smbd: Smbd) -> None:
    wrong = target(smbd, password="not-the-password")
    with pytest.raises(CredentialsRefused) as caught:
        run_load(wrong, LoadPlan(profile="steady", seconds=1), clock=SystemClock())
    assert USER in caught.value.message and f"127.0.0.1:{smbd.port}" in caught.value.message
    assert "not-the-password" not in repr(caught.value) + caught.value.help + repr(wrong)


def test_steady_counts_are_exact(smbd: Smbd) -> None:
    seen: list[Progress] = []
    report = run_load(
        target(smbd),
        LoadPlan(profile="steady", seconds=1.5, seed=3, connections=3),
        clock=SystemClock(),
        on_progress=seen.append,
    )
    assert (smbd.data / NAME).stat().st_size == LENGTH
    assert report.reads_sent > 100
    assert report.reads_answered == report.reads_sent
    assert report.bytes_read == report.reads_answered * 4096
    assert report.failed == () and not report.target_died and report.died_after is None
    assert report.seconds == pytest.approx(1.5, abs=0.4)
    assert 0 < report.latency_ms[0] <= report.latency_ms[1] <= report.latency_ms[2]
    assert seen[-1].reads_answered == report.reads_answered and len(seen) >= 3
    deadline = time.monotonic() + 3
    while smbd.children_serving() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not smbd.children_serving(), "connections were left open"


def test_burst_is_silent_between_bursts(smbd: Smbd) -> None:
    seen: list[Progress] = []
    report = run_load(
        target(smbd),
        LoadPlan(profile="burst", seconds=2.5, connections=4),
        clock=SystemClock(),
        on_progress=seen.append,
    )
    assert report.reads_answered == report.reads_sent > 100
    assert not report.target_died
    quiet = [p for p in seen if p.phase == "idle" and p.seconds > 1.4]
    assert len(quiet) >= 3
    assert {p.reads_sent for p in quiet} == {report.reads_sent}
    assert all(p.in_flight <= 1 for p in quiet)  # one ECHO at most


@pytest.mark.parametrize(("profile", "when"), [("steady", 0.8), ("burst", 1.6)])
def test_a_killed_server_is_noticed_within_two_seconds(smbd: Smbd, profile: str, when: float) -> None:
    killed: list[float] = []

    def kill() -> None:
        smbd.kill()
        killed.append(time.monotonic())

    after(when + 0.1, kill)
    report = run_load(target(smbd), LoadPlan(profile=profile, seconds=30), clock=SystemClock())
    assert time.monotonic() - killed[0] < 2.0
    assert report.target_died
    assert report.died_after is not None and 0 < report.died_after <= report.seconds + 1e-6
    assert report.reads_answered <= report.reads_sent <= report.reads_answered + 128


def test_one_connection_lost_is_made_again(smbd: Smbd) -> None:
    after(0.5, lambda: smbd.kill_one_connection())
    report = run_load(
        target(smbd), LoadPlan(profile="steady", seconds=1.5, connections=4), clock=SystemClock()
    )
    assert not report.target_died
    assert report.seconds == pytest.approx(1.5, abs=0.4)
    lost = report.reads_sent - report.reads_answered
    assert 0 <= lost <= 8  # what one of four connections may have in flight


def test_stop_ends_the_load_cleanly(smbd: Smbd) -> None:
    stop = threading.Event()
    after(0.6, stop.set)
    report = run_load(target(smbd), LoadPlan(profile="steady", seconds=30), clock=SystemClock(), stop=stop)
    assert 0.3 < report.seconds < 2 and not report.target_died
    assert report.reads_answered == report.reads_sent > 0


def test_an_interrupt_closes_all_connections(smbd: Smbd) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.seconds > 0.4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_load(
            target(smbd),
            LoadPlan(profile="steady", seconds=30),
            clock=SystemClock(),
            on_progress=interrupt,
        )
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("load-")]
    deadline = time.monotonic() + 3
    while smbd.children_serving() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not smbd.children_serving()


def test_a_wrong_data_file_is_written_anew(smbd: Smbd) -> None:
    (smbd.data / NAME).write_bytes(b"short")
    run_load(target(smbd), LoadPlan(profile="steady", seconds=0.3, connections=1), clock=SystemClock())
    assert (smbd.data / NAME).read_bytes() == content()
