"""A virtual machine of a simulated vCenter: power, NMI, checkpoints, address, screen, meddlers.

Not tried here, as nothing simulates it: disks and memory that a restore brings back, HA that resets a
machine, VMware Tools at work, and versions of the interface other than 6.5.
"""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

pytest.importorskip("pyVmomi", reason="no pyvmomi: install the extra 'vsphere'")

from pyVmomi import vim
from vcsim import PASSWORD, USER, Vcsim
from vsphere_lab import LONG, NAME, PATH, machine_of, running, session_of

from lab.inventory import load
from lab.machines import Interference, Machine, Restorable, Screen, open_machine
from lab.machines.vsphere import Session, Tasks, VcenterFault, close_all, find
from lab.machines.vsphere import machine as machine_module
from lab.model import ConfigurationError, InfrastructureError, PowerState, TimedOut


def test_it_is_what_it_says(session: Session) -> None:
    machine = machine_of(session)
    for capability in (Machine, Restorable, Screen, Interference):
        assert isinstance(machine, capability)


def test_power(vcenter: Vcsim, session: Session) -> None:
    machine = machine_of(session)
    assert machine.power_state() is PowerState.ON
    machine.power_on()  # already: no error
    machine.power_off()
    assert machine.power_state() is PowerState.OFF
    machine.power_off()
    for refused in (machine.reset, machine.interrupt, machine.screenshot):
        with pytest.raises(
            VcenterFault, match=r"cannot be performed in the current state.*InvalidPowerState"
        ) as caught:
            refused()
        assert caught.value.help == "It is off: turn it on first, by 'lab machine NAME on'."
    machine.power_on()
    machine.reset()
    machine.interrupt()
    assert machine.power_state() is PowerState.ON
    assert vcenter.calls("SendNMI")[-1] == ("SendNMI", NAME)


def test_a_power_fault_that_is_none_of_these(vcenter: Vcsim, session: Session) -> None:
    """InvalidPowerState for another reason than that it is on already is an error."""
    machine = machine_of(session)
    machine.power_off()
    vcenter.control(faults=[{"method": "PowerOnVM_Task", "fault": "InvalidPowerState", "message": "busy"}])
    with pytest.raises(VcenterFault, match=r"power on of .*: busy \(InvalidPowerState\)") as caught:
        machine.power_on()
    assert caught.value.help == VcenterFault.help


def test_a_template_cannot_be_powered(session: Session) -> None:
    with pytest.raises(VcenterFault, match=r"refused power on of ws2019: .*\(InvalidState\)"):
        machine_of(session, "ws2019").power_on()


def test_a_suspended_machine_is_off(session: Session) -> None:
    machine = machine_of(session)
    vm = find.machine(session, PATH)
    machine.vcenter.tasks.run(vm.SuspendVM_Task, "suspend", LONG)
    assert machine.power_state() is PowerState.OFF


def test_a_question_that_nobody_answers(vcenter: Vcsim, session: Session) -> None:
    vcenter.control(work={"PowerOffVM_Task": LONG}, question="Was it moved\n or copied?")
    with pytest.raises(TimedOut, match=r"waits for an answer to: Was it moved or copied\?") as caught:
        machine_of(session, power=2).power_off()
    assert "Answer" in caught.value.help


def cpus(session: Session, change: int | None = None) -> int:
    vm = find.machine(session, PATH)
    if change is not None:
        spec = vim.vm.ConfigSpec(numCPUs=change)
        Tasks(session).run(lambda: vm.ReconfigVM_Task(spec), "reconfiguration", LONG)
    return int(session.read(lambda: vm.config.hardware.numCPU))


def test_checkpoints_without_memory(vcenter: Vcsim, session: Session) -> None:
    machine = machine_of(session)
    before = cpus(session)
    machine.checkpoint("baseline")
    cpus(session, before + 3)
    vcenter.control(work={"RevertToSnapshot_Task": 1.0})
    machine.restore("baseline")
    assert cpus(session) == before  # done, not only begun
    assert machine.power_state() is PowerState.OFF  # no memory: as after the cord was pulled
    (found,) = machine.checkpoints()
    assert (found.name, found.memory, found.power) == ("baseline", False, PowerState.OFF)
    assert found.at is not None and found.at.tzinfo is not None


def test_checkpoints_with_memory(session: Session) -> None:
    machine = machine_of(session)
    machine.checkpoint("live", memory=True)
    machine.power_off()
    machine.checkpoint("dead", memory=True)  # nothing runs, so there is no memory to keep
    assert [(each.name, each.memory) for each in machine.checkpoints()] == [("live", True), ("dead", False)]
    machine.restore("live")
    assert machine.power_state() is PowerState.ON
    machine.restore("dead")
    assert machine.power_state() is PowerState.OFF


def test_the_power_is_as_the_checkpoint_says_when_the_vcenter_left_it_otherwise(
    vcenter: Vcsim, session: Session
) -> None:
    machine = machine_of(session)
    machine.checkpoint("live", memory=True)
    vcenter.control(reluctant=True)
    machine.restore("live")
    assert machine.power_state() is PowerState.ON


def test_a_restore_that_fails_is_no_restore(vcenter: Vcsim, session: Session) -> None:
    machine = machine_of(session)
    machine.checkpoint("baseline")
    said = "A file of the snapshot was not found."
    vcenter.control(faults=[{"method": "RevertToSnapshot_Task", "fault": "FileNotFound", "message": said}])
    with pytest.raises(VcenterFault, match=rf"restore of 'baseline' of {PATH}: {said} \(FileNotFound\)"):
        machine.restore("baseline")
    assert machine.power_state() is PowerState.ON


def test_checkpoints_that_are_taken_or_missing(session: Session) -> None:
    machine = machine_of(session)
    for name in ("one", "two"):
        machine.checkpoint(name)
    with pytest.raises(ConfigurationError, match="has a checkpoint 'one' already"):
        machine.checkpoint("one")
    for call in (machine.restore, machine.remove_checkpoint):
        with pytest.raises(ConfigurationError, match="has no snapshot 'tow'") as caught:
            call("tow")
        assert caught.value.help == "Its snapshots: two, one."
    machine.remove_checkpoint("one")  # the later one stays
    assert [each.name for each in machine.checkpoints()] == ["two"]
    machine.remove_checkpoint("two")
    assert machine.checkpoints() == ()


def test_two_snapshots_of_one_name_are_not_guessed_at(session: Session) -> None:
    machine = machine_of(session)
    vm = find.machine(session, PATH)
    for _ in range(2):
        machine.vcenter.tasks.run(lambda: vm.CreateSnapshot_Task("same", "", False, False), "snapshot", LONG)
    with pytest.raises(ConfigurationError, match="has 2 snapshots named 'same'") as caught:
        machine.restore("same")
    assert "same, same/same" in caught.value.help


def test_the_address_is_what_tools_tell(vcenter: Vcsim, session: Session) -> None:
    vcenter.control(behind={NAME: {"address": "192.0.2.7"}})
    machine = machine_of(session)
    machine.reset()
    assert machine.address() == "192.0.2.7"
    machine.power_off()
    with pytest.raises(TimedOut, match=r"waited 0\.5 s for tools; last seen: .*guestToolsNotRunning.*none"):
        machine_of(session, tools=0.5).address()
    later = threading.Timer(0.5, machine.power_on)
    later.start()
    assert machine_of(session).address() == "192.0.2.7"  # waits for it
    later.join()


@pytest.mark.parametrize("address", ["169.254.3.4", "fe80::1"])
def test_link_local_addresses_are_none(vcenter: Vcsim, session: Session, address: str) -> None:
    vcenter.control(behind={NAME: {"address": address}})
    machine = machine_of(session, tools=0.5)
    machine.reset()
    with pytest.raises(TimedOut, match=address):
        machine.address()


def test_a_screenshot_is_taken_and_leaves_nothing_behind(vcenter: Vcsim, session: Session) -> None:
    machine = machine_of(session)
    assert machine.screenshot().startswith(b"\x89PNG")
    assert len(vcenter.calls("DeleteDatastoreFile_Task")) == 1
    left = f"/folder/{NAME}/{NAME}-1.png?dcPath=DC0&dsName=LocalDS_0"
    with session.get(left) as answer:
        assert answer.status == 404
    vcenter.forget_sessions()
    with session.get(f"/folder/{NAME}/{NAME}.vmx?dcPath=DC0&dsName=LocalDS_0") as answer:
        assert answer.status == 200  # logged on again


def test_a_screenshot_that_is_not_handed_out(
    vcenter: Vcsim, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_module, "MOST_SCREENSHOT", 20)
    with pytest.raises(InfrastructureError, match=r"gave no picture for .*-1\.png of .*: 200 OK, 21 bytes"):
        machine_of(session).screenshot()
    assert len(vcenter.calls("DeleteDatastoreFile_Task")) == 1


def test_a_machine_that_was_registered_anew(session: Session) -> None:
    machine = machine_of(session)
    machine.power_off()
    vm = find.machine(session, PATH)
    other = find.machine(session, "DC0_C0_RP0_VM1")
    machine.vcenter.tasks.run(vm.Destroy_Task, "removal", LONG)
    rename = other.Rename_Task
    machine.vcenter.tasks.run(lambda: rename(NAME), "new name", LONG)
    with pytest.raises(VcenterFault, match="ManagedObjectNotFound"):
        machine.reset()  # an action is not repeated with another machine
    machine.reset()
    assert machine.power_state() is PowerState.ON


def test_a_machine_that_is_gone(vcenter: Vcsim, session: Session) -> None:
    machine = machine_of(session)
    machine.power_off()
    vm = find.machine(session, PATH)
    machine.vcenter.tasks.run(vm.Destroy_Task, "removal", LONG)
    with pytest.raises(ConfigurationError, match=f"there is no '{NAME}' in /DC0/vm"):
        machine.power_state()


def test_who_resets_a_crashed_guest(tmp_path: Path) -> None:
    with running(tmp_path, monitoring="vmMonitoringOnly") as vcenter:
        session = session_of(vcenter)
        machine = machine_of(session)
        (said,) = machine.meddlers()
        assert "HA VM monitoring (vmMonitoringOnly) of cluster DC0_C0 resets" in said and PATH in said
        assert machine_of(session, "DC0_H0_VM0").meddlers() == ()  # in no cluster
        override(session, "vmMonitoringDisabled")
        assert machine.meddlers() == ()
        assert len(machine_of(session, "DC0_C0_RP0_VM1").meddlers()) == 1  # the cluster's holds for others


def test_nobody_resets_where_ha_is_off(session: Session) -> None:
    assert machine_of(session).meddlers() == ()


def override(session: Session, mode: str) -> None:
    """VM monitoring of one machine, as an administrator sets it."""
    vm = find.machine(session, PATH)
    settings = vim.cluster.VmToolsMonitoringSettings(clusterSettings=False, vmMonitoring=mode)
    info = vim.cluster.DasVmConfigInfo(
        key=vm, dasSettings=vim.cluster.DasVmSettings(vmToolsMonitoringSettings=settings)
    )
    spec = vim.cluster.ConfigSpecEx(dasVmConfigSpec=[vim.cluster.DasVmConfigSpec(operation="add", info=info)])
    cluster = session.read(lambda: vm.runtime.host.parent)
    change = cluster.ReconfigureComputeResource_Task
    Tasks(session).run(lambda: change(spec, True), "override", LONG)


# From the inventory


INVENTORY = """\
controllers:
  vc: {{kind: vcenter, url: "{url}", user: "{user}", password: {{env: VC_PASSWORD}}, ca_file: vcenter.pem}}
hosts:
"""
HOST = """\
  {name}:
    address: 192.0.2.1
    machine: {{kind: vsphere, controller: vc, vm: /DC0/vm/DC0_C0_RP0_VM0}}
    guest: {{shell: {{kind: psrp, user: crash, password: {{env: GUEST}}}}}}
"""


def test_hosts_of_one_controller_share_a_session(
    vcenter: Vcsim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VC_PASSWORD", PASSWORD)
    path = tmp_path / "lab.yaml"
    text = INVENTORY.format(url=vcenter.url, user=USER) + HOST.format(name="one") + HOST.format(name="two")
    path.write_text(text)
    inventory = load([path])
    machines = [open_machine(inventory.host(name)) for name in ("one", "two")]
    assert [machine.power_state() for machine in machines] == [PowerState.ON] * 2
    assert machines[0].address() == "192.0.2.1"
    assert len(vcenter.calls("Login")) == 1
    close_all()
    assert len(vcenter.calls("Logout")) == 1
