"""What the command tells a user of a vCenter on bad input, with which exit code; nothing is left behind."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("pyVmomi", reason="no pyvmomi: install the extra 'vsphere'")

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from cli_runs import Ended, lab_in
from vcsim import PASSWORD, USER, Vcsim, certificate
from vsphere_clones import POOL, machines
from vsphere_lab import PATH

from lab.journal import open_journal
from lab.machines.vsphere import Session, close_all

Run = Callable[..., Ended]
"""Writes the inventory with some of it changed, and runs `lab`."""


@pytest.fixture
def run(
    vcenter: Vcsim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    monkeypatch.setenv("VC", PASSWORD)
    (lab,) = lab_in(tmp_path, monkeypatch, capsys)
    guest = {"shell": {"kind": "psrp", "user": "u", "password": {"env": "VC"}}}
    times = {"tools": 0.3, "poll": 0.05, "connect": 5, "clone": 60}
    machine = {"kind": "vsphere", "controller": "vc", "vm": PATH}
    host = {"expendable": True, "address": "127.0.0.1", "machine": machine, "guest": guest}

    def written(*arguments: str, controller: dict[str, Any] | None = None, **clone: Any) -> Ended:
        vc = {"kind": "vcenter", "url": vcenter.url, "user": USER, "password": {"env": "VC"}}
        vc |= {"ca_file": str(vcenter.ca_file)} | (controller or {})
        made = {"kind": "vsphere", "controller": "vc", "resource_pool": POOL}
        made |= {"clone_of": "/DC0/vm/templates/ws2019", "snapshot": "base"} | clone
        pool = {"expendable": True, "machine": made, "guest": guest, "timeouts": times}
        content = {"controllers": {"vc": vc}, "hosts": {"srv": host}, "pools": {"ws2019": pool}}
        (tmp_path / "lab.yaml").write_text(yaml.safe_dump(content))
        return lab(*arguments, "-i", tmp_path / "lab.yaml", "--data", tmp_path / "data")

    yield written
    close_all()


WRONG: dict[str, tuple[dict[str, Any], int, str]] = {
    "source": ({"clone_of": "ws2091"}, 3, "has no virtual machine 'ws2091'; known: ws2019, ws2022"),
    "snapshot": ({"snapshot": "bsae"}, 3, "ws2019 has no snapshot 'bsae'; its snapshots: base"),
    "network": ({"network": "VM Netwrok"}, 3, "has no network 'VM Netwrok'; known: VM Network"),
    "datastore": ({"datastore": "x"}, 3, "no datastore or datastore cluster 'x'; known: LocalDS_0"),
    "folder": ({"folder": "/DC0/vm/lap"}, 3, "there is no 'lap' in /DC0/vm; in /DC0/vm are: "),
    "password": ({"controller": {"password": {"env": "NOT_SET"}}}, 3, "variable NOT_SET is not set"),
    "user": ({"controller": {"user": "nobody"}}, 4, "refused the user 'nobody' or the password"),
    "nobody": (
        {"controller": {"url": "https://127.0.0.1:1"}},
        4,
        "127.0.0.1:1 could not be reached: nothing",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_in_the_inventory(
    run: Run, vcenter: Vcsim, session: Session, tmp_path: Path, what: str
) -> None:
    change, code, says = WRONG[what]
    before = machines(session)
    refused(run("provision", "ws2019", **change), code, says)
    assert not vcenter.calls("CloneVM_Task")
    nothing_left(session, before, tmp_path)


@pytest.mark.parametrize(
    ("server", "code", "says"),
    [
        ({"free": {"LocalDS_0": 1.5}}, 4, "LocalDS_0 has 1.5 GiB free, and ws2019-N would need 2.0 GiB"),
        ({"behind": {"ws2019-1": {"noTools": True}}}, 6, "ws2019-1: VMware Tools are guestToolsNotRunning"),
        ({"behind": {"ws2019-1": {"address": "169.254.7.7"}}}, 6, "Running, addresses: 169.254.7.7"),
        (
            {"faults": [{"method": "CloneVM_Task", "fault": "NoDiskSpace", "message": "It is full."}]},
            4,
            "refused clone /DC0/vm/templates/ws2019-1 of /DC0/vm/templates/ws2019: It is full. (NoDiskSpace)",
        ),
    ],
    ids=["space", "no address", "link-local", "full in mid-clone"],
)
def test_what_a_vcenter_does_not_have(
    run: Run, vcenter: Vcsim, session: Session, tmp_path: Path, server: Any, code: int, says: str
) -> None:
    before = machines(session)
    vcenter.control(**server)
    refused(run("provision", "ws2019"), code, says)
    nothing_left(session, before, tmp_path)


def test_a_certificate_of_another(run: Run, session: Session, tmp_path: Path) -> None:
    other, _ = certificate(tmp_path, "other")
    done = run("provision", "ws2019", controller={"ca_file": str(other)})
    refused(done, 4, "is not to be trusted: self-signed certificate")


@pytest.mark.parametrize("action", ["screenshot", "nmi", "reset"])
def test_a_machine_that_is_off(run: Run, action: str) -> None:
    assert run("machine", "srv", "off").code == 0
    done = run("machine", "srv", action)
    refused(done, 4, "(InvalidPowerState)")
    assert "It is off: turn it on first, by 'lab machine srv on'." in done.err


def refused(done: Ended, code: int, says: str) -> None:
    """One error, in one line."""
    assert done.code == code and says in done.sentence and PASSWORD not in done.err


def nothing_left(session: Session, before: set[str], folder: Path) -> None:
    assert machines(session) == before
    with open_journal(folder / "data" / "journal.db") as journal:
        assert journal.provisions() == [] and journal.leases() == []
