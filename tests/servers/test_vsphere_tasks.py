"""The one waiter for all tasks: many at once, faults, time-outs, and a vCenter that goes away."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("pyVmomi", reason="no pyvmomi: install the extra 'vsphere'")

from vcsim import Vcsim
from vsphere_lab import LONG, PATH, machine_of, running, session_of, until

from lab.machines.vsphere import Cancelled, Session, Tasks, VcenterFault, find, tasks
from lab.model import InfrastructureError, PowerState, TimedOut


def test_twenty_tasks_have_one_waiter(tmp_path: Path) -> None:
    with running(tmp_path, vms=20) as vcenter:
        session = session_of(vcenter)
        waiter = Tasks(session)
        vcenter.control(work={"PowerOffVM_Task": 2.0})
        machines = [find.machine(session, f"DC0_C0_RP0_VM{i}") for i in range(20)]
        progress: list[list[int]] = [[] for _ in machines]

        def off(i: int) -> None:
            waiter.run(machines[i].PowerOffVM_Task, f"power off of {i}", LONG, on_progress=progress[i].append)

        with ThreadPoolExecutor(20) as pool:
            list(pool.map(off, range(20)))
        states = {str(session.read(lambda vm=vm: vm.runtime.powerState)) for vm in machines}
        assert states == {"poweredOff"}
        assert all(each[-1] == 100 and each == sorted(each) and len(each) > 1 for each in progress)
        asked = len(vcenter.calls("WaitForUpdatesEx")) + len(vcenter.calls("CreateFilter"))
        assert asked < 20 * 4  # each for itself would ask at least every 250 ms
        assert len(vcenter.calls("CreatePropertyCollector")) == 1
        until(lambda: vcenter.calls("DestroyPropertyCollector"))  # nothing is left behind
        assert len(vcenter.calls("DestroyPropertyFilter")) == len(vcenter.calls("CreateFilter"))
        session.close()


def test_a_task_that_fails_says_so_in_the_vcenters_words(vcenter: Vcsim, session: Session) -> None:
    said = "The host does not have sufficient memory to satisfy the reservation."
    kind = "InsufficientMemoryResourcesFault"
    vcenter.control(faults=[{"method": "ResetVM_Task", "fault": kind, "message": said}])
    with pytest.raises(VcenterFault) as caught:
        machine_of(session).reset()
    assert f"refused reset of {PATH}: {said} ({kind})" in str(caught.value)
    assert caught.value.fault == kind


@pytest.mark.parametrize("method", ["ResetVM_Task", "SendNMI"])
def test_a_privilege_that_is_missing_is_named(vcenter: Vcsim, session: Session, method: str) -> None:
    said = "Permission to perform this operation was denied."
    vcenter.control(faults=[{"method": method, "fault": "NoPermission", "message": said}])
    machine = machine_of(session)
    with pytest.raises(VcenterFault, match=rf"{said} \(NoPermission\)") as caught:
        machine.reset() if method == "ResetVM_Task" else machine.interrupt()
    assert "the privilege Some.Privilege" in caught.value.help


def test_an_answer_that_cannot_be_read_spoils_no_other_task(vcenter: Vcsim, session: Session) -> None:
    """As from a vCenter that is newer than pyvmomi."""
    vcenter.control(
        faults=[{"method": "ResetVM_Task", "fault": "InvalidPowerState", "message": "x", "bare": True}],
        work={"ResetVM_Task": 2.0, "PowerOffVM_Task": 4.0},
    )
    waiter = Tasks(session)
    good, bad = find.machine(session, "DC0_C0_RP0_VM1"), find.machine(session, PATH)
    with ThreadPoolExecutor(2) as pool:
        off = pool.submit(waiter.run, good.PowerOffVM_Task, "off", LONG)
        reset = pool.submit(waiter.run, bad.ResetVM_Task, "reset", LONG)
        with pytest.raises(InfrastructureError, match=r"^reset: error.*its info\.error cannot be read"):
            reset.result()
        off.result()
    assert session.read(lambda: str(good.runtime.powerState)) == "poweredOff"


def test_a_task_that_takes_too_long_is_cancelled(vcenter: Vcsim, session: Session) -> None:
    vcenter.control(work={"ResetVM_Task": LONG})
    with pytest.raises(TimedOut, match=rf"waited 3 s for power; last seen: reset of {PATH}: running.*; canc"):
        machine_of(session, power=3).reset()
    assert len(vcenter.calls("CancelTask")) == 1


def test_a_task_that_is_given_up_at_once_does_not_go_on(vcenter: Vcsim, session: Session) -> None:
    """Before the vCenter has said whether it can be cancelled."""
    vm = find.machine(session, PATH)
    vcenter.control(work={"PowerOffVM_Task": LONG})
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled, match=r"cancelled\)"):
        Tasks(session).run(vm.PowerOffVM_Task, "power off of it", LONG, cancel=cancel)
    assert machine_of(session).power_state() is PowerState.ON


def test_a_task_that_cannot_be_cancelled_goes_on(vcenter: Vcsim, session: Session) -> None:
    vcenter.control(work={"PowerOffVM_Task": 4.0}, stuck=True)
    machine = machine_of(session, power=2)
    with pytest.raises(TimedOut, match="it goes on in the vCenter"):
        machine.power_off()
    until(lambda: machine.power_state() is PowerState.OFF)


def test_the_caller_may_give_up(vcenter: Vcsim, session: Session) -> None:
    vcenter.control(work={"PowerOffVM_Task": LONG})
    cancel = threading.Event()
    vm = find.machine(session, PATH)
    with pytest.raises(Cancelled, match=r"power off of it was given up \(running, \d+ %; cancelled\)"):
        Tasks(session).run(
            vm.PowerOffVM_Task, "power off of it", LONG, cancel=cancel, on_progress=lambda _: cancel.set()
        )
    assert session.read(lambda: str(vm.runtime.powerState)) == "poweredOn"


def test_the_session_may_be_lost_while_a_task_runs(vcenter: Vcsim, session: Session) -> None:
    vcenter.control(work={"PowerOffVM_Task": 3.0})
    lost = threading.Event()

    def lose(_: int) -> None:
        if not lost.is_set():
            lost.set()
            vcenter.forget_sessions()

    vm = find.machine(session, PATH)
    Tasks(session).run(vm.PowerOffVM_Task, "power off of it", LONG, on_progress=lose)
    assert lost.is_set() and len(vcenter.calls("Login")) == 2
    assert session.read(lambda: str(vm.runtime.powerState)) == "poweredOff"


def test_a_server_that_dies_in_the_midst_of_a_task(
    vcenter: Vcsim, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "LOST_SECONDS", 2)
    vcenter.control(work={"PowerOffVM_Task": LONG})
    vm = find.machine(session, PATH)
    with pytest.raises(InfrastructureError, match=r"^off: .*could not be reached: .*last seen: running"):
        Tasks(session).run(vm.PowerOffVM_Task, "off", LONG, on_progress=lambda _: vcenter.kill())


def test_a_server_that_restarts_in_the_midst_of_a_task(vcenter: Vcsim, session: Session) -> None:
    vcenter.control(work={"PowerOffVM_Task": LONG})
    vm = find.machine(session, PATH)
    restarted = threading.Event()

    def restart(_: int) -> None:
        if not restarted.is_set():
            restarted.set()
            vcenter.kill()
            vcenter.start()

    with pytest.raises(InfrastructureError, match=r"^off: the vCenter does not know this task any more"):
        Tasks(session).run(vm.PowerOffVM_Task, "off", LONG, on_progress=restart)
    assert restarted.is_set()
