"""The simulated vCenter itself: what the other tests rely on beyond govmomi's simulator."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyVmomi", reason="no pyvmomi: install the extra 'vsphere'")
pytest.importorskip("impacket", reason="no twin: install the extra 'twin'")

from pyVmomi import vim
from vcsim import Vcsim, redfish
from vsphere_lab import LONG, NAME, PATH, machine_of, until

from lab.machines.vsphere import Session, Tasks, VcenterFault, find
from lab.twin.server import Twin, TwinSettings


def clone(session: Session, name: str, **change: Any) -> Any:
    """A linked clone of ws2019."""
    template = find.template(session, "ws2019")
    where = vim.vm.RelocateSpec(
        pool=find.resource_pool(session, "/DC0/host/DC0_C0/Resources"),
        diskMoveType="createNewChildDiskBacking",
    )
    settings = {"snapshot": find.snapshot(session, template, "base").snapshot, "powerOn": True} | change
    spec = vim.vm.CloneSpec(location=where, template=False, **settings)
    folder = find.folder(session, "/DC0/vm")
    return Tasks(session).run(lambda: template.CloneVM_Task(folder, name, spec), f"clone {name}", LONG)


def disk_of(session: Session, vm: Any) -> Any:
    devices = session.read(lambda: vm.config.hardware.device)
    (disk,) = [each for each in devices if isinstance(each, vim.vm.device.VirtualDisk)]
    return disk.backing


def test_clones_have_disks_of_their_own_and_leave_their_source_alone(session: Session) -> None:
    made = [clone(session, name) for name in ("one", "two")]
    source = "[LocalDS_0] ws2019/ws2019.vmdk"
    assert [disk_of(session, vm).fileName for vm in made] == [
        f"[LocalDS_0] {n}/{n}.vmdk" for n in ("one", "two")
    ]
    assert [disk_of(session, vm).parent.fileName for vm in made] == [source] * 2
    assert disk_of(session, find.template(session, "ws2019")).fileName == source
    assert {str(session.read(lambda vm=vm: vm.runtime.powerState)) for vm in made} == {"poweredOn"}


def test_a_clone_is_what_was_asked_for(session: Session) -> None:
    option = vim.option.OptionValue(key="a.b", value="c")
    config = vim.vm.ConfigSpec(numCPUs=4, memoryMB=2048, firmware="efi", extraConfig=[option])
    vm = clone(session, "one", config=config)
    made = session.read(lambda: vm.config)
    assert (made.hardware.numCPU, made.hardware.memoryMB, made.firmware) == (4, 2048, "efi")
    assert "c" in {each.value for each in made.extraConfig if each.key == "a.b"}


def test_a_name_that_is_taken(session: Session) -> None:
    clone(session, "one")
    with pytest.raises(VcenterFault, match=r"The name 'one' already exists\. \(DuplicateName\)"):
        clone(session, "one")
    assert len([n for n in find._names(session, "virtual machine") if n == "one"]) == 1


def test_a_running_machine_cannot_be_removed(session: Session) -> None:
    vm = find.machine(session, PATH)
    with pytest.raises(VcenterFault, match=r"\(InvalidPowerState\)"):
        Tasks(session).run(vm.Destroy_Task, "removal", LONG)
    assert find.machine(session, NAME) == vm


def test_files_are_not_handed_out_to_strangers(vcenter: Vcsim, session: Session) -> None:
    path = f"/folder/{NAME}/{NAME}.vmx?dcPath=DC0&dsName=LocalDS_0"
    session.get(path).close()
    session.close()
    asked = len(vcenter.calls("Login"))
    with session.get(path) as answer:
        assert answer.status == 200
    assert len(vcenter.calls("Login")) == asked + 1  # it was refused at first


def test_what_stands_behind_a_machine_follows_its_power(vcenter: Vcsim, session: Session) -> None:
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
        vcenter.control(behind={NAME: {"url": url, "user": "bmc", "password": "p"}})
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


def test_a_twin_behind_a_machine_is_powered_and_interrupted_with_it(
    vcenter: Vcsim, session: Session, tmp_path: Path
) -> None:
    twin = Twin(TwinSettings(state=tmp_path / "twin", password="Twin-1", speed=60))
    ends = twin.start()
    try:
        other = redfish(ends.redfish_url, ends.system_id, ends.user, "Twin-1", ends.ca_file, ends.host)
        vcenter.control(behind={NAME: other})
        machine = machine_of(session)
        until(lambda: answers(ends.winrm_port))
        machine.power_off()
        assert not answers(ends.winrm_port)
        machine.power_on()
        until(lambda: answers(ends.winrm_port))
        assert machine.address() == ends.host
        machine.interrupt()  # stops with 0x80, and boots again
        until(lambda: not answers(ends.winrm_port))
        until(lambda: answers(ends.winrm_port))
    finally:
        twin.stop()


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
