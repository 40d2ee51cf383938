"""Clones from order to address, and away again. What fails on the way leaves nothing behind."""

from __future__ import annotations

import base64
import binascii
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Self

from pyVmomi import vim

from lab.inventory import Timeouts
from lab.machines import first_boot
from lab.machines.vsphere import Progress, Vcenter, VcenterFault, clone, find, marks, place
from lab.machines.vsphere.machine import VsphereMachine
from lab.machines.vsphere.marks import Mark, Marked
from lab.machines.vsphere.place import Order, Place
from lab.machines.vsphere.storage import recommended
from lab.model import (
    Clock,
    ConfigurationError,
    InfrastructureError,
    LabError,
    PowerState,
    Refused,
    SystemClock,
    wait_until,
)

_SUCCEEDED = "CustomizationSucceeded"
_FAILED = (
    "CustomizationFailed",
    "CustomizationSysprepFailed",
    "CustomizationNetworkSetupFailed",
    "CustomizationLinuxIdentityFailed",
    "CustomizationUnknownFailure",
)


@dataclass(frozen=True)
class Limits:
    """Seconds, by the name that an error gives them. `poll` is between two looks."""

    clone: float = 7200
    customization: float = 1800
    tools: float = 600
    first_boot: float = 600
    power: float = 120
    delete: float = 600
    poll: float = 2

    @classmethod
    def of(cls, timeouts: Timeouts) -> Self:
        """Those of an inventory."""
        return cls(**{each.name: getattr(timeouts, each.name) for each in fields(cls)})

    @property
    def timeouts(self) -> Timeouts:
        """For a machine."""
        return Timeouts(power=self.power, tools=self.tools, poll=self.poll)


@dataclass(frozen=True)
class Made:
    """A clone that answers. `certificate` is the PEM of its WinRM, when it was customized to have one."""

    path: str
    uuid: str
    """Its instance UUID, which stays when the machine is renamed or moved."""

    address: str
    certificate: str = ""


class Clones:
    """Makes and deletes clones for one lab in one vCenter, for any number of threads."""

    def __init__(
        self, vcenter: Vcenter, lab: str, *, limits: Limits | None = None, clock: Clock | None = None
    ) -> None:
        """`lab` is the id that the machines are marked with."""
        self.vcenter = vcenter
        self.lab = lab
        self.limits = limits or Limits()
        self._clock = clock or SystemClock()

    def check(self, order: Order, count: int = 1) -> Place:
        """As `place.check`: nothing is made."""
        return place.check(self.vcenter.session, order, count)

    def make(
        self,
        order: Order,
        run: str,
        until: datetime,
        *,
        intend: Callable[[str], None] = lambda path: None,
        on_progress: Progress | None = None,
        cancel: threading.Event | None = None,
    ) -> Made:
        """Clone, mark, power on, and wait until the guest is what it is to be and has an address.

        `intend` is told the inventory path before anything is made. Whatever goes wrong after that, an
        interrupt too, the clone is deleted; where that is not possible the error's help says so, and the
        marks let `reap` find it. Raises as `check`; VcenterFault, TimedOut, Cancelled, InfrastructureError.
        """
        where = self.check(order)
        mark = Mark(self.lab, run, order.name, until)
        intend(where.path)
        certain = False  # that no clone will appear any more
        try:
            vm = self._clone(order, where, mark, on_progress, cancel)
            certain = True
            marks.put(self.vcenter.session, vm, mark)
            return self._start(order, where, vm)
        except LabError as error:
            left = self._clear_up(where, mark)
            if not left and not certain and not isinstance(error, VcenterFault | ConfigurationError):
                left = f"Should {where.path} appear yet, 'lab machine reap' deletes it."
            error.help = f"{error.help} {left}".strip()
            raise
        except BaseException:
            self._clear_up(where, mark)
            raise

    def unmake(self, wanted: str) -> bool:
        """Power a machine off and delete it with its disks. False when there is none of that path or UUID.

        Raises Refused when it does not bear the marks of this lab; else as other tasks do.
        """
        session = self.vcenter.session
        try:
            vm = find.machine(session, wanted)
        except ConfigurationError:
            return False
        found = marks.mark_of(session, vm)
        if found is None or found.owner != self.lab or found.host != found.name:
            raise Refused(
                f"{wanted} in {session.url} is not a machine that this lab made",
                help="Only machines that bear the lab's marks are deleted; delete it in the vSphere Client.",
            )
        delete(self.vcenter, found, self.limits)
        return True

    # On the way.

    def _clone(
        self,
        order: Order,
        where: Place,
        mark: Mark,
        on_progress: Progress | None,
        cancel: threading.Event | None,
    ) -> Any:
        session, tasks = self.vcenter.session, self.vcenter.tasks
        about = f"clone {where.path} of {order.source}"
        spec = clone.placement(where)
        store = recommended(session, where.storage, where.source, order.name, where.folder, spec)

        def start() -> Any:
            spec = clone.specification(order, where, store, mark)  # has passwords, and is gone with this call
            return where.source.CloneVM_Task(where.folder, order.name, spec)

        try:
            task = session.act(start, about)
            return tasks.wait(
                task, about, self.limits.clone, limit="clone", on_progress=on_progress, cancel=cancel
            )
        except VcenterFault as error:
            if error.fault == "DuplicateName":
                raise place.name_taken(where.path) from None
            raise

    def _start(self, order: Order, where: Place, vm: Any) -> Made:
        machine = VsphereMachine(
            self.vcenter, where.path, address="", timeouts=self.limits.timeouts, clock=self._clock
        )
        machine.power_on()
        certificate = ""
        if order.customization is not None:
            self._customized(vm, where.path)  # until then the address is one of the template's identity
        address = machine.guest_address()
        if order.customization is not None and order.customization.open_winrm:
            certificate = self._certificate(vm, where.path)
        uuid = self.vcenter.session.read(lambda: vm.config.instanceUuid, f"the UUID of {where.path}")
        return Made(where.path, str(uuid), address, certificate)

    def _customized(self, vm: Any, path: str) -> None:
        """Wait for the vCenter's event that says how Sysprep ended."""
        session = self.vcenter.session
        spec = vim.event.EventFilterSpec(
            entity=vim.event.EventFilterSpec.ByEntity(entity=vm, recursion="self"),
            eventTypeId=[_SUCCEEDED, *_FAILED],
        )

        def look() -> str | None:
            events = session.read(lambda: session.content.eventManager.QueryEvents(spec), f"events of {path}")
            kinds = {type(each).__name__.rpartition(".")[2]: each for each in events or ()}
            for kind, event in kinds.items():
                if kind in _FAILED:
                    raise InfrastructureError(
                        f"the customization of {path} failed: {_text(event)} ({kind})",
                        help="See guestcust.log and Sysprep's own logs in C:\\Windows\\TEMP\\vmware-imc.",
                    )
            return next(
                (_SUCCEEDED for each in events or () if type(each).__name__.endswith(_SUCCEEDED)), None
            )

        wait_until(
            look,
            wait="customization",
            seconds=self.limits.customization,
            clock=self._clock,
            every=self.limits.poll,
            last_seen=lambda: f"{path}: no event on how it ended; VMware Tools are {self._tools(vm)}",
        )

    def _tools(self, vm: Any) -> str:
        try:
            return str(self.vcenter.session.read(lambda: vm.guest.toolsRunningStatus))
        except InfrastructureError as error:
            return f"unknown ({error.message})"

    def _certificate(self, vm: Any, path: str) -> str:
        """The PEM of the certificate that the guest made at its first log-on, as it told its hypervisor."""

        def look() -> str | None:
            told = self.vcenter.session.read(
                lambda: {each.key: each.value for each in vm.config.extraConfig}, f"what {path} tells"
            )
            if trouble := told.get(first_boot.TROUBLE):
                said = " ".join(str(trouble).split())[:300]
                raise InfrastructureError(f"{path} could not open WinRM at its first log-on: {said}")
            return str(told[first_boot.CERTIFICATE]) if told.get(first_boot.CERTIFICATE) else None

        text = wait_until(
            look,
            wait="first_boot",
            seconds=self.limits.first_boot,
            clock=self._clock,
            every=self.limits.poll,
            last_seen=lambda: f"{path}: it has not told the certificate of its WinRM; was anybody logged on?",
        )
        try:
            return ssl.DER_cert_to_PEM_cert(base64.b64decode(text, validate=True))
        except binascii.Error:
            raise InfrastructureError(f"{path} told a certificate that is not base64") from None

    def _clear_up(self, where: Place, mark: Mark) -> str:
        """Delete what was made, if it was; what to do where that failed, else ""."""
        reap = f"{where.path} may be left: 'lab machine reap' deletes it."
        session = self.vcenter.session
        try:
            vm = place.taken(session, where.folder, mark.host)
            found = marks.mark_of(session, vm) if vm is not None else None
            if found is not None and (found.owner, found.run, found.host) == (self.lab, mark.run, mark.host):
                delete(self.vcenter, found, self.limits)
        except LabError:
            return reap
        return ""


def delete(vcenter: Vcenter, machine: Marked, limits: Limits) -> None:
    """Power it off and delete it with its disks. One that is gone already is no error."""
    try:
        if machine.power is PowerState.ON:
            _power_off(vcenter, machine, limits)
        try:
            _destroy(vcenter, machine, limits)
        except VcenterFault as error:
            if error.fault != "InvalidPowerState":
                raise
            _power_off(vcenter, machine, limits)  # somebody has powered it on since it was looked at
            _destroy(vcenter, machine, limits)
    except VcenterFault as error:
        if error.fault != "ManagedObjectNotFound":
            raise


def _destroy(vcenter: Vcenter, machine: Marked, limits: Limits) -> None:
    about = f"deletion of {machine.name}"
    vcenter.tasks.run(machine.vm.Destroy_Task, about, limits.delete, limit="delete")


def _power_off(vcenter: Vcenter, machine: Marked, limits: Limits) -> None:
    try:
        vcenter.tasks.run(machine.vm.PowerOffVM_Task, f"power off of {machine.name}", limits.power)
    except VcenterFault as error:
        if error.fault != "InvalidPowerState":  # it is off already
            raise


def _text(event: Any) -> str:
    said = " ".join(str(event.fullFormattedMessage or getattr(event, "reason", "") or "").split())
    return said[:300] or "no reason given"
