"""Clones against a simulated vCenter: full, linked, customized, twenty at once.

Not proven by it: that Sysprep accepts the answers and the guest does what they say (the guest is played by
`vsphere_clones.guest`), that ESXi takes the devices and serves the serial port, that disks of linked clones
have the content of their snapshot, and how a vCenter that runs out of space in mid-clone puts it.
"""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyVmomi", reason="no pyvmomi: install the extra 'vsphere'")

from pyVmomi import vim
from vcsim import Vcsim
from vsphere_clones import (
    LAB,
    RUN,
    TOLD,
    TOMORROW,
    answering,
    clones_of,
    customized,
    guest,
    linked,
    machines,
    order,
    told_certificate,
)
from vsphere_lab import machine_of, running, session_of

from lab.machines import first_boot
from lab.machines.vsphere import Session, find, marks
from lab.machines.vsphere.customize import SCRIPT_KEY
from lab.machines.vsphere.place import Serial
from lab.machines.vsphere.reap import Known, reap
from lab.model import InfrastructureError, PowerState, TimedOut

NETWORK = "VM Network"
NOW = datetime.now(UTC)


def disk(session: Session, vm: Any) -> Any:
    devices = session.read(lambda: vm.config.hardware.device)
    return next(each for each in devices if isinstance(each, vim.vm.device.VirtualDisk)).backing


def test_a_full_clone_is_a_machine_of_its_own(vcenter: Vcsim, session: Session) -> None:
    answering(vcenter, "srv1")
    intended: list[str] = []
    made = clones_of(session).make(order(), RUN, TOMORROW, intend=intended.append)
    assert made.path == "/DC0/vm/templates/srv1" and made.address == "192.0.2.1" and not made.certificate
    assert intended == [made.path]
    vm = find.machine(session, made.uuid)
    assert vm == find.machine(session, made.path)
    assert disk(session, vm).parent is None
    assert not session.read(lambda: vm.config.template)
    assert machine_of(session, made.path).power_state() is PowerState.ON


def test_a_linked_clone_stands_on_the_snapshots_disk(vcenter: Vcsim, session: Session) -> None:
    answering(vcenter, "srv1")
    made = clones_of(session).make(linked(), RUN, TOMORROW)
    source = disk(session, find.machine(session, "ws2019"))
    own = disk(session, find.machine(session, made.path))
    assert own.parent.fileName == source.fileName != own.fileName


def test_a_clone_is_made_as_ordered(vcenter: Vcsim, session: Session) -> None:
    answering(vcenter, "srv1")
    made = clones_of(session).make(
        linked(
            folder="/DC0/vm",
            datastore="LocalDS_0",
            network=NETWORK,
            cpus=4,
            memory_mb=512,
            firmware="efi",
            secure_boot=False,
            serial=Serial("telnet://:2300"),
            extra={"monitor_control.enable_softResetClearTSC": "TRUE"},
        ),
        RUN,
        TOMORROW,
    )
    assert made.path == "/DC0/vm/srv1"
    vm = find.machine(session, made.path)
    config = session.read(lambda: vm.config)
    assert (config.hardware.numCPU, config.hardware.memoryMB, config.firmware) == (4, 512, "efi")
    assert config.bootOptions.efiSecureBootEnabled is False
    extra = {each.key: each.value for each in config.extraConfig}
    assert extra["monitor_control.enable_softResetClearTSC"] == "TRUE"
    (card,) = [each for each in config.hardware.device if isinstance(each, vim.vm.device.VirtualEthernetCard)]
    assert card.backing.deviceName == NETWORK
    (port,) = [each for each in config.hardware.device if isinstance(each, vim.vm.device.VirtualSerialPort)]
    assert (port.backing.serviceURI, port.backing.direction) == ("telnet://:2300", "server")
    assert port.backing.proxyURI is None


@pytest.mark.slow
def test_the_life_of_twenty_linked_clones_at_once(tmp_path: Path) -> None:
    names = [f"srv{n}" for n in range(1, 21)]
    with running(tmp_path, templates=["ws2019"]) as vcenter:
        answering(vcenter, *names)
        vcenter.control(work={"CloneVM_Task": 1.0})
        session = session_of(vcenter)
        clones = clones_of(session)
        before = machines(session)
        progress: dict[str, list[int]] = {name: [] for name in names}

        def live(name: str) -> str:
            made = clones.make(linked(name), RUN, TOMORROW, on_progress=progress[name].append)
            machine = machine_of(session, made.path)
            machine.checkpoint("baseline", memory=True)
            machine.power_off()
            machine.restore("baseline")
            assert machine.power_state() is PowerState.ON
            assert marks.mark_of(session, find.machine(session, made.path)) is not None
            assert clones.unmake(made.path)
            return made.address

        with ThreadPoolExecutor(20) as pool:
            addresses = list(pool.map(live, names))
        assert len(set(addresses)) == 20
        assert machines(session) == before
        assert reap(clones.vcenter, LAB, lambda: Known(frozenset()), NOW) == ()
        for each in progress.values():
            assert each[-1] == 100 and each == sorted(each)
        assert len(vcenter.calls("CloneVM_Task")) == len(vcenter.calls("Destroy_Task")) == 20
        assert len(vcenter.calls("AddCustomFieldDef")) >= 4  # several at once may try; one of each holds
        fields = session.read(lambda: session.content.customFieldsManager.field)
        assert sorted(each.name for each in fields) == [
            f"bugcheck-lab.{field}" for field in ("host", "owner", "run", "until")
        ]
        session.close()


# Sysprep


def test_a_customized_clone_is_made_when_its_guest_says_so(vcenter: Vcsim, session: Session) -> None:
    answering(vcenter, "srv1")
    with guest(session, "srv1", vim.event.CustomizationSucceeded(), **told_certificate()):
        made = clones_of(session).make(customized(), RUN, TOMORROW)
    assert made.certificate.startswith("-----BEGIN CERTIFICATE-----\n")
    assert base64.b64decode("".join(made.certificate.splitlines()[1:-1])) == TOLD
    vm = find.machine(session, made.path)
    extra = session.read(lambda: {each.key: each.value for each in vm.config.extraConfig})
    assert base64.b64decode(extra[SCRIPT_KEY]).decode() == first_boot.script()


def test_a_customization_that_fails_says_why_and_leaves_nothing(vcenter: Vcsim, session: Session) -> None:
    answering(vcenter, "srv1")
    failed = vim.event.CustomizationSysprepFailed(
        sysprepVersion="10.0",
        systemVersion="10.0",
        fullFormattedMessage="Sysprep has no licence.\n",
        logLocation="C:\\x",
    )
    with guest(session, "srv1", failed), pytest.raises(InfrastructureError) as caught:
        clones_of(session).make(customized(), RUN, TOMORROW)
    assert caught.value.message == (
        "the customization of /DC0/vm/templates/srv1 failed: Sysprep has no licence. "
        "(CustomizationSysprepFailed)"
    )
    assert "srv1" not in machines(session)


def test_a_first_log_on_that_fails_says_why(vcenter: Vcsim, session: Session) -> None:
    answering(vcenter, "srv1")
    succeeded = vim.event.CustomizationSucceeded()
    with (
        guest(session, "srv1", succeeded, trouble="New-SelfSignedCertificate: access denied"),
        pytest.raises(InfrastructureError, match=r"could not open WinRM at its first log-on: New-S.*denied"),
    ):
        clones_of(session).make(customized(), RUN, TOMORROW)
    assert "srv1" not in machines(session)


def test_waits_name_what_they_last_saw(vcenter: Vcsim, session: Session) -> None:
    vcenter.control(behind={"srv1": {"noTools": True}})
    with pytest.raises(TimedOut, match=r"0\.5 s for tools; last seen: .*srv1: VMware Tools are guestTools"):
        clones_of(session, tools=0.5).make(linked(), RUN, TOMORROW)
    with pytest.raises(TimedOut, match=r"0\.5 s for customization; last seen: .*no event on how it ended"):
        clones_of(session, customization=0.5).make(customized(), RUN, TOMORROW)
    answering(vcenter, "srv1")
    with (
        guest(session, "srv1", vim.event.CustomizationSucceeded()),
        pytest.raises(TimedOut, match=r"1 s for first_boot; last seen: .*has not told the certificate"),
    ):
        clones_of(session, first_boot=1).make(customized(), RUN, TOMORROW)
    assert "srv1" not in machines(session)


def test_passwords_stand_in_no_error_and_no_record(vcenter: Vcsim, session: Session) -> None:
    wanted = customized()
    assert wanted.customization is not None
    password = wanted.customization.administrator_password
    assert password.reveal() not in repr(wanted)
    for fault in ("CustomizationFault", "NicSettingMismatch", "InvalidRequest"):
        vcenter.control(faults=[{"method": "CloneVM_Task", "fault": fault, "message": "no"}])
        with pytest.raises(InfrastructureError) as caught:
            clones_of(session).make(wanted, RUN, TOMORROW)
        seen: BaseException | None = caught.value
        while seen is not None:
            assert password.reveal() not in f"{seen!r} {seen} {getattr(seen, 'help', '')}"
            seen = seen.__cause__ or seen.__context__
    assert password.reveal() not in (vcenter.folder / "record").read_text()
