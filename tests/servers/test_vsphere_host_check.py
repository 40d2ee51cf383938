"""`lab host check` says of a machine whether its vCenter would reset it while it writes its dump."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("pyVmomi", reason="no pyvmomi: install the extra 'vsphere'")

from vcsim import PASSWORD, USER, Vcsim
from vsphere_lab import PATH, running

from lab.cli import main
from lab.inventory import Host, load
from lab.machines.vsphere import close_all
from lab.model import InfrastructureError, PowerState
from lab.windows.check import Check, Meddlers, check_host

NAME = "left alone when it crashes"
Checked = Callable[[Vcsim], dict[str, str] | None]


class On:
    def power_state(self) -> PowerState:
        return PowerState.ON


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port where nobody listens, and nobody else can."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], closed_port: int
) -> Iterator[Checked]:
    """That check of a machine of a vCenter, as the command line's JSON has it."""

    def check(vcenter: Vcsim) -> dict[str, str] | None:
        path = tmp_path / "lab.yaml"
        path.write_text(
            f"""
controllers:
  vc: {{kind: vcenter, url: "{vcenter.url}", user: {USER}, password: {{env: VC}}, ca_file: {vcenter.ca_file}}}
hosts:
  srv1:
    address: 127.0.0.1
    expendable: true
    machine: {{kind: vsphere, controller: vc, vm: {PATH}}}
    guest: {{shell: {{kind: psrp, user: u, password: {{env: VC}}, tls: false, port: {closed_port}}}}}
    smb: {{port: {closed_port}}}
"""
        )
        monkeypatch.setenv("VC", PASSWORD)
        arguments = ["lab", "host", "check", "srv1", "-i", str(path), "--data", str(tmp_path), "--json"]
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit):
            main()
        rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
        assert rows["machine (vsphere)"]["ok"]
        return rows.get(NAME)

    yield check
    close_all()


def test_monitoring_that_would_reset_a_crashed_guest(tmp_path: Path, checked: Checked) -> None:
    with running(tmp_path, monitoring="vmMonitoringOnly") as vcenter:
        found = checked(vcenter)
    assert found is not None and not found["ok"]
    assert "HA VM monitoring (vmMonitoringOnly) of cluster DC0_C0 resets" in found["detail"]
    assert "dump" in found["help"]


def test_a_machine_that_is_left_alone(tmp_path: Path, checked: Checked) -> None:
    with running(tmp_path) as vcenter:
        found = checked(vcenter)
    assert found is not None and found["ok"] and not found["help"]


def checks(folder: Path, port: int, machine: Callable[[Host], On], meddlers: Meddlers) -> list[Check]:
    path = folder / "lab.yaml"
    path.write_text(
        f"""
hosts:
  srv1:
    address: 127.0.0.1
    machine: {{kind: fixed}}
    guest: {{shell: {{kind: psrp, user: u, password: {{env: P}}, tls: false, port: {port}}}}}
    smb: {{port: {port}}}
"""
    )
    return check_host(load([path]).host("srv1"), machine, meddlers=meddlers)


def test_a_machine_that_cannot_tell_is_not_judged(tmp_path: Path, closed_port: int) -> None:
    assert NAME not in {
        each.name for each in checks(tmp_path, closed_port, lambda host: On(), lambda h: None)
    }


def test_what_could_not_be_asked_is_not_well(tmp_path: Path, closed_port: int) -> None:
    def refused(host: Host) -> tuple[str, ...]:
        raise InfrastructureError("the privilege System.Read is missing", help="Grant it.")

    (found,) = [c for c in checks(tmp_path, closed_port, lambda host: On(), refused) if c.name == NAME]
    assert found == Check(NAME, False, "the privilege System.Read is missing", "Grant it.")


def test_a_power_control_that_fails_is_told_once(tmp_path: Path, closed_port: int) -> None:
    def away(host: Host) -> On:
        raise InfrastructureError("the controller is away")

    def asked(host: Host) -> tuple[str, ...]:
        raise AssertionError("it was asked although nothing answers there")

    found = [c for c in checks(tmp_path, closed_port, away, asked) if "away" in c.detail]
    assert [each.name for each in found] == ["machine (fixed)"]
