"""A virtual machine of a vCenter: power, NMI, checkpoints, screen, and who else might reset it."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from pyVmomi import vim

from lab.inventory import Host, Timeouts
from lab.inventory import VsphereMachine as Settings
from lab.machines.port import Checkpoint, OutOfBandStop
from lab.machines.vsphere import Vcenter, VcenterFault, connect, crashes, find
from lab.machines.vsphere.faults import LOST
from lab.model import Clock, ConfigurationError, InfrastructureError, PowerState, TimedOut, wait_until

T = TypeVar("T")

MOST_SCREENSHOT = 32 << 20
"""Bytes. A picture of 8 million pixels has fewer."""

NO_ADDRESS = "See whether VMware Tools start and its network gives it an address, or raise 'tools'."

PNG = b"\x89PNG\r\n\x1a\n"

_STATES = {"poweredOn": PowerState.ON, "poweredOff": PowerState.OFF, "suspended": PowerState.OFF}


class VsphereMachine:
    """See `lab.machines.port`: Machine, Restorable, Screen, Witness and Interference.

    Each request is a task of the vCenter, which has ended when the call returns.
    """

    def __init__(
        self,
        vcenter: Vcenter,
        wanted: str,
        *,
        address: str,
        timeouts: Timeouts,
        clock: Clock,
        name: str = "NAME",
    ) -> None:
        """`wanted` as in `find.machine`. `address` "" leaves the guest's address to VMware Tools. `name` is
        the host's, for help."""
        self.vcenter = vcenter
        self._wanted = wanted
        self._address = address
        self._timeouts = timeouts
        self._clock = clock
        self._name = name
        self._found: Any = None

    def power_state(self) -> PowerState:
        """Off also for a suspended machine; unknown when the ESXi host is away."""
        runtime = self._read(lambda vm: vm.runtime, "the power state")
        if str(runtime.connectionState) not in ("connected", "None"):
            return PowerState.UNKNOWN
        return _STATES.get(str(runtime.powerState), PowerState.UNKNOWN)

    def power_on(self) -> None:
        self._switch(lambda vm: vm.PowerOnVM_Task(), "power on", PowerState.ON)

    def power_off(self) -> None:
        self._switch(lambda vm: vm.PowerOffVM_Task(), "power off", PowerState.OFF)

    def reset(self) -> None:
        self._task(lambda vm: vm.ResetVM_Task(), "reset", "power", self._timeouts.power)

    def interrupt(self) -> None:
        vm = self._vm()
        with self._noticing_loss():
            self.vcenter.session.act(vm.SendNMI, f"the NMI for {self._wanted}")

    def address(self) -> str:
        """The host's own of the inventory, else what VMware Tools report (see `guest_address`)."""
        return self._address or self.guest_address()

    def guest_address(self) -> str:
        """An address of the running guest that is not link-local; waits for VMware Tools to tell one.

        Raises TimedOut after the time-out `tools`.
        """
        seen = "nothing"

        def look() -> str | None:
            nonlocal seen
            guest = self._read(lambda vm: vm.guest, "what VMware Tools report")
            told = [guest.ipAddress, *(each for card in guest.net for each in card.ipAddress)]
            addresses = list(dict.fromkeys(each for each in told if each))
            seen = f"VMware Tools are {guest.toolsRunningStatus}, addresses: {', '.join(addresses) or 'none'}"
            return next((each for each in addresses if _routable(each)), None)

        limit, every = self._timeouts.tools, self._timeouts.poll
        try:
            return wait_until(look, wait="tools", seconds=limit, clock=self._clock, every=every)
        except TimedOut:
            raise TimedOut("tools", limit, f"{self._wanted}: {seen}", help=NO_ADDRESS) from None

    # Restorable

    def checkpoint(self, name: str, *, memory: bool = False) -> None:
        if any(each.name == name for each in self.checkpoints()):
            raise ConfigurationError(
                f"{self._wanted} has a checkpoint '{name}' already", help="Remove it, or take another name."
            )
        memory = memory and self.power_state() is PowerState.ON
        made = "made by Bugcheck Lab"
        self._slowly(lambda vm: vm.CreateSnapshot_Task(name, made, memory, False), f"checkpoint '{name}'")

    def restore(self, name: str) -> None:
        checkpoint, node = self._checkpoint(name)
        self._slowly(lambda vm: node.snapshot.RevertToSnapshot_Task(), f"restore of '{name}'")
        if self.power_state() is not checkpoint.power:
            self.power_on() if checkpoint.power is PowerState.ON else self.power_off()

    def checkpoints(self) -> tuple[Checkpoint, ...]:
        found = [_checkpoint(node, files) for node, files in self._nodes()]
        return tuple(sorted(found, key=lambda each: each.at.timestamp() if each.at else 0))

    def remove_checkpoint(self, name: str) -> None:
        _, node = self._checkpoint(name)
        self._slowly(lambda vm: node.snapshot.RemoveSnapshot_Task(False), f"removal of checkpoint '{name}'")

    def _checkpoint(self, name: str) -> tuple[Checkpoint, Any]:
        node = find.snapshot(self.vcenter.session, self._vm(), name)
        files = next(files for each, files in self._nodes() if each.snapshot == node.snapshot)
        return _checkpoint(node, files), node

    def _nodes(self) -> list[tuple[Any, Any]]:
        """Every node of the snapshot tree with what its files are, if the vCenter says so."""
        layout = self._read(lambda vm: vm.layoutEx, "the list of its files")
        files = {each.key: each for each in (layout.snapshot if layout else ())}
        nodes = find.snapshots(self.vcenter.session, self._vm())
        return [(node, files.get(node.snapshot)) for _, node in nodes]

    # Screen

    def screenshot(self) -> bytes:
        session = self.vcenter.session
        made = self._task(lambda vm: vm.CreateScreenshot_Task(), "screenshot", "power", self._timeouts.power)
        datacenter = find.datacenter_of(session, self._vm())
        try:
            picture = self._picture(str(made), find.path_of(session, datacenter).strip("/"))
        finally:  # it lies in the machine's own folder, and would stay there
            delete = session.content.fileManager.DeleteDatastoreFile_Task
            about = f"removal of {made}"
            self.vcenter.tasks.run(lambda: delete(made, datacenter), about, self._timeouts.power)
        return picture

    def _picture(self, where: str, datacenter: str) -> bytes:
        """A screenshot from its place, as "[datastore] folder/name.png"."""
        datastore, _, path = where.removeprefix("[").partition("] ")
        query = urlencode({"dcPath": datacenter, "dsName": datastore}, quote_via=quote)
        said = ""
        with self.vcenter.session.get(f"/folder/{quote(path)}?{query}") as answer:
            try:
                picture = answer.read(MOST_SCREENSHOT + 1)
            except LOST as error:
                picture, said = b"", str(error)
            if answer.status == 200 and picture.startswith(PNG) and len(picture) <= MOST_SCREENSHOT:
                return picture
            raise InfrastructureError(
                f"{self.vcenter.session.url} gave no picture for the screenshot {where} of {self._wanted}:"
                f" {said or f'{answer.status} {answer.reason}, {len(picture)} bytes'}"
            )

    # Interference

    def meddlers(self) -> tuple[str, ...]:
        """HA VM monitoring resets a guest whose VMware Tools fall silent: while it writes its dump, say."""

        def look(vm: Any) -> tuple[str, str]:
            cluster = vm.runtime.host.parent if vm.runtime.host else None
            if not isinstance(cluster, vim.ClusterComputeResource):
                return "", ""
            config = cluster.configurationEx
            return cluster.name, _monitoring(config, vm)

        cluster, mode = self._read(look, "HA VM monitoring")
        if mode in ("", "vmMonitoringDisabled"):
            return ()
        return (
            f"HA VM monitoring ({mode}) of cluster {cluster} resets {self._wanted} when it crashes, which can"
            " spoil its dump: override VM monitoring for this machine with 'disabled'",
        )

    # Witness

    def stops(self, since: datetime) -> tuple[OutOfBandStop, ...]:
        """What vmware.log and the vCenter's events have. Code 0: there was a stop, and no log says which."""
        return crashes.stops(self.vcenter, self._vm(), self._wanted, since)

    # How it is done.

    def _vm(self) -> Any:
        if self._found is None:
            self._found = find.machine(self.vcenter.session, self._wanted)
        return self._found

    def _read(self, call: Callable[[Any], T], what: str) -> T:
        about = f"{what} of {self._wanted}"
        known = self._found is not None
        try:
            with self._noticing_loss():
                return self.vcenter.session.read(lambda: call(self._vm()), about)
        except VcenterFault:
            if not known or self._found is not None:
                raise
        return self.vcenter.session.read(lambda: call(self._vm()), about)

    @contextmanager
    def _noticing_loss(self) -> Iterator[None]:
        """A machine that was removed, and perhaps registered anew, is looked for by the next call."""
        try:
            yield
        except VcenterFault as error:
            if error.fault == "ManagedObjectNotFound":
                self._found = None
            if error.fault == "InvalidPowerState":
                on = str(error.detail.existingState) == "poweredOn"
                is_so, first = ("on", "off") if on else ("off", "on")
                error.help = f"It is {is_so}: turn it {first} first, by 'lab machine {self._name} {first}'."
            raise

    def _switch(self, start: Callable[[Any], Any], what: str, wanted: PowerState) -> None:
        try:
            self._task(start, what, "power", self._timeouts.power)
        except VcenterFault as error:
            if error.fault != "InvalidPowerState" or self.power_state() is not wanted:
                error.help = VcenterFault.help if error.fault == "InvalidPowerState" else error.help
                raise

    def _slowly(self, start: Callable[[Any], Any], what: str) -> None:
        self._task(start, what, "checkpoint", self._timeouts.checkpoint)

    def _task(self, start: Callable[[Any], Any], what: str, limit: str, seconds: float) -> Any:
        vm = self._vm()
        about = f"{what} of {self._wanted}"
        try:
            with self._noticing_loss():
                return self.vcenter.tasks.run(lambda: start(vm), about, seconds, limit=limit)
        except TimedOut as error:
            question = None
            with suppress(InfrastructureError):
                question = self._read(lambda vm: vm.runtime.question, "the open question")
            if question is None:
                raise
            asked = " ".join(question.text.split())[:300]
            raise TimedOut(
                limit,
                seconds,
                f"{error.last_seen}; the vCenter waits for an answer to: {asked}",
                help="Answer the question in the vSphere Client.",
            ) from None


def _checkpoint(node: Any, files: Any) -> Checkpoint:
    """Memory was kept when the machine ran, and there is a file of its memory."""
    memory = str(node.state) == "poweredOn"
    if files is not None and files.memoryKey is not None:
        memory = memory and files.memoryKey >= 0
    return Checkpoint(node.name, node.createTime, memory)


def _monitoring(config: Any, vm: Any) -> str:
    """HA VM monitoring as it holds for a machine: its own setting, else the cluster's; "" without HA."""
    if not config.dasConfig.enabled:
        return ""
    for own in config.dasVmConfig:
        settings = own.dasSettings.vmToolsMonitoringSettings if own.dasSettings else None
        if own.key == vm and settings is not None and not settings.clusterSettings:
            return str(settings.vmMonitoring or ("vmMonitoringOnly" if settings.enabled else ""))
    return str(config.dasConfig.vmMonitoring or "")


def _routable(address: str) -> bool:
    try:
        return not ipaddress.ip_address(address).is_link_local
    except ValueError:
        return False


def open_machine(settings: Settings, host: Host, clock: Clock) -> VsphereMachine:
    """Raises ConfigurationError when the controller's CA file is not there or is none."""
    return VsphereMachine(
        connect(settings.controller, host.timeouts.connect),
        settings.vm,
        address=host.address,
        timeouts=host.timeouts,
        clock=clock,
        name=host.name,
    )
