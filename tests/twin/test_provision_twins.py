"""A rack of twins: planned, made side by side, accepted, handed back, and cleaned up after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from provision_hosts import ENV, LONG, YEARS, entry
from twin_client import PASSWORD, Running, Start

from lab.cli import main
from lab.inventory import load
from lab.journal import open_journal


class Rack:
    """Twins of one pool on 127.0.0.2 and on, with the same ports; and `lab` on them."""

    def __init__(self, start: Start, folder: Path) -> None:
        self._start = start
        self.folder = folder
        self.data = folder / "data"
        self.inventory = folder / "inventory.yaml"
        self.twins: dict[str, Running] = {}

    def fill(self, *misbehave: str, **pool: Any) -> None:
        """One twin for each; "" behaves."""
        ports: dict[str, int] = {}
        for number, how in enumerate(misbehave, 1):
            wrong = frozenset({how} if how else ())
            twin = self._start(
                wait=False, host=f"127.0.0.{number + 1}", seed=number, misbehave=wrong, **ports
            )
            ends = twin.ends
            ports = {"winrm_port": ends.winrm_port, "smb_port": ends.smb_port}
            self.twins[f"srv{number}"] = twin
        for twin in self.twins.values():
            twin.wait_boot()
        self.write(**pool)

    def write(self, **pool: Any) -> None:
        hosts = {name: entry(twin) for name, twin in self.twins.items()}
        settings = {"members": list(hosts), "accept": {"clock_offset": YEARS}, **pool}
        self.inventory.write_text(yaml.safe_dump({"hosts": hosts, "pools": {"rack": settings}}))

    def arguments(self, *arguments: str) -> list[str]:
        places = ["--data", str(self.data)]
        if arguments[:2] != ("provision", "list"):
            places += ["-i", str(self.inventory)]
        return [*arguments, *places]

    def process(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "lab", *self.arguments(*arguments)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def rack(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rack:
    monkeypatch.setenv(ENV, PASSWORD)
    monkeypatch.setenv("COLUMNS", "400")
    return Rack(start, tmp_path)


@pytest.fixture
def lab(rack: Rack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """Runs `lab` in this process: its exit code, what it printed, and its errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lab", *rack.arguments(*arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert PASSWORD not in out + err and "Traceback" not in out + err
        return int(ended.value.code or 0), out, err

    return run


def test_from_plan_to_hand_back(rack: Rack, lab: Any) -> None:
    rack.fill("", "", "")
    assert lab("machine", "srv1", "off")[1] == "srv1 is off\n"

    code, out, err = lab("provision", "rack", "--count", "2", "--dry-run", "--json")
    plan = json.loads(out)["plan"]
    assert code == 0 and [each["name"] for each in plan["hosts"]] == ["srv1", "srv2"]
    assert "a guess" in plan["seconds_from"] and "cannot be put back" in plan["warnings"][0]
    assert lab("machine", "srv1", "state")[1] == "off\n"  # nothing was touched

    code, out, err = lab("provision", "rack", "--count", "2", "--json")
    made = json.loads(out)
    assert code == 0, err
    assert [(host["name"], host["ready"]) for host in made["hosts"]] == [("srv1", True), ("srv2", True)]
    looked_at = {check["name"] for check in made["hosts"][0]["checks"]}
    assert {"crash dump", "disk space", "clock", "smb data share", "shell"} <= looked_at
    assert "srv1: powering on" in err

    # read beside the inventory by every command, and known to the journal
    known = load([rack.inventory], rack.data / "hosts")
    assert known.provisioned == {"srv1": "rack", "srv2": "rack"}
    text = (rack.data / "hosts" / "srv1.yaml").read_text()
    assert PASSWORD not in text and f"env: {ENV}" in text
    assert lab("host", "check", "srv1")[0] == 0
    rows = json.loads(lab("provision", "list", "--json")[1])
    assert sorted((row["host"], row["state"]) for row in rows) == [("srv1", "ready"), ("srv2", "ready")]

    code, _, err = lab("provision", "rack", "--count", "2")
    assert code == 4 and "1 free of the 2 hosts" in err and "srv1: handed out to" in err

    code, out, err = lab("provision", "return", "srv1", "nobody", "srv2")
    assert code == 3 and "host 'nobody' is not provisioned" in err  # which kept no other
    assert "srv1 is handed back" in out and "srv2 is handed back" in out
    assert json.loads(lab("provision", "list", "--json")[1]) == []
    assert list((rack.data / "hosts").iterdir()) == []

    plan = json.loads(lab("provision", "rack", "--count", "3", "--dry-run", "--json")[1])["plan"]
    assert plan["seconds_from"] == "the median of 2 hosts of this pool before"


def test_a_host_that_is_not_fit_is_refused_and_stops_no_other(rack: Rack, lab: Any) -> None:
    rack.fill("no-dump", "")
    code, out, err = lab("provision", "rack", "--count", "2", "--json")
    bad, good = json.loads(out)["hosts"]
    assert code == 5 and good["ready"] and not bad["ready"]
    assert "host srv1 is not fit: crash dump: " in bad["error"]["message"]
    assert "event 46" in bad["error"]["message"] and "page file" in bad["error"]["help"]
    assert "error: host srv1 is not fit" in err
    assert [path.name for path in (rack.data / "hosts").iterdir()] == ["srv2.yaml"]
    with open_journal(rack.data / "journal.db") as journal:
        assert [each.host for each in journal.provisions()] == ["srv2"] and journal.leases() == []


def test_what_a_pool_asks_of_its_hosts(rack: Rack, lab: Any) -> None:
    rack.fill("", build=20348, accept={"clock_offset": 1, "drivers": ["QmShield", "Nothing"]})
    code, _, err = lab("provision", "rack")
    assert code == 5
    assert "build: 17763, and the pool's is 20348" in err
    assert "drivers: Nothing not running; " in err and "running, and not of the pool's list" in err
    assert "ahead, and 1 s are allowed" in err
    services = sorted(each["service"] for each in _drivers(rack.twins["srv1"]))
    rack.write(build=17763, accept={"clock_offset": YEARS, "drivers": services})
    assert lab("provision", "rack")[0] == 0


def _drivers(twin: Running) -> list[dict[str, Any]]:
    from lab.windows import open_guest

    path = twin.state.parent / "one.yaml"
    path.write_text(yaml.safe_dump({"hosts": {"one": entry(twin)}}))
    with open_guest(load([path]).hosts["one"]) as guest:
        return [{"service": each.service} for each in guest.drivers() if each.in_question]


def until_it_waits(lab: subprocess.Popen[str]) -> None:
    """Until the process waits for a guest that is booting."""
    assert lab.stderr is not None
    for line in lab.stderr:
        if "waiting for its guest" in line:
            return
    raise AssertionError("it ended before it waited")


def test_members_that_cannot_be_had_are_left_alone(rack: Rack, lab: Any) -> None:
    rack.fill("", "", "")
    rack.twins["srv1"].twin.stop()
    rack.data.mkdir()
    with open_journal(rack.data / "journal.db") as journal:
        journal.undo_push("srv3", "verifier as found", "Set-LabVerifier", {"Flags": 0})
    code, _, err = lab("provision", "rack", "--count", "2")
    assert code == 4 and "1 free of the 2 hosts" in err and "srv1: Redfish at" in err
    assert "srv3: changed by an earlier run: 'lab host restore srv3' puts it back" in err
    assert not (rack.data / "hosts").exists()
    code, out, _ = lab("provision", "rack")
    assert code == 0 and "srv2 is ready" in out


@pytest.mark.parametrize("clean", ["reap", "again"])
def test_killed_while_it_waits(rack: Rack, lab: Any, clean: str) -> None:
    rack.fill("slow-boot")
    assert lab("machine", "srv1", "off")[1] == "srv1 is off\n"
    killed = rack.process("provision", "rack")
    try:
        until_it_waits(killed)
    finally:
        os.kill(killed.pid, signal.SIGKILL)
        killed.communicate(timeout=LONG)
    assert killed.returncode == -signal.SIGKILL
    with open_journal(rack.data / "journal.db") as journal:
        assert [(each.host, each.ready) for each in journal.provisions()] == [("srv1", None)]
    code, out, err = lab("provision", "rack", "--dry-run")
    assert code == 4 and "half-made by" in err  # a dry run cleans nothing
    if clean == "reap":
        code, out, err = lab("machine", "reap", "--json")
        row = {"host": "srv1", "pool": "rack", "why": "it is half-made", "kept": ""}
        assert code == 0 and json.loads(out) == [row]
        assert json.loads(lab("provision", "list", "--json")[1]) == []
        assert json.loads(lab("machine", "reap", "--json")[1]) == []
    code, out, err = lab("provision", "rack")
    assert code == 0, err
    assert ("srv1 was half-made: taken back" in err) == (clean == "again")
    assert "srv1 is ready" in out


def test_interrupted_while_it_waits_nothing_is_left(rack: Rack, lab: Any) -> None:
    rack.fill("slow-boot")
    assert lab("machine", "srv1", "off")[1] == "srv1 is off\n"
    interrupted = rack.process("provision", "rack")
    until_it_waits(interrupted)
    interrupted.send_signal(signal.SIGINT)
    _, err = interrupted.communicate(timeout=LONG)
    assert interrupted.returncode == 130 and "taking it back" in err and "Traceback" not in err
    assert json.loads(lab("provision", "list", "--json")[1]) == []


def test_a_host_that_somebody_uses_is_neither_made_nor_handed_back(rack: Rack, lab: Any) -> None:
    rack.fill("")
    assert lab("provision", "rack")[0] == 0
    with open_journal(rack.data / "journal.db") as journal:
        lease = journal.acquire("srv1", "elsewhere:1", 60)
        code, _, err = lab("provision", "return", "srv1")
        assert code == 4 and "host srv1 is leased by elsewhere:1" in err
        assert journal.release(lease)
    assert lab("provision", "return", "srv1")[0] == 0
