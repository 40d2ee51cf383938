"""`lab load` without a server: what it asks of the load, what it tells, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import load_samples as samples
import pytest
from cli_runs import Lab, lab_in

from lab.cli import load as command
from lab.model import GuestError, InfrastructureError, LoadPlan, LoadReport, QueueSample
from lab.smb import Progress
from lab.smb.profiles import PROFILES
from lab.smb.target import Encryption, Signing, SmbTarget
from lab.trials.host_shell import HostShell

PASSWORD = "Not-To-Be-Shown-1"
INVENTORY = """
hosts:
  srv1:
    address: 192.0.2.7
    expendable: true
    machine: {kind: fixed}
    guest: {shell: {kind: psrp, user: 'LAB\\crash', password: {env: SRV1_PASSWORD}}}
    smb: {most_connections: 32, most_seconds: 3600, most_reads_per_second: 50000}
  files:
    address: 192.0.2.8
    machine: {kind: fixed}
    guest: {shell: {kind: psrp, user: crash, password: {env: SRV1_PASSWORD}}}
"""

Loaded = Callable[[LoadReport], list[tuple[SmbTarget, LoadPlan]]]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Lab]:
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "lab.yaml").write_text(INVENTORY, "utf-8")
    monkeypatch.setenv("SRV1_PASSWORD", PASSWORD)
    yield from lab_in(tmp_path, monkeypatch, capsys)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Loaded:
    """Loads end at once with the given report; gives what was asked for."""

    def prepare(report: LoadReport) -> list[tuple[SmbTarget, LoadPlan]]:
        asked = []

        def run_load(target: SmbTarget, plan: LoadPlan, **given: Any) -> LoadReport:
            asked.append((target, plan))
            return report

        monkeypatch.setattr(command, "run_load", run_load)
        return asked

    return prepare


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise AssertionError("a connection, or a look for a name")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_the_list_names_every_profile_and_what_it_is_for(lab: Lab) -> None:
    text = lab("load", "--list").out
    for profile in PROFILES.values():
        assert f"\n{profile.name}\n" in f"\n{text}"
        assert profile.summary in text and profile.exercises in text
    assert [each["name"] for each in json.loads(lab("load", "--list", "--json").out)] == list(PROFILES)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("profile", PROFILES)
def test_a_dry_run_touches_nothing(lab: Lab, profile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SRV1_PASSWORD")  # not even a secret
    before = sorted(Path().rglob("*"))
    ended = lab("load", "srv1", "--profile", profile, "--seconds", 60, "--connections", 8, "--dry-run")
    assert (ended.code, ended.err) == (0, "")
    assert "srv1 at 192.0.2.7:445, share LabData, as LAB\\crash" in ended.out
    assert PROFILES[profile].summary in ended.out
    assert "at most 50000 a second" in ended.out and "over 8 connections" in ended.out
    assert sorted(Path().rglob("*")) == before


def test_a_dry_run_says_which_files_and_when(lab: Lab) -> None:
    burst = lab("load", "srv1", "--dry-run", "--seconds", 5, "--remove-files").out
    assert "LabData\\bugcheck-lab.bin, 4.0 MB" in burst and "the file is removed" in burst
    lines = [line.split() for line in burst.splitlines()]
    assert [line for line in lines if line[:2] == ["2.50", "s"]] == [
        ["2.50", "s", "burst", "0.80", "s", "128", "in", "flight"]
    ]
    assert lines[-1] == ["5.00", "s", "the", "end"]
    churn = lab("load", "srv1", "--dry-run", "--profile", "churn").out
    assert "256 files of 4.0 KB, 1.0 MB in all" in churn and "their folder are removed" in churn
    plan = json.loads(lab("load", "srv1", "--dry-run", "--json", "--profile", "sawtooth").out)
    assert plan["phases"][0][2:] == ["rise", "0 to 512 in flight"]


def test_options_reach_the_load(lab: Lab, loaded: Loaded) -> None:
    asked = loaded(samples.delivered().report)
    options = (
        "--profile wide-burst --seconds 12 --connections 16 --in-flight 320 --idle 2 --size 8192 --rate 900"
    )
    more = "--verify all --seed 7 --signing if-asked --encryption off --remove-files"
    ended = lab("load", "srv1", "--no-queues", *options.split(), *more.split())
    assert ended.code == 0
    ((target, plan),) = asked
    assert plan == LoadPlan(
        "wide-burst",
        12.0,
        7,
        16,
        in_flight=320,
        idle_seconds=2.0,
        size=8192,
        rate=900.0,
        verify_every=1,
        keep_files=False,
    )
    assert (target.security.signing, target.security.encryption) == (Signing.IF_ASKED, Encryption.OFF)
    (again,) = (line for line in ended.lines if line.startswith("  Again"))
    assert again.split("  ")[-1] == (
        f"lab load srv1 {options} --verify all --seed 7 --remove-files --signing if-asked --encryption off"
    )


@pytest.mark.parametrize(("said", "every"), [("all", 1), ("set-up", 0), ("1", 1), ("250", 250)])
def test_the_policy_of_verification(lab: Lab, loaded: Loaded, said: str, every: int) -> None:
    asked = loaded(samples.delivered().report)
    lab("load", "srv1", "--no-queues", "--verify", said)
    assert asked[0][1].verify_every == every


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["files"], 3, "not marked 'expendable: true'"),
        (["files", "--dry-run"], 3, "not marked 'expendable: true'"),
        (["192.0.2.7"], 3, "there is no host '192.0.2.7'"),
        (["srv1", "--profile", "tsunami"], 3, "wide-burst"),
        (["srv1", "--connections", "33"], 3, "smb.most_connections is 32"),
        (["srv1", "--seconds", "3601"], 3, "smb.most_seconds is 3600"),
        (["srv1", "--in-flight", "9000"], 3, "smb.most_in_flight is 8192"),
        (["srv1", "--size", "5000"], 3, "not multiples of 4096"),
        (["srv1", "--profile", "steady", "--idle", "3"], 3, "no idle phase"),
        (["srv1", "--verify", "most"], 3, "--verify most"),
        (["srv1", "--verify", "0"], 3, "--verify 0"),
        (["srv1", "--signing", "never"], 3, "--signing never"),
        (["srv1", "--html", "."], 3, "the page cannot be written to ."),
    ],
)
@pytest.mark.usefixtures("no_network")
def test_what_is_refused_before_anything_is_sent(
    lab: Lab, arguments: list[str], code: int, says: str
) -> None:
    ended = lab("load", *arguments)
    assert ended.code == code
    assert says in ended.sentence
    assert not Path("lab-data").exists()


def test_without_a_host_it_is_a_usage_error(lab: Lab) -> None:
    ended = lab("load")
    assert ended.code == 2 and "HOST" in ended.err


def test_a_delivered_load(lab: Lab, loaded: Loaded) -> None:
    loaded(samples.delivered().report)
    ended = lab("load", "srv1", "--no-queues", "--html", "load.html")
    assert ended.code == 0
    assert ended.lines[0] == "Delivered: 159,966 READs answered in 12 s"
    assert "STATUS_INSUFFICIENT_RESOURCES" in ended.out and "SMB2 NonBlocking 0" in ended.out
    assert str(Path("load.html").absolute()) in ended.err
    page = Path("load.html").read_text("utf-8")
    assert "Read load on srv1" in page and PASSWORD not in page + ended.out + ended.err


def test_a_load_that_was_not_delivered_is_told_and_has_its_own_exit_code(lab: Lab, loaded: Loaded) -> None:
    loaded(samples.undelivered().report)
    ended = lab("load", "srv1", "--no-queues", "--html", "load.html")
    assert ended.code == 8
    assert ended.lines[0].startswith("Not delivered: 12 of 40,000")
    assert ended.sentence.startswith("the load was not delivered: 12 of 40,000 READs")
    assert Path("load.html").exists()


def test_a_death_is_told_to_ten_milliseconds(lab: Lab, loaded: Loaded) -> None:
    loaded(samples.died().report)
    ended = lab("load", "srv1", "--no-queues")
    assert ended.code == 1
    assert ended.lines[0] == "The target died 6.42 s into the load, after 79,966 READs"


def test_everything_as_json(lab: Lab, loaded: Loaded) -> None:
    loaded(samples.died().report)
    ended = lab("load", "srv1", "--no-queues", "--json", "--seed", 4)
    said = json.loads(ended.out)
    assert ended.code == 1
    assert (said["format"], said["ended"], said["host"]) == (1, "died", "srv1")
    assert said["plan"]["seed"] == 4 and said["report"]["died_after"] == 6.42
    assert len(said["report"]["phases"]) == 5 and len(said["report"]["queues"]) == 24
    assert said["queues_missing"] == ""


def test_the_host_is_leased_while_it_is_loaded(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    second = []

    def run_load(*given: object, **named: object) -> LoadReport:
        monkeypatch.setattr(command, "run_load", lambda *a, **b: pytest.fail("two loads on one host"))
        second.append(lab("load", "srv1", "--no-queues"))
        return samples.delivered().report

    monkeypatch.setattr(command, "run_load", run_load)
    assert lab("load", "srv1", "--no-queues").code == 0
    assert second[0].code == 4 and "srv1" in second[0].sentence


BEGUN = Progress(0.25, 60.0, "burst", 10, 10, 0, 0, 40.0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_load_in_order(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def run_load(
        *given: object, stop: threading.Event, on_progress: Callable[[Progress], None], **named: object
    ) -> LoadReport:
        on_progress(BEGUN)
        os.kill(os.getpid(), number)
        assert stop.wait(10)
        return replace(samples.delivered().report, undelivered="no READ was sent")

    before = signal.getsignal(number)
    monkeypatch.setattr(command, "run_load", run_load)
    ended = lab("load", "srv1", "--no-queues", "--seconds", 60)
    assert ended.code == 130
    assert ended.lines[0] == "Interrupted 12 s into a load of 60 s"
    assert "159,966 answered" in ended.out
    assert ended.err.splitlines() == ["interrupted"]
    signal.signal(number, before)


@pytest.mark.parametrize("interrupts", [1, 2])
def test_a_second_interrupt_ends_the_command_and_so_does_one_before_the_load(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, interrupts: int
) -> None:
    def run_load(
        *given: object, stop: threading.Event, on_progress: Callable[[Progress], None], **named: object
    ) -> LoadReport:
        if interrupts == 2:
            on_progress(BEGUN)
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.wait(10)
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(10)
        pytest.fail("the last interrupt did nothing")

    monkeypatch.setattr(command, "run_load", run_load)
    ended = lab("load", "srv1", "--no-queues")
    assert (ended.code, ended.out) == (130, "")
    assert "interrupted" in ended.err


class Guest:
    """Answers with what it is given, errors too."""

    def __init__(self, *boots: str | Exception, queues: object = ()) -> None:
        self.boots, self._queues, self.closed = list(boots), queues, False

    def boot(self) -> Any:
        found = self.boots.pop(0) if len(self.boots) > 1 else self.boots[0]
        if isinstance(found, Exception):
            raise found
        return type("Boot", (), {"identity": found})

    def server_queues(self) -> Any:
        if isinstance(self._queues, Exception):
            raise self._queues
        return self._queues

    def close(self) -> None:
        self.closed = True


def shell_of(guest: Guest) -> HostShell:
    return HostShell(guest)  # type: ignore[arg-type]


def test_why_the_queues_are_not_known_is_kept() -> None:
    none = shell_of(Guest("1", queues=GuestError("no such counters")))
    with pytest.raises(GuestError):
        none.queues()
    assert none.failure == "no such counters"
    sample = QueueSample(0.0, "SMB2 NonBlocking 0", 1, 2, 3)
    some = shell_of(Guest("1", queues=(sample,)))
    assert some.failure and some.queues() == (sample,) and not some.failure


def test_another_boot_is_a_restart_and_an_unknown_one_is_neither_that_nor_none() -> None:
    down = InfrastructureError("connection refused")
    for boots, restarted in (
        (("7", "7"), False),
        (("7", "8"), True),
        (("7", down, "8"), True),
        ((down, "8"), None),
    ):
        shell = shell_of(Guest(*boots))
        shell.note_boot().join()
        assert shell.restarted() is restarted, boots


def test_a_restart_that_the_load_did_not_see_is_told(
    lab: Lab, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded(samples.undelivered().report)
    monkeypatch.setattr(HostShell, "note_boot", lambda self: setattr(self, "_boot", "7"))
    for boot, code in (("7", 8), ("8", 1)):
        guest = Guest(boot)
        monkeypatch.setattr(command, "open_guest", lambda _, guest=guest: guest)
        ended = lab("load", "srv1")
        assert ended.code == code
        assert ended.lines[0].startswith("The target was started anew") is (boot == "8")
        assert guest.closed


@pytest.mark.parametrize(("boot", "code"), [("7", 0), ("8", 1), ("", 8)])
def test_a_load_that_lost_all_connections_stood_only_if_the_same_boot_answers(
    lab: Lab, loaded: Loaded, monkeypatch: pytest.MonkeyPatch, boot: str, code: int
) -> None:
    report = samples.delivered().report
    loaded(replace(report, reconnects=4, operations=(("loss of all connections", 2),)))
    monkeypatch.setattr(HostShell, "note_boot", lambda self: setattr(self, "_boot", "7" if boot else ""))
    monkeypatch.setattr(command, "open_guest", lambda _: Guest(boot))
    ended = lab("load", "srv1")
    assert ended.code == code
    assert ("all connections were lost 2 times" in ended.lines[0]) is (code == 8)


def test_a_shell_in_which_a_script_hangs_is_left_alone() -> None:
    entered, leave = threading.Event(), threading.Event()

    class Hanging(Guest):
        def server_queues(self) -> Any:
            entered.set()
            leave.wait(30)
            return ()

    guest = Hanging("7")
    shell = shell_of(guest)
    looking = threading.Thread(target=shell.queues, daemon=True)
    looking.start()
    assert entered.wait(30)
    shell.close()
    assert not guest.closed
    leave.set()
    looking.join()
    shell.close()
    assert guest.closed
