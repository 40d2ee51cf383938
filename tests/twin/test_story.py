"""The whole story over real protocols, as a user runs it: also killed, and interrupted, on the way."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest

from lab.inventory import Host, load
from lab.journal import open_journal
from lab.model import DriverSetting, InfrastructureError, Invalid, InvalidReason, VerifierPlan
from lab.windows import open_guest, surgery

PASSWORD = "BUGCHECK_LAB_TWIN_PASSWORD"
PATIENCE = 240.0  # a third of that is usual; the machine may be busy with something else


@dataclass
class Story:
    """A served twin, an inventory that names it, and a folder for journal and vault."""

    folder: Path
    process: subprocess.Popen[bytes]
    endpoints: dict[str, Any]
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def inventory(self) -> Path:
        return self.folder / "inventory.yaml"

    def host(self) -> Host:
        return load([self.inventory]).host("twin")

    def lab(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command in a session of its own, its story going to `story.txt`."""
        with (self.folder / "story.txt").open("wb") as story:
            process = subprocess.Popen(
                [sys.executable, "-m", "lab", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=story,
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )
        self.started.append(process)
        return process

    def end(self) -> None:
        """End what a test that failed, or killed its own commands, has left: with all that they started."""
        for process in self.started:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.process.kill()
        self.process.wait()

    def told(self) -> str:
        return (self.folder / "story.txt").read_text("utf-8", "replace")

    def wait_for(self, text: str, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + PATIENCE
        while text not in self.told():
            assert process.poll() is None, f"ended before '{text}':\n{self.told()}"
            assert time.monotonic() < end, f"no '{text}' in:\n{self.told()}"
            time.sleep(0.1)

    def settings(self) -> tuple[tuple[DriverSetting, ...], VerifierPlan]:
        """What would load at the next boot, and the verifier's settings for it.

        A killed run may have asked for a restart just before: a reading that it cuts short is made again.
        """
        end = time.monotonic() + PATIENCE
        while True:
            with open_guest(self.host()) as guest:
                guest.wait_until_reachable()
                try:
                    return surgery.settings(guest.drivers()), guest.verifier().pending
                except InfrastructureError:
                    assert time.monotonic() < end, "the guest keeps going away"

    def revealed(self) -> dict[str, str]:
        self.process.terminate()
        rest, _ = self.process.communicate(timeout=20)
        answer: dict[str, str] = json.loads(rest.splitlines()[-1])
        return answer


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    monkeypatch.setenv(PASSWORD, "Story-teller-1")
    command = [sys.executable, "-m", "lab", "twin", "serve", "--state", str(tmp_path / "twin"), "--seed", "5"]
    for service in ("winrm", "winrm-tls", "smb", "redfish", "symbols"):
        command += [f"--{service}-port", "0"]
    command += ["--customer-dump", str(tmp_path / "c.dmp")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert process.stdout is not None
    stdout: IO[bytes] = process.stdout
    endpoints = json.loads(stdout.readline())
    (tmp_path / "inventory.yaml").write_text(
        f"""
hosts:
  twin:
    address: {endpoints["host"]}
    expendable: true
    machine:
      kind: redfish
      url: {endpoints["redfish_url"]}
      user: {endpoints["user"]}
      password: {{env: {PASSWORD}}}
      ca_file: {endpoints["ca_file"]}
    guest:
      shell: {{kind: psrp, port: {endpoints["winrm_port"]}, user: {endpoints["user"]}, tls: false,
              password: {{env: {PASSWORD}}}}}
    smb: {{port: {endpoints["smb_port"]}}}
    symbols: ["srv*symbols*{endpoints["symbols_url"]}"]
    timeouts: {{boot: 60, dump: 30, poll: 0.1}}
""",
        "utf-8",
    )
    story = Story(tmp_path, process, endpoints)
    try:
        yield story
    finally:
        story.end()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_and_interrupted_and_still_solved(story: Story) -> None:
    found = story.settings()
    options = ["-i", str(story.inventory), "--data", str(story.folder / "data"), "--load-seconds", "6"]

    first = story.lab("reproduce", "twin", "--dump", str(story.folder / "c.dmp"), *options)
    story.wait_for("restarting", first)
    first.kill()
    first.wait()
    journal = open_journal(story.folder / "data" / "journal.db")
    case = journal.cases()[0].id
    assert journal.undo_pending("twin"), "changes must be journalled before they are made"
    assert [t.case_id for t in journal.running_trials()] == [case]
    assert story.settings() != found

    second = story.lab("reproduce", "twin", "--case", case, *options)
    story.wait_for("verifier 0x810", second)
    os.killpg(second.pid, signal.SIGINT)
    assert second.wait(timeout=PATIENCE) == 130, story.told()
    assert "Traceback" not in story.told()
    assert story.settings() == found, "Ctrl-C must leave the host as it was found"
    assert not journal.undo_pending("twin") and not journal.running_trials()
    outcomes = [t.outcome for t in journal.case(case).trials]
    stopped = [o for o in outcomes if isinstance(o, Invalid) and o.reason is InvalidReason.INTERRUPTED]
    assert len(stopped) == 2, "one trial was killed, one interrupted"

    third = story.lab("reproduce", "twin", "--case", case, "--json", *options)
    answer, _ = third.communicate(timeout=PATIENCE)
    assert third.returncode == 0, story.told()
    assert story.settings() == found
    revealed = story.revealed()
    sealed = hashlib.sha256((revealed["culprit"] + revealed["salt"]).encode()).hexdigest()
    assert sealed == story.endpoints["commitment"]
    assert json.loads(answer)["verdict"]["culprits"] == [revealed["culprit"]]
    assert "Story-teller-1" not in story.told()
