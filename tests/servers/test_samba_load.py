"""The read load and the file access against a real Samba server."""

from __future__ import annotations

import threading

import pytest
from smbd import USER, Smbd, after, free_port
from smbprotocol.open import LockFlags, SMB2LockElement

from lab.model import LoadPlan, SystemClock
from lab.smb import (
    AccessDenied,
    CredentialsRefused,
    NotThere,
    Progress,
    Unreachable,
    connect,
    run_load,
)
from lab.smb.legacy.datafile import LENGTH, NAME, content


def test_files_and_errors(smbd: Smbd) -> None:
    (smbd.admin / "Minidump").mkdir()
    (smbd.admin / "Minidump" / "small.dmp").write_bytes(b"x" * 10)
    data = content()[:1_000_001]
    with connect(smbd.target(), "Data") as share:
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
    with connect(smbd.target(), "Admin") as share:
        assert [info.name for info in share.list("Minidump")] == ["Minidump\\small.dmp"]
        assert share.stat("Minidump\\small.dmp").length == 10
        with pytest.raises(AccessDenied):
            share.create("new.bin")
    with pytest.raises(NotThere, match="share 'Nowhere' does not exist"):
        connect(smbd.target(), "Nowhere")
    with pytest.raises(AccessDenied, match=f"access denied for user '{USER}' to share 'Denied'"):
        connect(smbd.target(), "Denied")
    with pytest.raises(Unreachable, match="connection refused"):
        connect(smbd.target(port=free_port()), "Data")


def test_wrong_password_names_user_and_host_but_no_secret(smbd: Smbd) -> None:
    wrong = smbd.target(password="not-the-password")
    with pytest.raises(CredentialsRefused) as caught:
        run_load(wrong, LoadPlan(profile="steady", seconds=1), clock=SystemClock())
    assert USER in caught.value.message and f"127.0.0.1:{smbd.port}" in caught.value.message
    assert "not-the-password" not in repr(caught.value) + caught.value.help + repr(wrong)


def test_steady_counts_are_exact(smbd: Smbd) -> None:
    seen: list[Progress] = []
    report = run_load(
        smbd.target(),
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
    assert smbd.no_connections_left()


def test_burst_is_silent_between_bursts(smbd: Smbd) -> None:
    seen: list[Progress] = []
    report = run_load(
        smbd.target(),
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


def test_stop_ends_the_load_cleanly(smbd: Smbd) -> None:
    stop = threading.Event()
    after(0.6, stop.set)
    report = run_load(smbd.target(), LoadPlan(profile="steady", seconds=30), clock=SystemClock(), stop=stop)
    assert 0.3 < report.seconds < 2 and not report.target_died
    assert report.reads_answered == report.reads_sent > 0


def test_an_interrupt_closes_all_connections(smbd: Smbd) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.seconds > 0.4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_load(
            smbd.target(),
            LoadPlan(profile="steady", seconds=30),
            clock=SystemClock(),
            on_progress=interrupt,
        )
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("load-")]
    assert smbd.no_connections_left()


def test_a_wrong_data_file_is_written_anew(smbd: Smbd) -> None:
    (smbd.data / NAME).write_bytes(b"short")
    run_load(smbd.target(), LoadPlan(profile="steady", seconds=0.3, connections=1), clock=SystemClock())
    assert (smbd.data / NAME).read_bytes() == content()


def test_an_odd_error_status_is_counted_and_the_load_goes_on(smbd: Smbd) -> None:
    locked = smbd.target(data_share="Locked")
    run_load(locked, LoadPlan(profile="steady", seconds=0.2, connections=1), clock=SystemClock())
    with connect(locked, "Locked") as share, share.open(NAME) as file:
        lock = SMB2LockElement()
        lock["offset"], lock["length"] = 0, LENGTH // 2
        lock["flags"].set_flag(LockFlags.SMB2_LOCKFLAG_EXCLUSIVE_LOCK)
        file.handle.lock([lock])
        report = run_load(locked, LoadPlan(profile="steady", seconds=1.0), clock=SystemClock())
    assert [name for name, _ in report.failed] == ["STATUS_FILE_LOCK_CONFLICT"]
    failed = report.failed[0][1]
    assert failed > 20 and report.reads_answered > 20
    assert report.reads_sent == report.reads_answered + failed
    assert report.bytes_read == report.reads_answered * 4096


def test_one_load_with_the_most_connections(smbd: Smbd) -> None:
    report = run_load(
        smbd.target(), LoadPlan(profile="steady", seconds=0.5, connections=64), clock=SystemClock()
    )
    assert report.reads_answered == report.reads_sent > 32
    assert not report.target_died
