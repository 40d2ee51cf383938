"""`lab twin serve --host`: several twins side by side on one computer, and on no other address of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.cli.twin import PASSWORD, checked_host
from lab.model import ConfigurationError

SECRET = "Several-twins-1"
SERVICES = ("winrm", "winrm-tls", "smb", "redfish", "symbols")


def lab(*arguments: str, **more: Any) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stdin": subprocess.DEVNULL, "text": True}
    return subprocess.Popen([sys.executable, "-m", "lab", *arguments], **pipes | more)


def entry(told: dict[str, Any]) -> dict[str, Any]:
    password = {"env": PASSWORD}
    user = told["user"]
    return {
        "address": told["host"],
        "machine": {
            "kind": "redfish",
            "url": told["redfish_url"],
            "user": user,
            "password": password,
            "ca_file": told["ca_file"],
        },
        "guest": {"shell": {"kind": "psrp", "user": user, "password": password}},
    }


def test_two_twins_with_the_same_ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD, SECRET)
    ports, twins, hosts = dict.fromkeys(SERVICES, "0"), [], {}
    try:
        for number in (2, 3):
            options = [word for name, port in ports.items() for word in (f"--{name}-port", port)]
            place = ["--state", str(tmp_path / f"twin{number}"), "--host", f"127.0.0.{number}"]
            twins.append(lab("twin", "serve", *place, *options))
            assert twins[-1].stdout is not None
            told = json.loads(twins[-1].stdout.readline())
            assert told["host"] == f"127.0.0.{number}"
            hosts[f"srv{number}"] = entry(told)
            ports = {
                "winrm": str(told["winrm_port"]),
                "winrm-tls": str(told["winrm_tls_port"]),
                "smb": str(told["smb_port"]),
                "redfish": told["redfish_url"].rpartition(":")[2],
                "symbols": told["symbols_url"].split(":")[2].partition("/")[0],
            }
        assert hosts["srv2"]["machine"]["url"].split(":")[2] == hosts["srv3"]["machine"]["url"].split(":")[2]
        (tmp_path / "inventory.yaml").write_text(yaml.safe_dump({"hosts": hosts}))
        for name in hosts:  # each by the certificate of its own address
            asked = lab("machine", name, "state", "-i", str(tmp_path / "inventory.yaml"))
            assert asked.communicate(timeout=100)[0] == "on\n"
    finally:
        for twin in twins:
            twin.terminate()
            twin.communicate(timeout=60)


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "192.0.2.1", "10.0.0.1", "localhost", "::1", "", "127.1", "127.0.0.1/8", "lab.example"],
)
def test_other_addresses_are_refused(host: str) -> None:
    with pytest.raises(ConfigurationError, match="addresses of this computer alone"):
        checked_host(host)


def test_it_is_refused_before_anything_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD, SECRET)
    state = tmp_path / "twin"
    asked = lab("twin", "serve", "--host", "0.0.0.0", "--state", str(state), stderr=subprocess.PIPE)
    out, err = asked.communicate(timeout=100)
    assert asked.returncode == 3 and not out and not state.exists()
    assert "'0.0.0.0' is none" in err and "127.0.0.2" in err and "Traceback" not in err
