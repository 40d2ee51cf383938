"""A pool whose members Windows is installed on, as far as a twin goes: its disk stays as it is.

The twin's WinRM has another certificate than the one that the medium brings, so it never answers for the new
Windows: the installation runs into its limit, and all is taken back.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from twin_client import PASSWORD, Start

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from install_samples import DATACENTER, missing, sample

from lab.cli import main
from lab.journal import open_journal

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")

ENV = "BUGCHECK_LAB_TWIN_PASSWORD"


def lab(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> Any:
    monkeypatch.setattr(sys, "argv", ["lab", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert PASSWORD not in out + err and "Traceback" not in out + err
    return ended.value.code or 0, out, err


@pytest.fixture
def places(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Options of `lab`; inventory.yaml has one twin in the pool `metal`."""
    monkeypatch.setenv(ENV, PASSWORD)
    twin = start(host="127.0.0.2")
    ends, password = twin.ends, {"env": ENV}
    controller = {"url": ends.redfish_url, "ca_file": ends.ca_file, "system": ends.system_id}
    host = {
        "address": ends.host,
        "expendable": True,
        "machine": {"kind": "redfish", "user": ends.user, "password": password, **controller},
        "guest": {
            "shell": {"kind": "psrp", "port": ends.winrm_tls_port, "user": ends.user, "password": password}
        },
        "smb": {"port": ends.smb_port},
    }
    sample(tmp_path)
    monkeypatch.setenv("OTHER", "another one")
    listen, folder = {"listen": "127.0.0.1"}, {"image_folder": "nowhere", "url": "nfs://lab.example/images"}
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    install = {
        "iso": "windows.iso",
        "edition": DATACENTER,
        "accept_license_terms": True,
        "administrator_password": password,
        "media": listen,
        "winrm_port": ends.winrm_tls_port,
        "timeouts": {"install": 3, "poll": 0.1},
    }
    pools = {
        "metal": {"members": ["bare"], "install": install},
        "nothing": {"members": ["other"], "install": {**install, "edition": "Windows 3.11"}},
        "shell": {"members": ["plain"], "install": install},
        "folder": {"members": ["a"], "install": {**install, "media": folder}},
        "listen": {"members": ["b"], "install": {**install, "media": {"listen": "192.0.2.1"}}},
        "name": {"members": ["a-name-that-is-too-long"], "install": install},
        "password": {
            "members": ["known"],
            "install": {**install, "administrator_password": {"env": "OTHER"}},
        },
        "queue": {"members": ["c", "d"], "install": {**install, "media": {**listen, "port": port}}},
    }
    members = [name for each in pools.values() for name in each["members"]]
    plain = {**host, "guest": {"shell": {**host["guest"]["shell"], "tls": False}}}  # type: ignore[index]
    content = {"hosts": {**dict.fromkeys(members, host), "plain": plain}, "pools": pools}
    (tmp_path / "inventory.yaml").write_text(yaml.safe_dump(content))
    return ["-i", tmp_path / "inventory.yaml", "--data", tmp_path / "data"]


def test_an_installation_that_never_answers_is_taken_back(
    places: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = lab(capsys, monkeypatch, "provision", "metal", "--dry-run", "--json", *places)
    (planned,) = json.loads(out)["plan"]["hosts"]
    assert code == 0 and planned["how"] == f"install {DATACENTER} from windows.iso; its disk is wiped"

    code, out, err = lab(capsys, monkeypatch, "provision", "metal", *places)
    assert code == 6 and "WinRM of the new Windows of host 'bare' (install)" in err
    assert "bare: taking it back" in err and "left:" not in err
    with open_journal(tmp_path / "data" / "journal.db") as journal:
        assert journal.provisions() == []
    assert list((tmp_path / "data" / "hosts").iterdir()) == []  # nor the certificate


@pytest.mark.parametrize(
    ("pool", "code", "says"),
    [
        ("nothing", 3, "'Windows 3.11'\nhelp:  Its editions are: 1:"),
        ("folder", 3, "nowhere of install.media does not exist"),
        ("listen", 3, "install.media cannot listen on 192.0.2.1 port 0"),
        ("name", 3, "'a-name-that-is-too-long' is no name for a Windows computer\nhelp:  Rename a-name"),
        (
            "password",
            3,
            "set\nhelp:  Give hosts.known.guest.shell and install of the pool the same password.",
        ),
        ("shell", 3, "Give hosts.plain.guest.shell 'kind: psrp' and 'tls: true'."),
    ],
)
def test_what_cannot_be_installed_is_told_beforehand(
    places: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    pool: str,
    code: int,
    says: str,
) -> None:
    ended, _, err = lab(capsys, monkeypatch, "provision", pool, *places)
    assert ended == code and says in err and "taking it back" not in err


def test_behind_one_fixed_port_hosts_are_installed_one_after_the_other(
    places: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = lab(capsys, monkeypatch, "provision", "queue", "-n", "2", *places)
    assert code == 6 and "cannot listen" not in err
    assert "so one host is installed after the other" in err and "about 90 min" in err
    told = [line.split(":")[0] for line in err.splitlines() if line.startswith(("c: ", "d: "))]
    assert told == sorted(told) and set(told) == {"c", "d"}
