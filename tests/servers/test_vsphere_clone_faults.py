"""What goes wrong with clones, against a simulated vCenter: one clear sentence each, and nothing left.

Not proven by it: what a vCenter leaves of a clone that is cancelled or fails half-way, how one that runs out
of space in mid-clone puts it, and a restart that keeps its inventory (the simulator's is new each time).
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest

pytest.importorskip("pyVmomi", reason="no pyvmomi: install the extra 'vsphere'")

from pyVmomi import vim
from vcsim import Vcsim
from vsphere_clones import (
    LAB,
    POOL,
    RUN,
    TOMORROW,
    answering,
    clones_of,
    customized,
    linked,
    machines,
    order,
)
from vsphere_lab import LONG, machine_of, until

from lab.machines.vsphere import Cancelled, Session, Tasks, VcenterFault, find, marks, tasks
from lab.machines.vsphere.making import delete
from lab.machines.vsphere.place import Order
from lab.machines.vsphere.reap import Known, reap
from lab.model import ConfigurationError, InfrastructureError, PowerState, Refused, TimedOut

NOW = datetime.now(UTC)


# What is wrong is said before anything is made


WRONG: list[tuple[Order, str, str]] = [
    (order(source="ws2091"), "has no virtual machine 'ws2091'", "ws2019"),
    (
        order(source="DC0_H0_VM0"),
        "'DC0_H0_VM0' in .* is a virtual machine and not a template",
        "ws2019, ws2022",
    ),
    (linked(source="ws2019", folder="/DC0/vm/lap"), "there is no 'lap' in /DC0/vm", "templates"),
    (order(snapshot="bsae"), "ws2019 has no snapshot 'bsae'", "Its snapshots: base"),
    (order(network="VM Netwrok"), "has no network 'VM Netwrok'", "VM Network"),
    (order(datastore="LocalDS_1"), "has no datastore or datastore cluster 'LocalDS_1'", "LocalDS_0"),
    (order(resource_pool="lab"), "has no resource pool 'lab'", "Resources"),
    (order(resource_pool=None), "srv1 needs a resource pool: the template ws2019 is in none", "Resources"),
    (
        order(folder="/DC0/host"),
        "folder /DC0/host in .* is not one for virtual machines",
        "below /DATACENTER",
    ),
    (order("ws2022"), "there is a virtual machine /DC0/vm/templates/ws2022 already", "lab machine reap"),
    (order("a/b"), "'a/b' is no name for a virtual machine", "letters"),
    (order(secure_boot=True, firmware="bios"), "srv1: secure boot needs firmware efi", "efi"),
    (
        order("srv1", customization=customized("srv_1").customization),
        "'srv_1' is no name for a Win",
        "hyphens",
    ),
]


@pytest.mark.parametrize(("wanted", "says", "helps"), WRONG, ids=lambda each: str(each)[:40])
def test_wrong_orders(vcenter: Vcsim, session: Session, wanted: Order, says: str, helps: str) -> None:
    intended: list[str] = []
    with pytest.raises(ConfigurationError, match=says) as caught:
        clones_of(session).make(wanted, RUN, TOMORROW, intend=intended.append)
    assert helps in caught.value.help
    assert not intended and not vcenter.calls("CloneVM_Task")


def test_too_little_space(vcenter: Vcsim, session: Session) -> None:
    clones = clones_of(session)
    huge = 1 << 30  # MB: the swap file is as large as the memory
    with pytest.raises(InfrastructureError) as caught:
        clones.make(linked(memory_mb=huge), RUN, TOMORROW)
    said = caught.value.message
    assert said.startswith("the datastore LocalDS_0 has ") and said.endswith("srv1 would need 1048578.0 GiB")
    free = session.read(lambda: find.storage(session, "LocalDS_0").summary.freeSpace)
    clones.check(linked(memory_mb=512))
    many = free // (512 << 20)
    with pytest.raises(InfrastructureError, match=f"{many} machines like srv1 would need"):
        clones.check(linked(memory_mb=512), many)
    assert not vcenter.calls("CloneVM_Task")


def test_a_full_clone_needs_room_for_its_disks(vcenter: Vcsim, session: Session) -> None:
    vm = find.machine(session, "ws2019")
    free = session.read(lambda: find.storage(session, "LocalDS_0").summary.freeSpace)
    devices = session.read(lambda: vm.config.hardware.device)
    controller = next(each for each in devices if isinstance(each, vim.vm.device.ParaVirtualSCSIController))
    backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName="", diskMode="persistent")
    second = vim.vm.device.VirtualDisk(
        key=-1, controllerKey=controller.key, unitNumber=1, capacityInKB=free * 6 // 10240, backing=backing
    )
    change = vim.vm.device.VirtualDeviceSpec(operation="add", fileOperation="create", device=second)
    spec = vim.vm.ConfigSpec(deviceChange=[change])
    session.act(lambda: vm.MarkAsVirtualMachine(find.resource_pool(session, POOL), None), "no template")
    Tasks(session).run(lambda: vm.ReconfigVM_Task(spec), "a second disk", LONG)
    session.act(vm.MarkAsTemplate, "a template")
    with pytest.raises(InfrastructureError, match=r"LocalDS_0 has .* GiB free, and srv1 would need"):
        clones_of(session).check(order())
    clones_of(session).check(linked())


# Faults on the way


def test_the_name_is_taken_meanwhile(vcenter: Vcsim, session: Session) -> None:
    """Two that make the same at once: one has it, the other is told, and deletes nothing of the first's."""
    answering(vcenter, "srv1")
    vcenter.control(work={"CloneVM_Task": 1.0})
    clones = clones_of(session)
    both = threading.Barrier(2)

    def make(run: str) -> str:
        try:
            return clones.make(linked(), run, TOMORROW, intend=lambda _: both.wait(LONG) and None).path
        except ConfigurationError as error:
            return error.message

    with ThreadPoolExecutor(2) as pool:
        said = sorted(pool.map(make, ["run-a", "run-b"]))
    path = "/DC0/vm/templates/srv1"
    assert said == [path, f"there is a virtual machine {path} already"]
    assert machine_of(session, path).power_state() is PowerState.ON


@pytest.mark.parametrize(
    ("method", "fault"),
    [
        ("CloneVM_Task", "NoDiskSpace"),
        ("CloneVM_Task", "InvalidState"),
        ("SetField", "NoPermission"),
        ("AddCustomFieldDef", "NoPermission"),
        ("PowerOnVM_Task", "InsufficientMemoryResourcesFault"),
        ("QueryEvents", "NotSupported"),
    ],
)
def test_a_fault_on_the_way_leaves_nothing(vcenter: Vcsim, session: Session, method: str, fault: str) -> None:
    answering(vcenter, "srv1")
    said = "The vCenter's own words."
    vcenter.control(faults=[{"method": method, "fault": fault, "message": said}])
    before = machines(session)
    with pytest.raises(VcenterFault) as caught:
        clones_of(session).make(customized(), RUN, TOMORROW)
    assert caught.value.message.endswith(f": {said} ({fault})")
    assert "may be left" not in caught.value.help
    assert machines(session) == before


def test_a_clone_that_takes_too_long_is_cancelled(vcenter: Vcsim, session: Session) -> None:
    vcenter.control(work={"CloneVM_Task": LONG})
    with pytest.raises(TimedOut, match=r"1 s for clone; last seen: clone /DC0/.*/srv1 of ws2019: run"):
        clones_of(session, clone=1).make(linked(), RUN, TOMORROW)
    cancel = threading.Event()
    with pytest.raises(Cancelled):
        clones_of(session).make(linked(), RUN, TOMORROW, cancel=cancel, on_progress=lambda _: cancel.set())
    assert "srv1" not in machines(session)


def test_an_interrupt_leaves_nothing(vcenter: Vcsim, session: Session) -> None:
    answering(vcenter, "srv1")

    class Interrupting:
        def now(self) -> float:
            return 0.0

        def sleep(self, seconds: float) -> None:
            raise KeyboardInterrupt

    clones = clones_of(session)
    clones._clock = Interrupting()
    with pytest.raises(KeyboardInterrupt):
        clones.make(customized(), RUN, TOMORROW)
    assert len(vcenter.calls("PowerOnVM_Task")) == 1
    assert "srv1" not in machines(session)


def test_a_session_lost_on_the_way_is_made_anew(vcenter: Vcsim, session: Session) -> None:
    answering(vcenter, "srv1")
    vcenter.control(work={"CloneVM_Task": 2.0})
    lost = threading.Event()

    def lose(_: int) -> None:
        if not lost.is_set():
            lost.set()
            vcenter.forget_sessions()

    made = clones_of(session).make(linked(), RUN, TOMORROW, on_progress=lose)
    assert lost.is_set() and made.address == "192.0.2.1"


def test_a_clone_whose_answer_was_lost_is_found_by_its_notes(vcenter: Vcsim, session: Session) -> None:
    """The request was carried out, the answer did not arrive: the clone has nothing but its notes."""
    vcenter.control(drop=["CloneVM_Task"], work={"CloneVM_Task": 1.0})
    clones = clones_of(session)
    with pytest.raises(InfrastructureError, match=r"connection to .* was lost during clone .*/srv1") as lost:
        clones.make(linked(), RUN, TOMORROW)
    assert lost.value.help.endswith("srv1 appear yet, 'lab machine reap' deletes it.")
    until(lambda: marks.marked(session, LAB))
    assert len(vcenter.calls("CloneVM_Task")) == 1 and not vcenter.calls("SetField")
    (orphan,) = reap(clones.vcenter, LAB, lambda: Known(frozenset()), NOW)
    assert (orphan.host, orphan.error) == ("srv1", "")
    assert "srv1" not in machines(session)


def test_what_cannot_be_deleted_is_said_and_found_later(vcenter: Vcsim, session: Session) -> None:
    broken = [{"method": "SetField", "fault": "SystemError", "message": "x"}]
    stuck = {"method": "Destroy_Task", "fault": "ResourceInUse", "message": "y"}
    vcenter.control(faults=[*broken, stuck])
    clones = clones_of(session)
    with pytest.raises(VcenterFault) as caught:
        clones.make(linked(), RUN, TOMORROW)
    assert caught.value.help.endswith("/DC0/vm/templates/srv1 may be left: 'lab machine reap' deletes it.")
    (orphan,) = reap(clones.vcenter, LAB, lambda: Known(frozenset()), NOW)
    assert "y (ResourceInUse)" in orphan.error
    vcenter.control(faults=[])
    (orphan,) = reap(clones.vcenter, LAB, lambda: Known(frozenset()), NOW)
    assert (orphan.host, orphan.run, orphan.why, orphan.error) == ("srv1", RUN, "no inventory knows it", "")
    assert "srv1" not in machines(session)


def test_a_vcenter_that_dies_in_mid_clone(
    vcenter: Vcsim, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "LOST_SECONDS", 2)
    vcenter.control(work={"CloneVM_Task": LONG})
    clones = clones_of(session)
    with pytest.raises(InfrastructureError, match=r"^clone /DC0/.*/srv1 .* not be reached") as caught:
        clones.make(linked(), RUN, TOMORROW, on_progress=lambda _: vcenter.kill())
    assert "'lab machine reap' deletes it" in caught.value.help
    vcenter.start()  # the simulator forgets what was made; a vCenter would not
    assert reap(clones.vcenter, LAB, lambda: Known(frozenset()), NOW) == ()


def test_only_our_own_are_deleted(vcenter: Vcsim, session: Session) -> None:
    answering(vcenter, "srv1")
    made = clones_of(session).make(linked(), RUN, TOMORROW)
    with pytest.raises(Refused, match="is not a machine that this lab made"):
        clones_of(session, lab="another").unmake(made.path)
    with pytest.raises(Refused, match=r"DC0_H0_VM0 in .* is not a machine that this lab made"):
        clones_of(session).unmake("DC0_H0_VM0")
    assert {"srv1", "DC0_H0_VM0"} <= machines(session)
    assert clones_of(session).unmake(made.uuid)
    assert clones_of(session).unmake(made.uuid) is False
    assert clones_of(session).unmake(made.path) is False


def test_one_that_is_powered_on_meanwhile_is_deleted(vcenter: Vcsim, session: Session) -> None:
    """As by the last request of a process that was killed."""
    answering(vcenter, "srv1")
    clones = clones_of(session)
    made = clones.make(linked(), RUN, TOMORROW)
    (found,) = marks.marked(session, LAB)
    delete(clones.vcenter, replace(found, power=PowerState.OFF), clones.limits)
    assert len(vcenter.calls("Destroy_Task")) == 2
    delete(clones.vcenter, found, clones.limits)  # gone: no error
    assert clones.unmake(made.path) is False
