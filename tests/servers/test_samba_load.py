"""The read load against a real Samba server: counts, phases, its end, its files."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from smbd import USER, Smbd, after, free_port

from lab.model import ConfigurationError, LoadPlan, QueueSample, SystemClock
from lab.smb import (
    PROFILES,
    AccessDenied,
    CredentialsRefused,
    NotThere,
    Progress,
    Security,
    Signing,
    SmbTarget,
    Unreachable,
    connect,
    run_load,
)
from lab.smb.load.fileset import FOLDER, NAME, content
from lab.smb.wire import Command

SLOW_SECONDS = 20.0
"""More than a load of a second or two can take on a machine that is busy with other things."""

PLAIN = Security(signing=Signing.IF_ASKED)


def test_files_and_errors(smbd: Smbd) -> None:
    (smbd.admin / "Minidump").mkdir()
    (smbd.admin / "Minidump" / "small.dmp").write_bytes(b"x" * 10)
    data = content(0, 1_000_001)
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
    assert (smbd.data / NAME).read_bytes() == content(0, 4 << 20)
    assert report.reads_sent > 100
    assert report.reads_answered == report.reads_sent
    assert report.bytes_read == report.reads_answered * 4096
    assert report.failed == () and not report.target_died and report.died_after is None
    assert (report.lost, report.short, report.reconnects, report.undelivered) == (0, 0, 0, "")
    assert 1.4 < report.seconds < SLOW_SECONDS
    assert 0 < report.latency_ms[0] <= report.latency_ms[1] <= report.latency_ms[2]
    assert report.transport == "SMB 3.1.1, signed with AES-128-GMAC"
    assert report.verified >= report.reads_answered // 16
    assert sum(phase.sent for phase in report.phases) == report.reads_sent
    assert sum(phase.answered for phase in report.phases) == report.reads_answered
    assert max(phase.in_flight for phase in report.phases) <= 32
    assert seen[-1].reads_answered == report.reads_answered and len(seen) >= 2
    assert smbd.no_connections_left()


def test_reads_go_unsigned_where_neither_side_asks_for_it(smbd: Smbd) -> None:
    plan = LoadPlan(profile="steady", seconds=0.5)
    report = run_load(smbd.target(security=PLAIN), plan, clock=SystemClock())
    assert report.transport == "SMB 3.1.1, unsigned" and report.verified == 0
    assert report.reads_answered == report.reads_sent > 100


def test_burst_is_silent_between_bursts(smbd: Smbd) -> None:
    seen: list[Progress] = []
    report = run_load(
        smbd.target(),
        LoadPlan(profile="burst", seconds=2.5, connections=4),
        clock=SystemClock(),
        on_progress=seen.append,
    )
    assert report.reads_answered == report.reads_sent > 100
    assert not report.target_died and report.undelivered == ""
    burst, idle = report.phases
    assert (burst.name, idle.name) == ("burst", "idle")
    # what is being handed to the kernel when the burst ends is counted a moment later
    assert burst.sent + idle.sent == report.reads_sent and idle.sent <= 128
    assert 64 <= burst.in_flight <= 128
    quiet = [p for p in seen if p.phase == "idle" and p.seconds > 1.4]
    assert quiet and {p.reads_sent for p in quiet} == {report.reads_sent}
    assert all(p.in_flight == 0 for p in quiet)
    assert dict(report.operations)["echoes"] >= 2  # the signs of life asked for meanwhile


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_every_profile_is_delivered(smbd: Smbd, name: str) -> None:
    report = run_load(smbd.target(), LoadPlan(name, seconds=2.0, seed=5), clock=SystemClock())
    assert report.undelivered == "" and not report.target_died
    assert report.reads_answered == report.reads_sent > 10
    assert report.bytes_read == report.reads_sent * PROFILES[name].size
    done = dict(report.operations)
    if name == "churn":
        assert done["creates"] == done["closes"] == report.reads_sent
    if name == "sessions":
        assert done["session"] == report.reads_sent
    if name == "mixed":
        assert done["READs to be cancelled"] >= 8 and done["connection closed in mid-flight"] >= 1
        assert done.get("oplock break", 0) + done.get("lease break", 0) >= 1
        assert "oplock not granted" not in done
    assert [path.name for path in smbd.data.iterdir()] == ([] if name == "churn" else [NAME])
    assert smbd.no_connections_left()


def test_a_plans_own_values_reach_the_wire(smbd: Smbd) -> None:
    plan = LoadPlan(
        "burst", seconds=2.0, connections=2, in_flight=20, idle_seconds=0.4, size=65_536, verify_every=1
    )
    report = run_load(smbd.target(), plan, clock=SystemClock())
    assert report.bytes_read == report.reads_answered * 65_536
    assert report.reads_answered == report.reads_sent
    assert report.verified == report.reads_answered + dict(report.operations)["echoes"]
    assert max(phase.in_flight for phase in report.phases) <= 20
    assert [phase.name for phase in report.phases] == ["burst", "idle"] * 2
    assert report.phases[1].seconds == pytest.approx(0.4 * 2.0 / 2.4)


def test_a_rate_is_kept_in_compounds_of_many_connections(smbd: Smbd) -> None:
    plan = LoadPlan("compound", seconds=2.0, connections=20, rate=400.0)
    report = run_load(smbd.target(), plan, clock=SystemClock())
    assert 400 <= report.reads_sent <= 801 and report.reads_sent % 8 == 0
    assert report.reads_answered == report.reads_sent and report.undelivered == ""


def test_a_rate_is_kept(smbd: Smbd) -> None:
    plan = LoadPlan("steady", seconds=2.0, connections=3, rate=200.0)
    report = run_load(smbd.target(), plan, clock=SystemClock())
    assert 200 <= report.reads_sent <= 401
    assert report.reads_answered == report.reads_sent and report.undelivered == ""


def test_the_same_plan_reads_the_same_places(smbd: Smbd) -> None:
    """With one READ in flight on a file of which a part is locked away, what fails tells the places."""
    locked = smbd.target(data_share="Locked")
    plan = LoadPlan("steady", seconds=0.7, connections=1, in_flight=1, rate=100.0, seed=11)
    run_load(locked, replace(plan, seconds=0.1), clock=SystemClock())
    with partly_locked(locked):
        one, same, other = (
            run_load(locked, replace(plan, seed=seed), clock=SystemClock()) for seed in (11, 11, 12)
        )
    assert one.reads_sent >= 30
    if one.reads_sent == same.reads_sent:  # a busy machine may have missed the last of them
        assert one.failed == same.failed
    assert one.failed != other.failed or one.reads_sent != other.reads_sent


def test_stop_ends_the_load_cleanly(smbd: Smbd) -> None:
    stop = threading.Event()
    after(0.6, stop.set)
    report = run_load(smbd.target(), LoadPlan(profile="steady", seconds=60), clock=SystemClock(), stop=stop)
    assert 0.2 < report.seconds < SLOW_SECONDS and not report.target_died
    assert report.reads_answered == report.reads_sent > 0 and report.undelivered == ""


@pytest.mark.parametrize("profile", ["steady", "churn", "sessions", "mixed"])
def test_an_interrupt_closes_all_connections_and_takes_its_files_along(smbd: Smbd, profile: str) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.seconds > 0.4:
            raise KeyboardInterrupt

    plan = LoadPlan(profile=profile, seconds=60, keep_files=False)
    with pytest.raises(KeyboardInterrupt):
        run_load(smbd.target(), plan, clock=SystemClock(), on_progress=interrupt)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("load-")]
    assert smbd.no_connections_left()
    assert list(smbd.data.iterdir()) == []


def test_a_wrong_data_file_is_written_anew_and_a_right_one_kept(smbd: Smbd) -> None:
    plan = LoadPlan(profile="steady", seconds=0.3, connections=1)
    (smbd.data / NAME).write_bytes(b"short")
    run_load(smbd.target(), plan, clock=SystemClock())
    assert (smbd.data / NAME).read_bytes() == content(0, 4 << 20)
    (smbd.data / NAME).write_bytes(bytes(4 << 20))
    run_load(smbd.target(), plan, clock=SystemClock())
    assert (smbd.data / NAME).read_bytes() == content(0, 4 << 20)
    (smbd.data / NAME).write_bytes(content(0, 8 << 20))  # that of a profile that wants more
    written = (smbd.data / NAME).stat().st_mtime_ns
    run_load(smbd.target(), plan, clock=SystemClock())
    assert (smbd.data / NAME).stat().st_mtime_ns == written


def test_what_a_load_before_left_behind_does_no_harm(smbd: Smbd) -> None:
    folder = smbd.data / FOLDER
    folder.mkdir()
    (folder / "00000.bin").write_bytes(b"half")
    report = run_load(smbd.target(), LoadPlan("churn", seconds=0.5), clock=SystemClock())
    assert report.reads_answered == report.reads_sent and report.short == 0
    assert list(smbd.data.iterdir()) == []


def test_an_odd_error_status_is_counted_and_the_load_goes_on(smbd: Smbd) -> None:
    locked = smbd.target(data_share="Locked")
    run_load(locked, LoadPlan(profile="steady", seconds=0.2, connections=1), clock=SystemClock())
    with partly_locked(locked):
        report = run_load(locked, LoadPlan(profile="steady", seconds=1.0), clock=SystemClock())
    assert [name for name, _ in report.failed] == ["STATUS_FILE_LOCK_CONFLICT"]
    failed = report.failed[0][1]
    assert failed > 20 and report.reads_answered > 20
    assert report.reads_sent == report.reads_answered + failed and report.lost == 0
    assert report.bytes_read == report.reads_answered * 4096
    assert f"READs were answered; {failed} × STATUS_FILE_LOCK_CONFLICT" in report.undelivered


@contextmanager
def partly_locked(target: SmbTarget) -> Iterator[None]:
    """A quarter of the load's file, where no load looks before it starts, is locked by someone else."""
    with connect(target, target.data_share) as share, share.open(NAME) as file:
        lock = struct.pack("<HHI16sQQII", 48, 1, 0, file.file_id, 256 * 4096, 255 * 4096, 0x2 | 0x10, 0)
        share.exchange(Command.LOCK, lock, "the lock")  # exclusive, and fail at once (MS-SMB2 2.2.26)
        yield


@pytest.mark.parametrize("connections", [17, 64])
def test_one_thread_drives_very_many_connections(smbd: Smbd, connections: int) -> None:
    names: set[str] = set()
    report = run_load(
        smbd.target(),
        LoadPlan(profile="steady", seconds=2.0, connections=connections, in_flight=128),
        clock=SystemClock(),
        on_progress=lambda _: names.update(thread.name for thread in threading.enumerate()),
    )
    assert report.reads_answered == report.reads_sent > 128
    assert not report.target_died and report.undelivered == ""
    assert [name for name in names if name.startswith("load-")] == ["load-all"]
    assert smbd.no_connections_left()


def test_credits_that_never_suffice_are_told(smbd: Smbd) -> None:
    smbd.kill()
    smbd.configure("smb2 max credits = 16")
    smbd.start()
    plan = LoadPlan("burst", seconds=1.0, connections=2)
    report = run_load(smbd.target(), plan, clock=SystemClock())
    assert report.reads_answered == report.reads_sent > 20 and report.credit_stalls > 0
    assert report.undelivered.endswith("READs in flight; 128 were wanted")


def test_a_size_that_the_server_does_not_allow(smbd: Smbd) -> None:
    smbd.kill()
    smbd.configure("server max protocol = SMB2_02")
    smbd.start()
    with pytest.raises(ConfigurationError, match="allows 1 to 65536"):
        run_load(smbd.target(), LoadPlan("steady", seconds=0.3, size=1 << 20), clock=SystemClock())
    report = run_load(smbd.target(), LoadPlan("bandwidth", seconds=0.3), clock=SystemClock())
    assert report.bytes_read == report.reads_answered * 65_536  # the profile's own size gives way


def test_server_queues_are_in_the_report(smbd: Smbd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.smb.load.run.QUEUES_EVERY", 0.1)

    def queues() -> list[QueueSample]:
        return [QueueSample(0.0, "SMB2 NonBlocking 0", 7, 13, 2)]

    report = run_load(smbd.target(), LoadPlan("steady", seconds=1.5), clock=SystemClock(), queues=queues)
    times = [each.after for each in report.queues]
    assert len(times) >= 2 and times == sorted(times) and 0 < times[0] < times[-1] <= report.seconds + 1
    assert {(each.queue, each.active_threads) for each in report.queues} == {("SMB2 NonBlocking 0", 7)}
