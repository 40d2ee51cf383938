"""`lab machine`: what each action does to a machine, and what is refused before it is touched."""

from __future__ import annotations

import json
import os
import pty
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cli_runs import Lab, lab_in

from lab import machines
from lab.cli import terminal
from lab.journal import open_journal
from lab.machines import BACK_ENDS, BootDevice, Checkpoint, Console
from lab.model import ConfigurationError, InfrastructureError, PowerState

PNG = b"\x89PNG\r\n\x1a\n and so on"
HOST = """\
hosts:
  srv1:
    address: 192.0.2.1
    expendable: true
    machine: {kind: fixed, "on": ["true"], "off": ["true"]}
    guest: &guest {shell: {kind: psrp, user: crash, password: {env: P}}}
    timeouts: {power: 0.3, poll: 0.01}
  desk: {address: 192.0.2.3, expendable: true, machine: {kind: fixed}, guest: *guest}
  precious:
    address: 192.0.2.2
    machine: {kind: fixed}
    guest: {shell: {kind: psrp, user: crash, password: {env: P}}}
"""


class Everything:
    """A machine with every capability, which remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.state = PowerState.OFF
        self.sluggish = False
        self.picture = PNG
        self.kept: list[Checkpoint] = []

    def power_state(self) -> PowerState:
        return self.state

    def power_on(self) -> None:
        self.asked.append("on")
        self.state = self.state if self.sluggish else PowerState.ON

    def power_off(self) -> None:
        self.asked.append("off")
        self.state = PowerState.OFF

    def reset(self) -> None:
        self.asked.append("reset")

    def interrupt(self) -> None:
        self.asked.append("nmi")

    def address(self) -> str:
        return "192.0.2.1"

    def checkpoint(self, name: str, *, memory: bool = False) -> None:
        self.kept.append(Checkpoint(name, datetime(2026, 11, 22, tzinfo=UTC), memory))

    def restore(self, name: str) -> None:
        if all(each.name != name for each in self.kept):
            raise ConfigurationError(f"there is no checkpoint '{name}'", help="There is: baseline.")
        self.asked.append(("restore", name))

    def checkpoints(self) -> tuple[Checkpoint, ...]:
        return tuple(self.kept)

    def remove_checkpoint(self, name: str) -> None:
        self.kept = [each for each in self.kept if each.name != name]

    def screenshot(self) -> bytes:
        return self.picture

    @contextmanager
    def console(self) -> Iterator[Console]:
        yield Wire(b"SAC>")

    def insert_media(self, source: str) -> None:
        self.asked.append(("insert", source))

    def eject_media(self) -> None:
        self.asked.append("eject")

    def boot_once(self, device: BootDevice) -> None:
        self.asked.append(("boot", device))


class Wire:
    """A console that has sent something, and keeps what it is sent."""

    def __init__(self, sent: bytes = b"") -> None:
        self.sent, self.got = sent, b""
        self.wrote = threading.Event()

    def read(self, seconds: float) -> bytes:
        sent, self.sent = self.sent, b""
        if not sent:
            self.wrote.wait(seconds)
        return sent

    def write(self, data: bytes) -> None:
        self.got += data
        self.wrote.set()

    def close(self) -> None: ...


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Everything:
    found = Everything()
    monkeypatch.setitem(BACK_ENDS, "fixed", lambda settings, host, clock: found)
    return found


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Lab]:
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "lab.yaml").write_text(HOST)
    yield from lab_in(tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize(
    ("action", "before", "says"),
    [
        ("on", PowerState.OFF, "srv1 is on"),
        ("off", PowerState.ON, "srv1 is off"),
        ("reset", PowerState.ON, "srv1 is on"),
        (
            "nmi",
            PowerState.ON,
            "srv1: the NMI was sent; a Windows that runs stops with 0x80 and writes a dump",
        ),
    ],
)
def test_power(lab: Lab, machine: Everything, action: str, before: PowerState, says: str) -> None:
    machine.state = before
    done = lab("machine", "srv1", action)
    assert (done.code, done.lines, machine.asked) == (0, [says], [action])


def test_power_that_never_comes_ends_in_a_named_time_out(lab: Lab, machine: Everything) -> None:
    machine.sluggish = True
    done = lab("machine", "srv1", "on")
    assert done.code == 6 and done.sentence == "waited 0.3 s for power; last seen: srv1 is off"
    done = lab("machine", "srv1", "on", "--no-wait")
    assert done.code == 0 and done.lines == ["srv1: on was asked for"]


def test_a_machine_that_cannot_tell_its_power_is_believed(lab: Lab, machine: Everything) -> None:
    machine.state, machine.sluggish = PowerState.UNKNOWN, True
    assert lab("machine", "srv1", "on").lines == [
        "srv1: on was carried out; its machine cannot tell whether it is on"
    ]


def test_state_of_any_host_and_as_json(lab: Lab, machine: Everything) -> None:
    assert lab("machine", "precious", "state").lines == ["off"]
    assert json.loads(lab("machine", "precious", "state", "--json").out) == {
        "host": "precious",
        "state": "off",
    }


@pytest.mark.parametrize(
    "arguments",
    [
        *(["on"], ["off"], ["reset"], ["nmi"], ["console"], ["checkpoint", "a"], ["restore", "a"]),
        *(["remove", "a"], ["media", "eject"], ["boot", "cd"]),
    ],
)
def test_a_host_that_is_not_expendable_is_refused(
    lab: Lab, machine: Everything, arguments: list[str]
) -> None:
    done = lab("machine", "precious", *arguments)
    assert done.code == 3 and "not marked 'expendable: true'" in done.sentence and machine.asked == []


def test_it_acts_under_the_hosts_lease(lab: Lab, machine: Everything, tmp_path: Path) -> None:
    with open_journal(tmp_path / "lab-data" / "journal.db") as journal:
        journal.acquire("srv1", "elsewhere:1", 60)
        done = lab("machine", "srv1", "on")
        assert done.code == 4 and "leased by elsewhere:1" in done.sentence and machine.asked == []
        assert lab("machine", "srv1", "state").code == 0  # to look is free


def test_checkpoints(lab: Lab, machine: Everything) -> None:
    assert lab("machine", "srv1", "checkpoint", "baseline", "--memory").code == 0
    found = json.loads(lab("machine", "srv1", "checkpoints", "--json").out)["checkpoints"]
    assert found == [{"name": "baseline", "at": "2026-11-22T00:00:00+00:00", "memory": True}]
    assert "baseline" in lab("machine", "precious", "checkpoints").out
    assert lab("machine", "srv1", "restore", "baseline").lines == ["srv1 is as it was at 'baseline', and off"]
    done = lab("machine", "srv1", "restore", "none")
    assert done.code == 3 and done.sentence == "there is no checkpoint 'none'"
    assert lab("machine", "srv1", "remove", "baseline").code == 0 and machine.kept == []


def test_a_screenshot_is_a_png_file(lab: Lab, machine: Everything, tmp_path: Path) -> None:
    done = lab("machine", "srv1", "screenshot")
    assert (tmp_path / done.lines[0]).read_bytes() == PNG and done.lines[0].startswith("srv1-2")
    assert lab("machine", "srv1", "screenshot", "-o", "blue.png").lines == ["blue.png"]
    machine.picture = b"<html>"
    done = lab("machine", "srv1", "screenshot")
    assert done.code == 4 and "is no PNG" in done.sentence


def test_media_and_boot(lab: Lab, machine: Everything) -> None:
    assert lab("machine", "srv1", "media", "https://x/y.iso").code == 0
    assert lab("machine", "srv1", "boot", "cd").lines == ["srv1 boots from cd next time"]
    assert lab("machine", "srv1", "media", "eject").code == 0
    assert machine.asked == [("insert", "https://x/y.iso"), ("boot", BootDevice.CD), "eject"]
    done = lab("machine", "srv1", "boot", "floppy")
    assert done.code == 3 and done.sentence == "'floppy' cannot be booted from"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["checkpoint"], "'checkpoint' needs a name"),
        (["media"], "'media' needs a URL or path of an ISO image, or 'eject'"),
        (["on", "now"], "'on' takes nothing more, not 'now'"),
        (["console", "--json"], "a console is no JSON"),
        ([], "what to do with 'srv1' was not said"),
    ],
)
def test_a_line_that_is_not_whole(lab: Lab, machine: Everything, arguments: list[str], says: str) -> None:
    done = lab("machine", "srv1", *arguments)
    assert (done.code, done.sentence, machine.asked) == (3, says, [])


@pytest.mark.parametrize(
    "arguments", [["checkpoints"], ["screenshot"], ["console"], ["media", "x"], ["boot", "cd"]]
)
def test_what_a_back_end_cannot_is_told_with_what_it_can(lab: Lab, arguments: list[str]) -> None:
    done = lab("machine", "srv1", *arguments)  # a real 'fixed' machine
    assert done.code == 3
    assert done.sentence == (
        f"the machine of host 'srv1' (fixed) cannot do '{arguments[0]}'; it can: on, off, reset, state"
    )


@pytest.mark.parametrize(
    ("action", "key"), [("on", "on"), ("off", "off"), ("reset", "reset"), ("nmi", "interrupt")]
)
def test_a_command_that_was_not_given_is_what_the_machine_cannot(lab: Lab, action: str, key: str) -> None:
    done = lab("machine", "desk", action)
    assert (done.code, done.sentence) == (
        3,
        f"the machine of host 'desk' (fixed) cannot do '{action}'; it can: state",
    )
    assert f"hosts.desk.machine.{key}" in done.err


def test_the_console_streams_until_the_seconds_are_over(lab: Lab, machine: Everything) -> None:
    done = lab("machine", "srv1", "console", "--seconds", "0.3")
    assert done.code == 0 and done.out == "SAC>" and "4 bytes" in done.err


@pytest.mark.parametrize("end", [b"\x1d", b"\x03"])
def test_what_is_typed_goes_to_the_console_until_the_end_key(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], end: bytes
) -> None:
    ours, theirs = pty.openpty()
    wire = Wire(b"SAC>")
    with os.fdopen(theirs, "rb", buffering=0) as keyboard:
        monkeypatch.setattr(sys, "stdin", keyboard)
        typing = threading.Timer(0.3, lambda: os.write(ours, b"cmd\r" + end + b"not sent"))
        typing.start()
        assert terminal.stream(wire, 60) == 4
        typing.join()
    os.close(ours)
    assert wire.got == b"cmd\r"  # as typed: a carriage return stays one


def test_a_console_that_breaks_off_is_an_error(
    lab: Lab, machine: Everything, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Wire, seconds: float) -> bytes:
        raise InfrastructureError("the console of srv1 was lost")

    monkeypatch.setattr(Wire, "read", broken)
    done = lab("machine", "srv1", "console")
    assert (done.code, done.sentence) == (4, "the console of srv1 was lost")


def test_nothing_to_reap(lab: Lab) -> None:
    assert lab("machine", "reap").lines == ["nothing is half-made"]


def test_what_would_be_reaped_is_only_said(lab: Lab) -> None:
    data = Path("lab-data")
    data.mkdir()
    with open_journal(data / "journal.db") as journal:
        journal.provision_begin("pool-1", "pool", "a clone", "me@here")
        key = journal.provision_begin("pool-2", "pool", "a clone", "me@here")
        journal.provision_ready(key)
        journal.provision_begin("pool-3", "pool", "a clone", "me@here")
        journal.acquire("pool-3", "elsewhere:1", 60)  # it is being made
    (line,) = lab("machine", "reap", "--dry-run").lines
    assert line.startswith("pool-1 would be taken back: it is half-made since 2")
    assert line.endswith(", by me@here")
    with open_journal(data / "journal.db") as journal:
        assert len(journal.provisions()) == 3


def test_only_reaping_can_be_tried_dry(lab: Lab, machine: Everything) -> None:
    done = lab("machine", "srv1", "off", "--dry-run")
    assert (done.code, done.sentence) == (3, "'off' cannot be tried dry") and machine.asked == []


def test_the_table_of_what_each_kind_can_is_true() -> None:
    pytest.importorskip("pyVmomi", reason="no pyvmomi: install the extra 'vsphere'")
    pytest.importorskip("pyghmi", reason="no pyghmi: install the extra 'ipmi'")
    from lab.machines import fixed, ipmi, redfish
    from lab.machines.vsphere import machine as vsphere

    page = (Path(__file__).parents[2] / "docs/explanation/machines.md").read_text("utf-8")
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("|")
    ]
    kinds = [cell.strip("`") for cell in rows[0][1:]]
    said = {row[0]: dict(zip(kinds, row[1:], strict=True)) for row in rows[2:11]}
    classes: dict[str, type] = {
        "fixed": fixed.FixedMachine,
        "redfish": redfish.RedfishMachine,
        "ipmi": ipmi.IpmiMachine,
        "vsphere": vsphere.VsphereMachine,
    }
    capabilities = {
        "checkpoint, restore": machines.Restorable,
        "screenshot": machines.Screen,
        "console": machines.SerialConsole,
        "boot from CD, PXE or disk once": machines.BootOverride,
        "media": machines.BootsFromMedia,
        "sees bugchecks from outside": machines.Witness,
        "says who else would reset it": machines.Interference,
    }
    assert set(kinds) == set(classes) == set(BACK_ENDS)
    for row, capability in capabilities.items():
        for kind, each in classes.items():
            assert bool(said[row][kind]) == issubclass(each, capability), (row, kind)
