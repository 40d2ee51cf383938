"""Machines of a vCenter over verified TLS, against govmomi's simulator with our corrections.

Not tried here, as nothing simulates it: disks that come back by a restore, memory that comes back, HA that
resets a machine, questions of a real vCenter, and versions other than 6.5 of its interface.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyVmomi", reason="no pyvmomi: install the extra 'vsphere'")

from pyVmomi import vim
from vcsim import PASSWORD, USER, Vcsim, build, certificate

from lab.inventory import Timeouts, load
from lab.machines import Interference, Machine, Restorable, Screen, open_machine
from lab.machines.vsphere import Cancelled, Session, Tasks, Vcenter, VcenterFault, close_all, find, tasks
from lab.machines.vsphere.machine import VsphereMachine
from lab.model import (
    ConfigurationError,
    CredentialsRefused,
    InfrastructureError,
    PowerState,
    SystemClock,
    TimedOut,
)

NAME = "DC0_C0_RP0_VM0"
PATH = f"/DC0/vm/{NAME}"
UUID = "42424242-1111-2222-3333-444444444444"
LONG = 60.0
"""Seconds for what takes far less, on a busy computer."""


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    if reason := build():
        pytest.skip(reason)


@contextmanager
def running(folder: Path, **how: Any) -> Iterator[Vcsim]:
    server = Vcsim(folder, **how)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Vcsim]:
    with running(tmp_path, templates=["ws2019", "ws2022"]) as found:
        yield found


@pytest.fixture
def session(server: Vcsim) -> Iterator[Session]:
    made = session_of(server)
    yield made
    made.close()


def session_of(server: Vcsim, **change: Any) -> Session:
    settings = {"user": USER, "password": lambda: PASSWORD, "ca_file": server.ca_file} | change
    return Session(server.url, **settings)


def machine_of(session: Session, wanted: str = PATH, **change: Any) -> VsphereMachine:
    timeouts = Timeouts(**{"power": LONG, "checkpoint": LONG, "tools": LONG, "poll": 0.05} | change)
    return VsphereMachine(
        Vcenter(session, Tasks(session)), wanted, address="", timeouts=timeouts, clock=SystemClock()
    )


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# The session


def test_the_log_on_and_the_log_off(server: Vcsim) -> None:
    session = session_of(server)
    assert session.read(lambda: session.content.about.name)
    session.close()
    assert [name for name, _ in server.calls() if name in ("Login", "Logout")] == ["Login", "Logout"]
    assert session.content.rootFolder is not None and find.machine(session, PATH)  # logs on again
    assert len(server.calls("Login")) == 2


def test_nothing_is_told_without_a_session(server: Vcsim) -> None:
    """Else the simulator would let log-ons that were lost go unnoticed."""
    session = session_of(server)
    vm = find.machine(session, PATH)
    server.forget_sessions()
    with pytest.raises(vim.fault.NotAuthenticated):
        _ = vm.name


@pytest.mark.parametrize("change", [{"user": "administrator"}, {"password": lambda: "other"}])
def test_wrong_credentials(server: Vcsim, change: dict[str, Any]) -> None:
    with pytest.raises(CredentialsRefused, match="refused the user") as caught:
        find.machine(session_of(server, **change), PATH)
    assert PASSWORD not in f"{caught.value} {caught.value.help}" and "other" not in str(caught.value)


def test_the_certificate_is_checked_on_loopback_too(
    server: Vcsim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, _ = certificate(tmp_path, "other")
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(server.ca_file))  # would let it pass
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")  # would lead nowhere
    with pytest.raises(InfrastructureError, match="is not to be trusted: self-signed certificate") as caught:
        find.machine(session_of(server, ca_file=other), PATH)
    assert "ca_file" in caught.value.help
    assert server.calls() == []  # not even a question was sent
    assert find.machine(session_of(server), PATH)


def test_without_ca_and_thumbprint_the_systems_issuers_count(server: Vcsim) -> None:
    with pytest.raises(InfrastructureError, match="is not to be trusted"):
        find.machine(session_of(server, ca_file=None), PATH)


def test_an_expired_certificate(tmp_path: Path) -> None:
    with running(tmp_path, expired=True) as server:
        with pytest.raises(InfrastructureError, match="certificate has expired"):
            find.machine(session_of(server), PATH)
        # a pinned one is that one, whatever its dates
        assert find.machine(session_of(server, ca_file=None, thumbprint=server.thumbprint), PATH)


def test_a_pinned_certificate(server: Vcsim, tmp_path: Path) -> None:
    pinned = server.thumbprint
    wrong = pinned[:-1] + ("0" if pinned[-1] != "0" else "1")
    assert find.machine(session_of(server, ca_file=None, thumbprint=pinned), PATH)
    assert find.machine(session_of(server, thumbprint=pinned.replace(":", "").lower()), PATH)
    before = len(server.calls())
    for ca_file in (None, server.ca_file):
        with pytest.raises(InfrastructureError, match="not the pinned one"):
            find.machine(session_of(server, ca_file=ca_file, thumbprint=wrong), PATH)
    other, _ = certificate(tmp_path, "other")
    with pytest.raises(InfrastructureError, match="is not to be trusted"):
        find.machine(session_of(server, ca_file=other, thumbprint=pinned), PATH)
    assert len(server.calls()) == before


def test_a_ca_file_that_is_none(server: Vcsim, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        session_of(server, ca_file=tmp_path / "missing.pem")
    (tmp_path / "text.pem").write_text("no certificate")
    with pytest.raises(ConfigurationError, match=r"text\.pem of a controller is no PEM certificate"):
        session_of(server, ca_file=tmp_path / "text.pem")


def test_what_does_not_listen_or_is_no_vcenter(server: Vcsim) -> None:
    server.kill()
    with pytest.raises(InfrastructureError, match="could not be reached: Connection refused"):
        find.machine(session_of(server), PATH)


def test_a_session_that_the_server_forgot(server: Vcsim, session: Session) -> None:
    vm = find.machine(session, PATH)
    server.forget_sessions()
    assert session.read(lambda: vm.name) == NAME  # managed objects stay usable
    server.forget_sessions()
    session.act(vm.SendNMI, "an NMI")
    assert len(server.calls("Login")) == 3
    assert len(server.calls("SendNMI")) == 2  # the first was refused before it did anything


def test_threads_that_lose_their_session_together_log_on_once(server: Vcsim, session: Session) -> None:
    vm = find.machine(session, PATH)
    server.forget_sessions()
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda _: session.read(lambda: vm.name), range(16)))
    assert names == [NAME] * 16 and len(server.calls("Login")) == 2


def test_a_server_that_restarts(server: Vcsim, session: Session) -> None:
    vm = find.machine(session, PATH)
    server.kill()
    server.start()
    assert session.read(lambda: vm.name) == NAME
    assert len(server.calls("Login")) == 2


def test_a_read_is_repeated_and_an_action_is_not(server: Vcsim, session: Session) -> None:
    vm = find.machine(session, PATH)
    server.control(drop=["SendNMI"])
    with pytest.raises(InfrastructureError, match=r"connection to .* was lost during the NMI") as caught:
        session.act(vm.SendNMI, "the NMI")
    assert "not known" in caught.value.help
    assert len(server.calls("SendNMI")) == 1
    server.control(drop=["FindByInventoryPath"])
    before = len(server.calls("FindByInventoryPath"))
    with pytest.raises(InfrastructureError, match="could not be reached"):
        find.machine(session, PATH)
    assert len(server.calls("FindByInventoryPath")) == before + 2


def test_the_password_is_nowhere_to_be_seen(session: Session) -> None:
    find.machine(session, PATH)
    assert PASSWORD not in repr(session) and PASSWORD not in str(vars(session).get("_instance"))


# Finding


def test_a_machine_by_path_uuid_and_name(session: Session) -> None:
    vm = find.machine(session, PATH)
    config = session.read(lambda: vm.config)
    for wanted in (NAME, f"DC0/vm/{NAME}", config.uuid, config.instanceUuid.upper()):
        assert find.machine(session, wanted) == vm
    assert find.path_of(session, vm) == PATH
    assert session.read(lambda: find.datacenter_of(session, vm).name) == "DC0"


@pytest.mark.parametrize(
    ("look", "says", "knows"),
    [
        (lambda s: find.machine(s, "/DC0/vm/lab/x"), "there is no 'lab' in /DC0/vm", "In /DC0/vm are: "),
        (lambda s: find.machine(s, "/DC9/vm/x"), "there is no 'DC9' in /", "In / are: DC0."),
        (lambda s: find.machine(s, "ws2018"), "has no virtual machine 'ws2018'", "Known: ws2019, ws2022"),
        (lambda s: find.machine(s, "/DC0/vm"), "/DC0/vm in .* is no virtual machine but a Folder", "ws2019"),
        (
            lambda s: find.machine(s, "42" * 4 + "-1111-2222-3333-" + "4" * 12),
            "no virtual machine with",
            "path",
        ),
        (lambda s: find.template(s, NAME), f"'{NAME}' in .* is a virtual machine and not", "ws2019, ws2022"),
        (lambda s: find.network(s, "VM network"), "has no network 'VM network'", "VM Network"),
        (lambda s: find.datastore(s, "ssd"), "has no datastore 'ssd'", "Known: LocalDS_0"),
        (lambda s: find.folder(s, "/DC0/vm/lab"), "there is no 'lab' in /DC0/vm", "templates"),
        (
            lambda s: find.resource_pool(s, "Resources"),
            "has 2 objects of the kind resource pool",
            "/DC0/host/",
        ),
        (
            lambda s: find.snapshot(s, find.template(s, "ws2019"), "bas"),
            "/DC0/vm/templates/ws2019 has no snapshot 'bas'",
            "Its snapshots: base.",
        ),
    ],
)
def test_what_is_missing_is_named_with_what_there_is(
    session: Session, look: Callable[[Session], object], says: str, knows: str
) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        look(session)
    assert knows in caught.value.help


def test_what_is_there_is_found(session: Session) -> None:
    template = find.template(session, "/DC0/vm/templates/ws2019")
    assert find.snapshot(session, template, "base").name == "base"
    for kind, wanted in (
        (find.network, "VM Network"),
        (find.network, "/DC0/network/DC0_DVPG0"),
        (find.datastore, "LocalDS_0"),
        (find.folder, "templates"),
        (find.resource_pool, "/DC0/host/DC0_C0/Resources"),
    ):
        found = kind(session, wanted)
        assert session.read(lambda found=found: found.name) == wanted.rpartition("/")[2]


def test_at_most_eight_names_are_shown(tmp_path: Path) -> None:
    with running(tmp_path, vms=8) as server, pytest.raises(ConfigurationError) as caught:
        find.machine(session_of(server), "DC0_C0_RP0_VM9")
    assert caught.value.help.count("VM") == 8 and caught.value.help.endswith("and 8 more.")
    assert caught.value.help.startswith("Known: DC0_C0_RP0_VM")  # those that look like it first


# Tasks


def test_twenty_tasks_have_one_waiter(tmp_path: Path) -> None:
    with running(tmp_path, vms=20) as server:
        session = session_of(server)
        waiter = Tasks(session)
        server.control(work={"PowerOffVM_Task": 2.0})
        machines = [find.machine(session, f"DC0_C0_RP0_VM{i}") for i in range(20)]
        progress: list[list[int]] = [[] for _ in machines]

        def off(i: int) -> None:
            waiter.run(machines[i].PowerOffVM_Task, f"power off of {i}", LONG, on_progress=progress[i].append)

        with ThreadPoolExecutor(20) as pool:
            list(pool.map(off, range(20)))
        states = {str(session.read(lambda vm=vm: vm.runtime.powerState)) for vm in machines}
        assert states == {"poweredOff"}
        assert all(each[-1] == 100 and each == sorted(each) and len(each) > 2 for each in progress)
        asked = len(server.calls("WaitForUpdatesEx")) + len(server.calls("CreateFilter"))
        assert asked < 20 * 4  # each for itself would ask at least every 250 ms
        assert len(server.calls("CreatePropertyCollector")) == 1
        until(lambda: server.calls("DestroyPropertyCollector"))  # nothing is left behind
        assert len(server.calls("DestroyPropertyFilter")) == len(server.calls("CreateFilter"))
        session.close()


def test_a_task_that_fails_says_so_in_the_vcenters_words(server: Vcsim, session: Session) -> None:
    said = "The host does not have sufficient memory to satisfy the reservation."
    kind = "InsufficientMemoryResourcesFault"
    server.control(faults=[{"method": "ResetVM_Task", "fault": kind, "message": said}])
    with pytest.raises(VcenterFault) as caught:
        machine_of(session).reset()
    assert f"refused reset of {PATH}: {said} ({kind})" in str(caught.value)
    assert caught.value.fault == kind


def test_an_answer_that_cannot_be_read_spoils_no_other_task(server: Vcsim, session: Session) -> None:
    """As from a vCenter that is newer than pyvmomi."""
    server.control(
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


def test_a_task_that_takes_too_long_is_cancelled(server: Vcsim, session: Session) -> None:
    server.control(work={"ResetVM_Task": LONG})
    with pytest.raises(TimedOut, match=rf"waited 3 s for power; last seen: reset of {PATH}: running.*; canc"):
        machine_of(session, power=3).reset()
    assert len(server.calls("CancelTask")) == 1


def test_a_task_that_cannot_be_cancelled_goes_on(server: Vcsim, session: Session) -> None:
    server.control(work={"PowerOffVM_Task": 4.0}, stuck=True)
    machine = machine_of(session, power=2)
    with pytest.raises(TimedOut, match="it goes on in the vCenter"):
        machine.power_off()
    until(lambda: machine.power_state() is PowerState.OFF)


def test_the_caller_may_give_up(server: Vcsim, session: Session) -> None:
    server.control(work={"PowerOffVM_Task": LONG})
    cancel = threading.Event()
    vm = find.machine(session, PATH)
    with pytest.raises(Cancelled, match=r"power off of it was given up \(running, \d+ %; cancelled\)"):
        Tasks(session).run(
            vm.PowerOffVM_Task, "power off of it", LONG, cancel=cancel, on_progress=lambda _: cancel.set()
        )
    assert session.read(lambda: str(vm.runtime.powerState)) == "poweredOn"


def test_the_session_may_be_lost_while_a_task_runs(server: Vcsim, session: Session) -> None:
    server.control(work={"PowerOffVM_Task": 3.0})
    lost = threading.Event()

    def lose(_: int) -> None:
        if not lost.is_set():
            lost.set()
            server.forget_sessions()

    vm = find.machine(session, PATH)
    Tasks(session).run(vm.PowerOffVM_Task, "power off of it", LONG, on_progress=lose)
    assert lost.is_set() and len(server.calls("Login")) == 2
    assert session.read(lambda: str(vm.runtime.powerState)) == "poweredOff"


def test_a_server_that_dies_in_the_midst_of_a_task(
    server: Vcsim, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "LOST_SECONDS", 2)
    server.control(work={"PowerOffVM_Task": LONG})
    vm = find.machine(session, PATH)
    with pytest.raises(InfrastructureError, match=r"^off: .*could not be reached: .*last seen: running"):
        Tasks(session).run(vm.PowerOffVM_Task, "off", LONG, on_progress=lambda _: server.kill())


def test_a_server_that_restarts_in_the_midst_of_a_task(server: Vcsim, session: Session) -> None:
    server.control(work={"PowerOffVM_Task": LONG})
    vm = find.machine(session, PATH)
    restarted = threading.Event()

    def restart(_: int) -> None:
        if not restarted.is_set():
            restarted.set()
            server.kill()
            server.start()

    with pytest.raises(InfrastructureError, match=r"^off: the vCenter does not know this task any more"):
        Tasks(session).run(vm.PowerOffVM_Task, "off", LONG, on_progress=restart)
    assert restarted.is_set()


# The machine


def test_it_is_what_it_says(session: Session) -> None:
    machine = machine_of(session)
    for capability in (Machine, Restorable, Screen, Interference):
        assert isinstance(machine, capability)


def test_power(server: Vcsim, session: Session) -> None:
    machine = machine_of(session)
    assert machine.power_state() is PowerState.ON
    machine.power_on()  # already: no error
    machine.power_off()
    assert machine.power_state() is PowerState.OFF
    machine.power_off()
    for refused in (machine.reset, machine.interrupt, machine.screenshot):
        with pytest.raises(
            VcenterFault, match=r"cannot be performed in the current state.*InvalidPowerState"
        ):
            refused()
    machine.power_on()
    machine.reset()
    machine.interrupt()
    assert machine.power_state() is PowerState.ON
    assert server.calls("SendNMI")[-1] == ("SendNMI", NAME)


def test_a_power_fault_that_is_none_of_these(server: Vcsim, session: Session) -> None:
    """InvalidPowerState for another reason than that it is on already is an error."""
    machine = machine_of(session)
    machine.power_off()
    server.control(faults=[{"method": "PowerOnVM_Task", "fault": "InvalidPowerState", "message": "busy"}])
    with pytest.raises(VcenterFault, match=r"power on of .*: busy \(InvalidPowerState\)"):
        machine.power_on()


def test_a_template_cannot_be_powered(session: Session) -> None:
    with pytest.raises(VcenterFault, match=r"refused power on of ws2019: .*\(InvalidState\)"):
        machine_of(session, "ws2019").power_on()


def test_a_suspended_machine_is_off(session: Session) -> None:
    machine = machine_of(session)
    vm = find.machine(session, PATH)
    machine.vcenter.tasks.run(vm.SuspendVM_Task, "suspend", LONG)
    assert machine.power_state() is PowerState.OFF


def test_a_question_that_nobody_answers(server: Vcsim, session: Session) -> None:
    server.control(work={"PowerOffVM_Task": LONG}, question="Was it moved\n or copied?")
    with pytest.raises(TimedOut, match=r"waits for an answer to: Was it moved or copied\?") as caught:
        machine_of(session, power=2).power_off()
    assert "Answer" in caught.value.help


def cpus(session: Session, change: int | None = None) -> int:
    vm = find.machine(session, PATH)
    if change is not None:
        spec = vim.vm.ConfigSpec(numCPUs=change)
        Tasks(session).run(lambda: vm.ReconfigVM_Task(spec), "reconfiguration", LONG)
    return int(session.read(lambda: vm.config.hardware.numCPU))


def test_checkpoints_without_memory(server: Vcsim, session: Session) -> None:
    machine = machine_of(session)
    before = cpus(session)
    machine.checkpoint("baseline")
    cpus(session, before + 3)
    server.control(work={"RevertToSnapshot_Task": 1.0})
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
    server: Vcsim, session: Session
) -> None:
    machine = machine_of(session)
    machine.checkpoint("live", memory=True)
    server.control(reluctant=True)
    machine.restore("live")
    assert machine.power_state() is PowerState.ON


def test_a_restore_that_fails_is_no_restore(server: Vcsim, session: Session) -> None:
    machine = machine_of(session)
    machine.checkpoint("baseline")
    said = "A file of the snapshot was not found."
    server.control(faults=[{"method": "RevertToSnapshot_Task", "fault": "FileNotFound", "message": said}])
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


def test_the_address_is_what_tools_tell(server: Vcsim, session: Session) -> None:
    server.control(behind={NAME: {"address": "192.0.2.7"}})
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
def test_link_local_addresses_are_none(server: Vcsim, session: Session, address: str) -> None:
    server.control(behind={NAME: {"address": address}})
    machine = machine_of(session, tools=0.5)
    machine.reset()
    with pytest.raises(TimedOut, match=address):
        machine.address()


def test_a_screenshot_is_taken_and_leaves_nothing_behind(server: Vcsim, session: Session) -> None:
    machine = machine_of(session)
    assert machine.screenshot().startswith(b"\x89PNG")
    assert len(server.calls("DeleteDatastoreFile_Task")) == 1
    left = f"/folder/{NAME}/{NAME}-1.png?dcPath=DC0&dsName=LocalDS_0"
    with session.get(left) as answer:
        assert answer.status == 404
    server.forget_sessions()
    with session.get(f"/folder/{NAME}/{NAME}.vmx?dcPath=DC0&dsName=LocalDS_0") as answer:
        assert answer.status == 200  # logged on again


def test_a_machine_that_is_gone(server: Vcsim, session: Session) -> None:
    machine = machine_of(session)
    machine.power_off()
    vm = find.machine(session, PATH)
    machine.vcenter.tasks.run(vm.Destroy_Task, "removal", LONG)
    with pytest.raises(ConfigurationError, match=f"there is no '{NAME}' in /DC0/vm"):
        machine.power_state()


def test_who_resets_a_crashed_guest(tmp_path: Path) -> None:
    with running(tmp_path, monitoring="vmMonitoringOnly") as server:
        session = session_of(server)
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
    server: Vcsim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VC_PASSWORD", PASSWORD)
    path = tmp_path / "lab.yaml"
    text = INVENTORY.format(url=server.url, user=USER) + HOST.format(name="one") + HOST.format(name="two")
    path.write_text(text)
    inventory = load([path])
    machines = [open_machine(inventory.host(name)) for name in ("one", "two")]
    assert [machine.power_state() for machine in machines] == [PowerState.ON] * 2
    assert machines[0].address() == "192.0.2.1"
    assert len(server.calls("Login")) == 1
    close_all()
    assert len(server.calls("Logout")) == 1


# What stands behind a machine


def test_what_stands_behind_a_machine_follows_its_power(server: Vcsim, session: Session) -> None:
    told: list[tuple[str, str, str]] = []

    class Controller(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.append((self.path, str(self.headers["Authorization"]), json.loads(body)["ResetType"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Controller) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{other.server_port}/reset"
        server.control(behind={NAME: {"url": url, "user": "bmc", "password": "p"}})
        machine = machine_of(session)
        machine.checkpoint("live", memory=True)
        machine.interrupt()
        machine.reset()
        machine.power_off()
        machine.power_on()
        machine.restore("live")
        other.shutdown()
    assert [kind for _, _, kind in told] == ["Nmi", "ForceRestart", "ForceOff", "On", "ForceOff", "On"]
    assert {(path, who) for path, who, _ in told} == {("/reset", "Basic Ym1jOnA=")}
