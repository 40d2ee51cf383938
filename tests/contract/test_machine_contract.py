"""The contract of machines, run for every back end against servers of other people's.

To add a back end: one class with one fixture that yields a Rig.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "twin"))
sys.path.insert(0, str(Path(__file__).parents[1] / "servers"))

from machine_contract import LONG, MachineContract, Rig
from power_commands import COMPUTER, SWITCH

from lab.inventory import Timeouts
from lab.machines import BootDevice
from lab.machines.fixed import FixedMachine
from lab.machines.redfish import RedfishMachine
from lab.model import Bugcheck, InfrastructureError, SystemClock

NOWHERE = 9
"""The discard port, which nobody serves."""


class TestFixed(MachineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def rig(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
        folder = tmp_path_factory.mktemp("fixed")
        switch = folder / "switch.py"
        switch.write_text(SWITCH)
        (folder / "machine.py").write_text(COMPUTER)
        for name in ("boots", "nmis"):
            (folder / name).touch()

        def command(what: str) -> list[str]:
            return [sys.executable, str(switch), str(folder), what]

        machine = FixedMachine(
            "desk",
            "192.0.2.3",
            **{what: command(what) for what in ("on", "off", "interrupt", "state")},  # type: ignore[arg-type]
            seconds=LONG,
        )
        yield Rig(
            machine,
            "192.0.2.3",
            powered=lambda: bool(subprocess.run(command("state"), capture_output=True).stdout == b"on\n"),
            boots=lambda: len((folder / "boots").read_text()),
            gone=lambda: FixedMachine("far", "", state=["sleep", "100"], seconds=0.3),
            nmis=lambda: len((folder / "nmis").read_text()),
        )
        if (pid := folder / "pid").exists():
            os.kill(int(pid.read_text()), signal.SIGKILL)


class TestRedfish(MachineContract):
    """sushy-tools' emulator over TLS. It offers Nmi, and answers 501."""

    @pytest.fixture(scope="class")
    @classmethod
    def rig(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
        pytest.importorskip("sushy_tools", reason="no sushy-tools: install the extra 'twin'")
        from redfish_emulator import ADDRESS, PASSWORD, Emulator, images

        emulator = Emulator(tmp_path_factory.mktemp("redfish"))
        emulator.start()
        try:
            with images(tmp_path_factory.mktemp("images"), "one.iso", "two.iso") as server:
                yield Rig(
                    emulator.machine(),
                    ADDRESS,
                    powered=emulator.powered,
                    boots=emulator.boots,
                    gone=lambda: emulator.machine(url=f"https://127.0.0.1:{NOWHERE}"),
                    secret=PASSWORD,
                    boot_device=lambda: str(emulator.seen()["Boot"]["BootSourceOverrideTarget"]),
                    boot_names={BootDevice.CD: "Cd", BootDevice.PXE: "Pxe", BootDevice.DISK: "Hdd"},
                    images=(f"{server}/one.iso", f"{server}/two.iso"),
                    missing_image=f"{server}/missing.iso",
                    drive=emulator.image,
                )
        finally:
            emulator.kill()


class TestTwin(MachineContract):
    """The twin's management controller, whose NMI does something."""

    @pytest.fixture(scope="class")
    @classmethod
    def rig(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
        pytest.importorskip("sushy_tools", reason="no sushy-tools: install the extra 'twin'")
        from redfish_emulator import images
        from twin_client import PASSWORD, SPEED, Running

        from lab.twin.server import Twin, TwinSettings

        state = tmp_path_factory.mktemp("twin")
        twin = Twin(TwinSettings(state=state, password=PASSWORD, speed=SPEED))
        running = Running(twin, twin.start(), state)
        running.wait_boot(seconds=LONG)
        ends = running.ends

        def machine(url: str = ends.redfish_url) -> RedfishMachine:
            return RedfishMachine(
                url,
                user=ends.user,
                password=PASSWORD,
                ca_file=Path(ends.ca_file),
                system=ends.system_id,
                address="192.0.2.4",
                connect_seconds=5,
            )

        def boots() -> int:
            """By the guest's own count, for which it must be up."""
            return int(running.wait_boot(seconds=LONG)["bootId"]) if powered() else seen[-1]

        def powered() -> bool:
            return bool(running.system().power_state.value == "On")

        def counted() -> int:
            seen.append(boots())
            return seen[-1]

        def nmis() -> int:
            counted()
            events = running.script("Get-LabBugcheck", AfterRecord=0)
            return sum(event["eventId"] == 1001 and event["code"] == 0x80 for event in events)

        seen = [boots()]
        try:
            with images(tmp_path_factory.mktemp("images"), "one.iso", "two.iso") as server:
                drive = _drive_of(running)
                yield Rig(
                    machine(),
                    "192.0.2.4",
                    powered=powered,
                    boots=counted,
                    gone=lambda: machine(f"https://127.0.0.1:{NOWHERE}"),
                    secret=PASSWORD,
                    nmis=nmis,
                    boot_device=lambda: str(running.system().boot.target.value),
                    boot_names={BootDevice.CD: "Cd", BootDevice.PXE: "Pxe", BootDevice.DISK: "Hdd"},
                    images=(f"{server}/one.iso", f"{server}/two.iso"),
                    missing_image=f"{server}/missing.iso",
                    drive=drive,
                )
        finally:
            twin.stop()


class TestIpmiSim(MachineContract):
    """OpenIPMI's simulator: no NMI, and no boot override that it holds."""

    @pytest.fixture(scope="class")
    @classmethod
    def rig(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
        pytest.importorskip("pyghmi", reason="no pyghmi: install the extra 'ipmi'")
        from ipmi_sims import ADDRESS, PASSWORD, Sim, missing

        if reason := missing():
            pytest.skip(reason)
        sim = Sim(tmp_path_factory.mktemp("sim"))
        sim.start()
        try:
            yield Rig(
                sim.machine(),
                ADDRESS,
                powered=sim.powered,
                boots=sim.boots,
                gone=lambda: sim.machine(port=NOWHERE),
                secret=PASSWORD,
            )
        finally:
            sim.kill()
            sim.serial.close()


class TestIpmiBmc(MachineContract):
    """pyghmi's own server: NMI and boot override, no console."""

    @pytest.fixture(scope="class")
    @classmethod
    def rig(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
        pytest.importorskip("pyghmi", reason="no pyghmi: install the extra 'ipmi'")
        from ipmi_sims import ADDRESS, PASSWORD, Bmc

        bmc = Bmc(tmp_path_factory.mktemp("bmc"))
        bmc.start()
        try:
            yield Rig(
                bmc.machine(),
                ADDRESS,
                powered=bmc.powered,
                boots=bmc.boots,
                gone=lambda: bmc.machine(port=NOWHERE),
                secret=PASSWORD,
                nmis=bmc.nmis,
                boot_device=bmc.boot_device,
                boot_names={BootDevice.CD: "optical", BootDevice.PXE: "network", BootDevice.DISK: "hd"},
            )
        finally:
            bmc.kill()

    def test_a_console_echoes_and_has_one_holder(self, rig: Rig) -> None:
        """There is none here, and it says so."""
        opening = rig.machine.console()  # type: ignore[attr-defined]
        with pytest.raises(InfrastructureError, match="opened no console: SOL is disabled"), opening:
            pass


class TestVsphere(MachineContract):
    """A virtual machine of a simulated vCenter."""

    @pytest.fixture(scope="class")
    @classmethod
    def rig(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
        pytest.importorskip("pyVmomi", reason="no pyvmomi: install the extra 'vsphere'")
        from vcsim import PASSWORD
        from vsphere_lab import NAME, PATH, running, session_of

        from lab.machines.vsphere import Tasks, Vcenter
        from lab.machines.vsphere.machine import VsphereMachine

        with running(tmp_path_factory.mktemp("vcenter")) as vcenter:
            observer = session_of(vcenter)

            def machine() -> VsphereMachine:
                session = session_of(vcenter)
                timeouts = Timeouts(power=LONG, checkpoint=LONG, poll=0.05)
                return VsphereMachine(
                    Vcenter(session, Tasks(session)),
                    PATH,
                    address="192.0.2.5",
                    timeouts=timeouts,
                    clock=SystemClock(),
                )

            def gone() -> VsphereMachine:
                port, vcenter.port = vcenter.port, NOWHERE
                try:
                    return machine()
                finally:
                    vcenter.port = port

            def powered() -> bool:
                vm = observer.content.searchIndex.FindByInventoryPath(PATH.strip("/"))
                return bool(vm.runtime.powerState == "poweredOn")

            def boots() -> int:
                """By the calls that reached it: the simulator keeps no events of power."""
                found, on = 0, True
                for method, name in vcenter.calls():
                    if name == NAME and method in ("PowerOnVM_Task", "PowerOffVM_Task", "ResetVM_Task"):
                        found += on if method == "ResetVM_Task" else method == "PowerOnVM_Task" and not on
                        on = on if method == "ResetVM_Task" else method == "PowerOnVM_Task"
                return found

            def stop(bugcheck: Bugcheck) -> None:
                """As ESXi writes it down: code and parameters are synthetic MSRs of the guest."""
                vm = observer.content.searchIndex.FindByInventoryPath(PATH.strip("/"))
                at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
                with (Path(vm.datastore[0].summary.url) / NAME / "vmware.log").open("a") as log:
                    for number, value in enumerate((bugcheck.code, *bugcheck.parameters)):
                        register = f"Synthetic MSR[{0x40000100 + number:#x}]"
                        log.write(f"{at} Wa(03) vcpu-1 - WinBSOD: {register} {value:#x}\n")

            one = machine()
            try:
                yield Rig(
                    one,
                    "192.0.2.5",
                    powered=powered,
                    boots=boots,
                    gone=gone,
                    secret=PASSWORD,
                    nmis=lambda: vcenter.calls("SendNMI").count(("SendNMI", NAME)),
                    stop=stop,
                )
            finally:
                one.vcenter.session.close()
                observer.close()


def _drive_of(running: Any) -> Callable[[], str]:
    """The image in the twin's virtual CD drive, by sushy itself."""

    def image() -> str:
        for drive in running.system().managers[0].virtual_media.get_members():
            if drive.identity == "Cd":
                return str(drive.image) if drive.inserted else ""
        raise AssertionError("no drive")

    return image
