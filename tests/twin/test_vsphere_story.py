"""A vCenter from clone to verdict: hosts that are made, used and deleted again, as a user does it.

Behind each clone of the simulated vCenter stands a twin: power and NMI reach it, and its address is the one
that VMware Tools tell. Nobody simulates Sysprep: the test says how it ended, and which certificate the guest
got. A restore brings back power only: there are no disks.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import ssl
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sushy
import yaml
from twin_client import PASSWORD, Running, Start

pytest.importorskip("pyVmomi", reason="no pyvmomi: install the extra 'vsphere'")

sys.path.insert(0, str(Path(__file__).parents[1] / "servers"))

from pyVmomi import vim
from vcsim import PASSWORD as VCENTER_PASSWORD
from vcsim import USER, Vcsim, redfish
from vsphere_clones import POOL, guest, machines
from vsphere_lab import running, session_of

from lab.inventory import Host, load
from lab.journal import open_journal
from lab.machines.vsphere import Session, find, marks
from lab.windows import open_guest

ENV, VCENTER_ENV = "BUGCHECK_LAB_TWIN_PASSWORD", "BUGCHECK_LAB_VCENTER_PASSWORD"
PATIENCE = 240.0  # a fifth of that is usual; the computer may be busy with something else
YEARS = 1e9
"""Seconds. A twin's clock runs faster than ours."""


@dataclass
class Site:
    """A vCenter with a template, twins for the clones to come, and `lab` with an inventory of one pool."""

    folder: Path
    vcenter: Vcsim
    session: Session
    twins: dict[str, Running] = field(default_factory=dict)
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def inventory(self) -> Path:
        return self.folder / "inventory.yaml"

    def put_behind(self, name: str, twin: Running) -> None:
        """A twin that is off until the vCenter powers its machine on."""
        twin.system().reset_system(sushy.ResetType.FORCE_OFF)
        self.twins[name] = twin
        self.vcenter.control(behind={name: _behind(each) for name, each in self.twins.items()})

    def write(self, symbols: str) -> None:
        ends = next(iter(self.twins.values())).ends
        vcenter = {"kind": "vcenter", "url": self.vcenter.url, "ca_file": str(self.vcenter.ca_file)}
        machine = {
            "kind": "vsphere",
            "controller": "vc",
            "clone_of": "/DC0/vm/templates/ws2019",
            "snapshot": "base",
            "folder": "/DC0/vm",
            "resource_pool": POOL,
            "customization": {"administrator_password": {"env": ENV}},
        }
        shell = {"kind": "psrp", "port": ends.winrm_tls_port, "user": ends.user, "password": {"env": ENV}}
        pool = {
            "expendable": True,
            "build": 17763,
            "machine": machine,
            "guest": {"shell": shell},  # over TLS, with the certificate that each guest tells
            "smb": {"port": ends.smb_port},
            "symbols": [f"srv*{self.folder / 'symbols'}*{symbols}"],
            "accept": {"clock_offset": YEARS},
            "timeouts": {"boot": 60, "dump": 30, "reachable": PATIENCE, "poll": 0.1},
        }
        content = {
            "controllers": {"vc": {**vcenter, "user": USER, "password": {"env": VCENTER_ENV}}},
            "pools": {"ws2019": pool},
        }
        self.inventory.write_text(yaml.safe_dump(content))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin a command; what it tells goes to a file that `told` reads."""
        places = ["-i", str(self.inventory), "--data", str(self.data)]
        with self.story.open("a") as story:
            process = subprocess.Popen(
                [sys.executable, "-m", "lab", *arguments, *places],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=story,
                text=True,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def end(self, process: subprocess.Popen[str]) -> str:
        """What it printed; it must end well."""
        out, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, f"{out}\n{self.story.read_text()}"
        assert PASSWORD not in out and VCENTER_PASSWORD not in out
        return out

    def lab(self, *arguments: str) -> str:
        return self.end(self.start(*arguments))

    @property
    def story(self) -> Path:
        return self.folder / "story.txt"

    def host(self, name: str) -> Host:
        return load([self.inventory], self.data / "hosts").host(name)

    def powered(self, name: str) -> tuple[str, str]:
        """As the vCenter says it, and as the twin's own controller does."""
        vm = find.machine(self.session, name)
        said = self.session.read(lambda: str(vm.runtime.powerState))
        return said, str(self.twins[name].system().power_state)

    def stop(self) -> None:
        """End what a test that failed has left, with all that it started."""
        for process in self.started:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _behind(twin: Running) -> Any:
    ends = twin.ends
    return redfish(ends.redfish_url, ends.system_id, ends.user, PASSWORD, ends.ca_file, ends.host)


@pytest.fixture
def site(tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv(ENV, PASSWORD)
    monkeypatch.setenv(VCENTER_ENV, VCENTER_PASSWORD)
    (tmp_path / "vcenter").mkdir()
    with running(tmp_path / "vcenter", templates=["ws2019"]) as vcenter:
        session = session_of(vcenter)
        site = Site(tmp_path, vcenter, session)
        try:
            yield site
        finally:
            site.stop()
            session.close()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_from_clone_to_verdict_and_nothing_left(site: Site, start: Start) -> None:
    before = machines(site.session)
    customer = site.folder / "customer.dmp"
    settings: dict[str, Any] = {"password": PASSWORD, "speed": 60, "wait": False}
    first = start(host="127.0.0.2", seed=5, customer_dump=customer, **settings)
    ports = {"winrm_tls_port": first.ends.winrm_tls_port, "smb_port": first.ends.smb_port}
    site.put_behind("ws2019-1", first)
    site.put_behind("ws2019-2", start(host="127.0.0.3", seed=6, **ports, **settings))
    site.write(first.ends.symbols_url)

    provision(site)
    lab = marked(site)
    case = site.start("reproduce", "ws2019-1", "--dump", str(customer), "--load-seconds", "6", "--json")
    works_through_the_vcenter(site)  # with the other host meanwhile
    (culprit,) = json.loads(site.end(case))["verdict"]["culprits"]
    revealed = first.twin.reveal()
    sealed = hashlib.sha256((revealed["culprit"] + revealed["salt"]).encode()).hexdigest()
    assert culprit == revealed["culprit"] and sealed == first.ends.commitment

    site.lab("provision", "return", "ws2019-1", "ws2019-2")
    assert machines(site.session) == before
    assert marks.marked(site.session, lab) == ()
    assert list((site.data / "hosts").iterdir()) == []
    assert {str(each.system().power_state) for each in site.twins.values()} == {"PowerState.OFF"}
    with open_journal(site.data / "journal.db") as journal:
        assert journal.provisions() == [] and journal.undo_pending() == [] and journal.leases() == []
    told = site.story.read_text()
    assert PASSWORD not in told and VCENTER_PASSWORD not in told and "Traceback" not in told


def provision(site: Site) -> None:
    """Two hosts of the pool; each guest tells another certificate."""
    with ExitStack() as guests:
        for name, twin in site.twins.items():
            der = ssl.PEM_cert_to_DER_cert(Path(twin.ends.winrm_ca_file).read_text())
            done = vim.event.CustomizationSucceeded(fullFormattedMessage="")
            guests.enter_context(guest(site.session, name, done, certificate=b64encode(der).decode()))
        answer = json.loads(site.lab("provision", "ws2019", "--count", "2", "--json"))
    assert [each["name"] for each in answer["hosts"]] == list(site.twins)
    assert [each["address"] for each in answer["hosts"]] == ["127.0.0.2", "127.0.0.3"]
    assert all(each["ready"] and all(check["ok"] for check in each["checks"]) for each in answer["hosts"])
    for name in site.twins:
        text = (site.data / "hosts" / f"{name}.yaml").read_text()
        assert f"env: {ENV}" in text and PASSWORD not in text
        assert site.powered(name) == ("poweredOn", "PowerState.ON")
    checks = {each["name"] for each in json.loads(site.lab("host", "check", "ws2019-1", "--json"))}
    assert {"machine (vsphere)", "left alone when it crashes", "crash dump"} <= checks


def marked(site: Site) -> str:
    """The id of the lab, which the clones are marked with."""
    with open_journal(site.data / "journal.db") as journal:
        lab = journal.lab_id()
    assert {each.host for each in marks.marked(site.session, lab)} == set(site.twins)
    return lab


def works_through_the_vcenter(site: Site) -> None:
    """NMI: the guest stops with 0x80 and comes back. Restore: the machine is off, as its baseline says."""
    with open_guest(site.host("ws2019-2")) as shell:
        boot, position = shell.boot(), shell.log_position()
        site.lab("machine", "ws2019-2", "nmi")
        shell.wait_for_new_boot(boot)
        stops = [each.bugcheck.code for each in shell.bugchecks(position) if each.bugcheck is not None]
    assert stops and set(stops) == {0x80}
    site.lab("machine", "ws2019-2", "restore", "baseline")
    assert site.powered("ws2019-2") == ("poweredOff", "PowerState.OFF")
    site.lab("machine", "ws2019-2", "on")
    assert site.powered("ws2019-2") == ("poweredOn", "PowerState.ON")
