"""`lab host check` against a running twin: all green, and red where something is wrong."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest
from twin_client import PASSWORD, SPEED, Running

from lab.cli import main
from lab.inventory import load
from lab.model import CredentialsRefused
from lab.windows import open_guest


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> object:
    from lab.twin.server import Twin, TwinSettings

    state = tmp_path_factory.mktemp("twin")
    served = Twin(TwinSettings(state=state, password=PASSWORD, speed=SPEED))
    running = Running(served, served.start(), state)
    running.wait_boot()
    yield running
    served.stop()


def inventory(
    twin: Running, folder: Path, *, shell: str = "GOOD", smb: str = "password: {env: GOOD}"
) -> Path:
    path = folder / "lab.yaml"
    path.write_text(
        f"""
hosts:
  twin:
    address: {twin.ends.host}
    expendable: true
    machine: {{kind: redfish, url: "{twin.ends.redfish_url}", user: {twin.ends.user},
              password: {{env: GOOD}}, ca_file: {twin.ends.ca_file}}}
    guest:
      shell: {{kind: psrp, port: {twin.ends.winrm_port}, user: {twin.ends.user}, tls: false,
              password: {{env: {shell}}}}}
    smb: {{port: {twin.ends.smb_port}, {smb}}}
""",
        "utf-8",
    )
    return path


def check(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, dict[str, dict[str, str]]]:
    """Exit code, and the checks by name."""
    monkeypatch.setattr(sys, "argv", ["lab", "host", "check", "twin", "-i", str(path), "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert PASSWORD not in out + err and "not-the-one" not in out + err
    return int(ended.value.code or 0), {row["name"]: row for row in json.loads(out)}


@pytest.fixture(autouse=True)
def passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOD", PASSWORD)
    monkeypatch.setenv("BAD", "not-the-one")


def test_a_fit_host_is_green(
    twin: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, checks = check(inventory(twin, tmp_path), monkeypatch, capsys)
    assert {name for name, row in checks.items() if not row["ok"]} == set() and code == 0
    assert {"smb data share", "smb admin share", "shell", "machine (redfish)"} <= set(checks)


@pytest.mark.parametrize(
    ("smb", "red", "says"),
    [
        ("password: {env: BAD}", {"smb data share", "smb admin share"}, "credentials refused for user"),
        ("data_share: Elsewhere", {"smb data share"}, "share 'Elsewhere' does not exist"),
        ("admin_share: NoAdmin", {"smb admin share"}, "share 'NoAdmin' does not exist"),
    ],
)
def test_smb_that_does_not_fit_is_red(
    twin: Running,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    smb: str,
    red: set[str],
    says: str,
) -> None:
    code, checks = check(inventory(twin, tmp_path, smb=smb), monkeypatch, capsys)
    assert {name for name, row in checks.items() if not row["ok"]} == red and code == 4
    assert all(says in checks[name]["detail"] and checks[name]["help"] for name in red)


def test_a_wrong_guest_password_is_told_within_seconds(twin: Running, tmp_path: Path) -> None:
    host = load([inventory(twin, tmp_path, shell="BAD")]).host("twin")
    began = time.monotonic()
    with open_guest(host) as guest, pytest.raises(CredentialsRefused, match="refused the credentials of"):
        guest.wait_until_reachable()
    assert time.monotonic() - began < 10
