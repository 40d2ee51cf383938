"""A pool of clones: what its plan finds in the vCenter, and what is left of hosts that are not made.

How a whole one is made, used and handed back is in tests/twin/test_vsphere_story.py.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("pyVmomi", reason="no pyvmomi: install the extra 'vsphere'")

from vcsim import PASSWORD, USER, Vcsim
from vsphere_clones import POOL, TOMORROW, YESTERDAY, answering, clones_of, linked, machines, running
from vsphere_lab import LONG, until

from flows.shop import open_desk, open_shop, plan_for
from lab.inventory import Inventory, VsphereMachine, load
from lab.journal import Journal, open_journal
from lab.machines.vsphere import Session, begun, close_all, find, marks
from lab.model import ConfigurationError, InfrastructureError, LabError
from lab.provision import Plan, Shop, folder_in, make_one, reap

MIB = 1 << 20
SECOND = timedelta(seconds=1)
"""Marks have whole seconds."""


class Lab:
    """An inventory with the pool `ws2019` of a simulated vCenter, and a data folder."""

    def __init__(self, folder: Path, vcenter: Vcsim) -> None:
        self.data = folder / "data"
        self.inventory = folder / "lab.yaml"
        self._vcenter = vcenter
        self.write()

    def write(
        self,
        *,
        timeouts: dict[str, float] | None = None,
        most: int = 3,
        keep_for: str = "90d",
        **machine: Any,
    ) -> None:
        vc = {
            "kind": "vcenter",
            "url": self._vcenter.url,
            "ca_file": str(self._vcenter.ca_file),
            "user": USER,
        }
        source = {} if "template" in machine else {"clone_of": "/DC0/vm/templates/ws2019", "snapshot": "base"}
        settings = {"kind": "vsphere", "controller": "vc", "resource_pool": POOL, **source, **machine}
        pool = {
            "expendable": True,
            "most": most,
            "keep_for": keep_for,
            "machine": settings,
            "guest": {"shell": {"kind": "psrp", "user": "u", "password": {"env": "VC"}}},
            "timeouts": {"tools": LONG, "power": LONG, "poll": 0.05, **(timeouts or {})},
        }
        content = {
            "controllers": {"vc": {**vc, "user": USER, "password": {"env": "VC"}}},
            "pools": {"ws2019": pool},
        }
        self.inventory.write_text(yaml.safe_dump(content))

    @property
    def known(self) -> Inventory:
        return load([self.inventory], folder_in(self.data))

    def shop(self, journal: Journal) -> Shop:
        return open_shop(self.known.pool("ws2019"), self.known, self.data, journal)

    def plan(self, wanted: int = 1) -> Plan:
        with self.journal() as journal:
            return plan_for(self.shop(journal), self.known, wanted)

    def journal(self) -> Journal:
        self.data.mkdir(exist_ok=True)
        return open_journal(self.data / "journal.db")

    def make(self) -> LabError | None:
        """One host; how it failed."""
        with self.journal() as journal:
            shop = self.shop(journal)
            return make_one(shop, plan_for(shop, self.known, 1).hosts[0]).error

    def provisioning(self) -> AbstractContextManager[subprocess.Popen[str]]:
        """A process that provisions a host; killed at the end of the block."""
        return self.command("provision", "ws2019")

    @contextmanager
    def command(self, *arguments: str, errors: int = subprocess.DEVNULL) -> Iterator[subprocess.Popen[str]]:
        """A process that runs `lab`; killed at the end of the block."""
        with subprocess.Popen(
            [sys.executable, "-m", "lab", *arguments, "-i", str(self.inventory), "--data", str(self.data)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def reap(self, *options: str) -> tuple[int, str]:
        """Exit code of `lab machine reap`, and what it prints."""
        with self.command("machine", "reap", *options) as process:
            said, _ = process.communicate(timeout=LONG)
        return process.returncode, said

    def half_made(self) -> list[str]:
        with self.journal() as journal:
            return [each.host for each in journal.provisions()]


@pytest.fixture
def lab(tmp_path: Path, vcenter: Vcsim, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv("VC", PASSWORD)
    (tmp_path / "lab").mkdir()
    yield Lab(tmp_path / "lab", vcenter)
    close_all()


def test_a_plan_says_what_will_be_made(lab: Lab, session: Session) -> None:
    before = machines(session)
    plan = lab.plan(2)
    plan.check()
    assert [each.name for each in plan.hosts] == ["ws2019-1", "ws2019-2"]
    how = "a linked clone of /DC0/vm/templates/ws2019 at its snapshot 'base'"
    assert {each.how for each in plan.hosts} == {how}
    assert machines(session) == before


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"template": "ws2016"}, r"ws2016.*ws2019"),
        ({"snapshot": "bass"}, r"no snapshot 'bass'.*base"),
        ({"resource_pool": "lab"}, r"no resource pool 'lab'; known: Resources"),
        ({"datastore": "LocalDS_9"}, r"LocalDS_9.*LocalDS_0"),
        ({"network": "VLAN 9"}, r"VLAN 9.*VM Network"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_not_there_is_named_with_what_is(lab: Lab, change: dict[str, Any], says: str) -> None:
    lab.write(**change)
    with pytest.raises(ConfigurationError, match=says):
        lab.plan().check()


def test_too_little_room_is_known_before_anything_is_made(lab: Lab, session: Session) -> None:
    store = find.storage(session, "LocalDS_0")
    free = session.read(lambda: store.summary.freeSpace)
    lab.write(memory_mb=int(free * 0.4 / MIB))  # and its disk needs little
    assert lab.plan(2).problem is None
    with pytest.raises(InfrastructureError, match=r"room for 2 of the 3 hosts .*LocalDS_0 has .* GiB free"):
        lab.plan(3).check()


def test_names_that_are_taken_are_left_to_others(lab: Lab, vcenter: Vcsim, session: Session) -> None:
    answering(vcenter, "ws2019-1")
    clones_of(session, "another lab").make(linked("ws2019-1"), "run", TOMORROW)
    with lab.journal() as journal:
        shop = lab.shop(journal)
        assert [each.name for each in plan_for(shop, lab.known, 1).hosts] == ["ws2019-2"]
        shop.maker.unmake("ws2019-1", lambda text: None)
    assert "ws2019-1" in machines(session)


def test_a_guest_that_never_answers_leaves_nothing(lab: Lab, vcenter: Vcsim, session: Session) -> None:
    before = machines(session)
    vcenter.control(behind={"ws2019-1": {"address": "127.0.0.1"}})  # where nobody speaks WinRM
    lab.write(timeouts={"reachable": 0.5, "connect": 0.5})
    error = lab.make()
    assert error is not None and "reachable" in error.message
    assert machines(session) == before and lab.half_made() == []


def test_a_guest_without_an_address_leaves_nothing(lab: Lab, vcenter: Vcsim, session: Session) -> None:
    before = machines(session)
    vcenter.control(behind={"ws2019-1": {"noTools": True}})
    lab.write(timeouts={"tools": 0.3})
    error = lab.make()
    assert error is not None and "tools" in error.message and "ws2019-1" in error.message
    assert machines(session) == before and lab.half_made() == []


def test_ctrl_c_ends_a_clone_that_is_being_made(lab: Lab, vcenter: Vcsim, session: Session) -> None:
    before = machines(session)
    vcenter.control(work={"CloneVM_Task": 10 * LONG})
    with lab.provisioning() as process:
        until(lambda: process.poll() is not None or vcenter.calls("CloneVM_Task"))
        process.send_signal(signal.SIGINT)
        assert process.wait(LONG) == 130
    assert vcenter.calls("CancelTask")
    assert machines(session) == before and lab.half_made() == []


def test_what_a_killed_process_left_is_taken_back(lab: Lab, vcenter: Vcsim, session: Session) -> None:
    before = machines(session)
    vcenter.control(behind={"ws2019-1": {"noTools": True}})  # it waits for an address
    with lab.provisioning() as process:
        until(lambda: process.poll() is not None or running(session, "ws2019-1"))
    assert machines(session) - before == {"ws2019-1"} and lab.half_made() == ["ws2019-1"]
    with lab.journal() as journal:
        desk = open_desk(lab.known, lab.data, journal)
        assert [(each.name, each.kept) for each in reap(desk)] == [("ws2019-1", "")]
        assert marks.marked(session, journal.lab_id()) == ()
    assert machines(session) == before and lab.half_made() == []


def test_a_clone_that_a_killed_process_began_is_waited_for(
    lab: Lab, vcenter: Vcsim, session: Session
) -> None:
    """A vCenter finishes what it has begun. Until it has, the host stays in the journal."""
    before = machines(session)
    vcenter.control(work={"CloneVM_Task": 2 * LONG})
    with lab.provisioning() as process:
        until(lambda: process.poll() is not None or begun.clones(session))
        process.kill()  # in mid-clone
        assert process.wait(LONG) == -signal.SIGKILL
    (going,) = begun.clones(session)
    assert (going.source, going.name) == ("ws2019", "ws2019-1")
    assert machines(session) == before and lab.half_made() == ["ws2019-1"]

    lab.write(timeouts={"delete": 0.3})
    code, said = lab.reap()
    assert code == 4
    assert "ws2019-1 is left: waited 0.3 s for delete; last seen: https://127.0.0.1" in said
    assert "still makes the clone ws2019-1 (running" in said
    assert lab.half_made() == ["ws2019-1"] and not vcenter.calls("CancelTask")

    lab.write()
    with lab.command("machine", "reap", errors=subprocess.PIPE) as reaping:
        assert reaping.stderr is not None
        assert "the vCenter still makes the clone (running" in reaping.stderr.readline()
        vcenter.control(finish=True)
        said, _ = reaping.communicate(timeout=LONG)
    assert (reaping.returncode, said) == (0, "ws2019-1 is taken back\n")
    assert begun.clones(session) == () and len(vcenter.calls("Destroy_Task")) == 1
    assert machines(session) == before and lab.half_made() == []


# How long a host is kept


@pytest.mark.parametrize(("keep_for", "span"), [("36h", timedelta(hours=36)), ("2w", timedelta(weeks=2))])
def test_clones_are_marked_with_the_time_that_the_pool_keeps_them(
    lab: Lab, vcenter: Vcsim, session: Session, keep_for: str, span: timedelta
) -> None:
    vcenter.control(behind={"ws2019-1": {"noTools": True}})
    lab.write(keep_for=keep_for)
    began = datetime.now(UTC)
    with lab.provisioning() as process:
        until(lambda: process.poll() is not None or running(session, "ws2019-1"))
        with lab.journal() as journal:
            (found,) = marks.marked(session, journal.lab_id())
    assert found.until is not None and timedelta(0) <= found.until - began - span + SECOND < timedelta(1)


def test_a_host_past_its_time_is_handed_back_unless_it_is_used(
    lab: Lab, vcenter: Vcsim, session: Session
) -> None:
    """Its file and its entry go with the clone. As long as somebody uses it, it stays."""
    before = machines(session)
    answering(vcenter, "ws2019-1")
    with lab.journal() as journal:
        made = clones_of(session, journal.lab_id()).make(linked("ws2019-1"), "run", YESTERDAY)
        key = journal.provision_begin("ws2019-1", "ws2019", "a clone", "me")
        machine = VsphereMachine(kind="vsphere", controller=lab.known.controllers["vc"], vm=made.uuid)
        shop = lab.shop(journal)
        shop.files.write(lab.known.pool("ws2019").host("ws2019-1", made.address, machine), "ws2019")
        journal.provision_ready(key)
        lease = journal.acquire("ws2019-1", "elsewhere:1", 600)
    why = f"it was wanted until {YESTERDAY:%Y-%m-%d %H:%M} UTC"
    left = f"{made.path} is left: {why}, and leased by elsewhere:1 until {lease.expires}\n"
    assert lab.reap() == (4, left) == lab.reap("--dry-run")
    assert machines(session) == before | {"ws2019-1"}
    with lab.journal() as journal:
        journal.release(lease)
    assert lab.reap("--dry-run") == (0, f"{made.path} would be taken back: {why}\n")
    assert lab.reap() == (0, f"{made.path} is taken back\n")
    assert machines(session) == before and lab.half_made() == []
    assert list(folder_in(lab.data).iterdir()) == []
