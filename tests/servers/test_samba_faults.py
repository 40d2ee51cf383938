"""What may befall a server in the middle of a load, short of its death: each has a clear outcome."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from smbd import PASSWORD, USER, Smbd
from tcp_relay import Relay

from lab.model import LoadPlan, LoadReport, SystemClock
from lab.smb import Progress, ShareFull, Unreachable, run_load


def load(
    smbd: Smbd, plan: LoadPlan, deed: Callable[[], object], when: float = 0.4, **more: object
) -> LoadReport:
    """The report of a load to which `deed` happens once, `when` seconds after its start."""
    done: list[float] = []

    def look(progress: Progress) -> None:
        if progress.seconds >= when and not done:
            done.append(progress.seconds)
            deed()

    report = run_load(smbd.target(), plan, clock=SystemClock(), on_progress=look, **more)  # type: ignore[arg-type]
    assert done, "the load ended before the deed"
    failed = sum(count for _, count in report.failed)
    assert report.reads_sent == report.reads_answered + failed + report.lost
    return report


@pytest.mark.parametrize(("profile", "connections"), [("steady", 4), ("burst", 20), ("churn", 2)])
def test_a_restarted_server_is_loaded_on(smbd: Smbd, profile: str, connections: int) -> None:
    def restart() -> None:
        smbd.kill()
        smbd.start()

    report = load(smbd, LoadPlan(profile, seconds=4.0, connections=connections), restart)
    assert not report.target_died and report.undelivered == ""
    assert report.reconnects >= connections
    assert dict(report.operations)["loss of all connections"] == 1
    assert report.phases[-2].answered + report.phases[-1].answered > 0


def test_a_machine_that_was_restarted_has_died(smbd: Smbd) -> None:
    asked: list[bool] = []

    def restarted() -> bool:
        asked.append(True)
        return True

    def restart() -> None:
        smbd.kill()
        smbd.start()

    report = load(smbd, LoadPlan("steady", seconds=60.0), restart, restarted=restarted)
    assert asked == [True] and report.target_died and report.died_after is not None
    assert report.died_after < 50


def test_a_changed_password_ends_nothing_until_a_connection_must_be_made_again(smbd: Smbd) -> None:
    def change() -> None:
        smbd.set_password("Another-1")
        smbd.kill_one_connection()

    report = load(smbd, LoadPlan("steady", seconds=2.5, connections=3), change)
    assert not report.target_died and report.reconnects == 0
    assert report.undelivered == (
        "1 of 3 connections were lost and not made again: "
        f"credentials refused for user '{USER}' at 127.0.0.1:{smbd.port} (STATUS_LOGON_FAILURE)"
    )
    assert PASSWORD not in repr(report)
    assert report.reads_answered > 100  # the others went on
    last = report.phases[-1]
    assert last.answered > 0


def test_a_changed_password_for_all_connections_ends_the_load(smbd: Smbd) -> None:
    def change() -> None:
        smbd.set_password("Another-1")
        for _ in range(2):
            smbd.kill_one_connection()

    report = load(smbd, LoadPlan("steady", seconds=90.0, connections=2), change)
    assert not report.target_died and report.seconds < 60
    assert report.undelivered.startswith(
        "2 of 2 connections were lost and not made again: credentials refused"
    )


@pytest.mark.parametrize(
    ("profile", "connections"), [("steady", 3), ("churn", 2), ("sessions", 2), ("steady", 20)]
)
def test_a_share_that_is_taken_away_ends_the_load(
    smbd: Smbd, profile: str, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # on a busy machine smbd may need more time for all of its connections than a dead server is given
    monkeypatch.setattr("lab.smb.load.watch.KNOCK_SECONDS", 20.0)
    plan = LoadPlan(profile, seconds=90.0, connections=connections)
    report = load(smbd, plan, lambda: smbd.drop_share("Data"))
    assert not report.target_died and report.seconds < 60
    assert report.undelivered == (
        f"{connections} of {connections} connections were lost and not made again: "
        f"share 'Data' does not exist on 127.0.0.1:{smbd.port}"
    )


@pytest.fixture
def tight(smbd: Smbd) -> Iterator[Path]:
    """The data share lies on a disk of its own, of 2 MiB."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(smbd.data)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield smbd.data
    finally:
        subprocess.run(["umount", "-l", str(smbd.data)], check=True, capture_output=True)


@pytest.mark.parametrize("profile", ["steady", "wide-burst"])
def test_files_that_do_not_fit_are_not_begun(smbd: Smbd, tight: Path, profile: str) -> None:
    with pytest.raises(ShareFull, match=r"share 'Data' on .* has 2\.\d MB free; the files of the load take"):
        run_load(smbd.target(), LoadPlan(profile, seconds=1.0), clock=SystemClock())
    assert list(tight.iterdir()) == []


def test_a_disk_that_fills_up_meanwhile_keeps_nothing_of_ours(
    smbd: Smbd, tight: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.smb.share.Share.free_space", lambda share: 1 << 40)
    with pytest.raises(ShareFull, match=r"has no space left for writing file 'bugcheck-lab\.bin'"):
        run_load(smbd.target(), LoadPlan("steady", seconds=1.0), clock=SystemClock())
    assert list(tight.iterdir()) == []


def test_small_files_that_do_not_fit_leave_no_folder(
    smbd: Smbd, tight: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.smb.share.Share.free_space", lambda share: 1 << 40)
    with pytest.raises(ShareFull, match="has no space left"):
        run_load(smbd.target(), LoadPlan("churn", seconds=1.0, size=65_536), clock=SystemClock())
    assert list(tight.iterdir()) == []


def test_a_full_disk_does_not_disturb_the_reads(smbd: Smbd, tight: Path) -> None:
    def fill() -> None:
        with (tight / "filler").open("wb") as file, pytest.raises(OSError):
            while True:
                file.write(bytes(65_536))
                file.flush()

    report = load(smbd, LoadPlan("churn", seconds=1.5), fill)
    assert report.undelivered == "" and report.reads_answered == report.reads_sent
    assert [path.name for path in tight.iterdir()] == ["filler"]


@pytest.mark.parametrize("profile", ["wide-burst", "churn"])
def test_files_half_written_when_the_connection_is_lost_are_removed(smbd: Smbd, profile: str) -> None:
    with Relay(smbd.port) as relay:
        relay.cut_after = 30_000  # in the middle of the answers to CREATEs and WRITEs
        with pytest.raises(Unreachable):
            run_load(smbd.target(port=relay.port), LoadPlan(profile, 1.0), clock=SystemClock())
        assert relay.cut_after is None and relay.connections == 2
    assert list(smbd.data.iterdir()) == []
