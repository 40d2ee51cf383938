"""Hosts of a pool that are made: clones in a vCenter, marked as ours, deleted when they are handed back."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from pyVmomi import vim

from lab.inventory import CloneNetwork, Host, JoinDomain, Pool, PsrpShell, VsphereMachine, VsphereTemplate
from lab.machines.vsphere import begun, connect, customize, find, marks
from lab.machines.vsphere.making import Clones, Limits, Made, delete
from lab.machines.vsphere.place import Order, Serial
from lab.model import Clock, ConfigurationError, InfrastructureError
from lab.provision.act import StoppingClock
from lab.provision.maker import Lab, Stock, Tell
from lab.windows import open_guest

NO_NUMBER = "N"
"""Of a host of a plan, which has none yet."""


class Cloned:
    """See `lab.provision.maker.Maker`. Raises ConfigurationError when the vCenter's CA file is not there."""

    def __init__(self, pool: Pool, lab: Lab, clock: Clock) -> None:
        assert isinstance(pool.machine, VsphereTemplate)
        self._pool = pool
        self._template = pool.machine
        self._lab = lab
        self._clock = clock
        times = pool.timeouts
        limits = Limits.of(times)
        vcenter = connect(self._template.controller, times.connect)
        self._clones = Clones(vcenter, lab.id, limits=limits, clock=clock)

    def stock(self) -> Stock:
        template = self._template
        linked = f"a linked clone of {template.clone_of} at its snapshot '{template.snapshot}'"
        fresh = linked if template.clone_of else f"a full clone of the template {template.template}"
        try:
            self._clones.check(self._order(NO_NUMBER))
        except ConfigurationError as error:
            instead = f"{error.help[:1].lower()}{error.help[1:]}".rstrip(" .")
            return Stock(fresh=fresh, missing=(f"{error.message}; {instead}",))
        rows = find.properties(self._clones.vcenter.session, vim.VirtualMachine, ["name"])
        room, because = self._room()
        return Stock(
            fresh=fresh,
            taken=frozenset(str(row["name"]) for _, row in rows),
            room=room,
            room_because=because,
        )

    def make(self, name: str, tell: Tell) -> Host:
        tell("cloning")
        made = self._clones.make(
            self._order(name.rpartition("-")[2]),
            f"{socket.gethostname()}:{os.getpid()}",
            datetime.now(UTC) + self._pool.keep_for,
            on_progress=lambda percent: tell(f"cloning: {percent} %"),
            cancel=self._clock.stopped if isinstance(self._clock, StoppingClock) else None,
        )
        host = self._host(name, made)
        tell(f"waiting for its guest at {made.address}")
        with open_guest(host, self._clock) as guest:
            guest.wait_until_reachable()
        return host

    def unmake(self, name: str, tell: Tell) -> None:
        if not self._delete(name, tell):
            self._settle(name, tell)  # else it might appear when nobody knows of it any more
            self._delete(name, tell)
        self._certificate(name).unlink(missing_ok=True)

    def _delete(self, name: str, tell: Tell) -> bool:
        """Whether there was one."""
        vcenter = self._clones.vcenter
        found = [each for each in marks.marked(vcenter.session, self._lab.id) if each.host == name]
        for each in found:
            tell("deleting the clone")
            delete(vcenter, each, self._clones.limits)
        return bool(found)

    def _settle(self, name: str, tell: Tell) -> None:
        limits = self._clones.limits
        begun.settle(
            self._clones.vcenter.session,
            name,
            self._source_name(),
            seconds=limits.delete,
            every=limits.poll,
            clock=self._clock,
            on_wait=lambda state: tell(f"the vCenter still makes the clone ({state}): waiting for it"),
        )

    def wipes(self, name: str) -> bool:
        return True

    def _source_name(self) -> str:
        """What clones are made of, as the vCenter calls it; "" when it is not there any more."""
        session = self._clones.vcenter.session
        try:
            source = find.machine(session, self._template.clone_of or self._template.template or "")
        except ConfigurationError:
            return ""
        return unquote(session.read(lambda: source.name, "the name of a clone's source"))

    def _order(self, number: str) -> Order:
        template = self._template
        return Order(
            name=f"{self._pool.name}-{number}",
            source=template.clone_of or template.template or "",
            snapshot=template.snapshot,
            folder=template.folder,
            resource_pool=template.resource_pool,
            datastore=template.datastore,
            network=template.network,
            cpus=template.cpus,
            memory_mb=template.memory_mb,
            firmware=template.firmware,
            secure_boot=template.secure_boot,
            serial=_serial(template.serial) if template.serial else None,
            extra=template.extra,
            customization=self._customization(number),
        )

    def _customization(self, number: str) -> customize.Customization | None:
        wanted = self._template.customization
        if wanted is None:
            return None
        return customize.Customization(
            computer_name=wanted.computer_name.replace("{n}", number),
            administrator_password=wanted.administrator_password,
            product_key=wanted.product_key,
            full_name=wanted.full_name,
            organization=wanted.organization,
            workgroup=wanted.workgroup,
            domain=_domain(wanted.domain) if wanted.domain else None,
            network=self._address(wanted.network, number) if wanted.network else None,
            dns_servers=wanted.dns_servers,
            dns_suffixes=wanted.dns_suffixes,
            per_server=wanted.per_server,
            autologon=wanted.autologon,
            time_zone=wanted.time_zone,
            run_once=wanted.run_once,
        )

    def _address(self, network: CloneNetwork, number: str) -> customize.FixedAddress:
        at = int(number) if number.isdecimal() else 1  # a plan has no number yet
        if at > len(network.addresses):
            raise ConfigurationError(
                f"pool '{self._pool.name}' has no address for its host {number}",
                help="Name more in customization.network.addresses, or free a lower number.",
            )
        return customize.FixedAddress(network.addresses[at - 1], network.netmask, network.gateways)

    def _room(self) -> tuple[int | None, str]:
        """For how many more hosts there is room, if for fewer than the pool may have."""
        because = self._no_room_for(self._pool.most)
        if not because:
            return None, ""
        fit, not_fit = 1, self._pool.most
        while not_fit - fit > 1:
            middle = (fit + not_fit) // 2
            if why := self._no_room_for(middle):
                not_fit, because = middle, why
            else:
                fit = middle
        return fit, because

    def _no_room_for(self, count: int) -> str:
        """Why there is no room for so many; "" when there is."""
        try:
            self._clones.check(self._order(NO_NUMBER), count)
        except InfrastructureError as error:
            return error.message
        return ""

    def _host(self, name: str, made: Made) -> Host:
        machine = VsphereMachine(kind="vsphere", controller=self._template.controller, vm=made.uuid)
        host = self._pool.host(name, made.address, machine)
        shell = host.guest.shell
        if not made.certificate or not isinstance(shell, PsrpShell) or not shell.tls or shell.ca_file:
            return host
        path = self._certificate(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(made.certificate)
        except OSError as error:
            raise ConfigurationError(
                f"the certificate of {name} cannot be kept as {path}: {error.strerror or error}",
                help="Choose a data folder that you may write to, on a disk with room.",
            ) from None
        own = shell.model_copy(update={"ca_file": path})
        return host.model_copy(update={"guest": host.guest.model_copy(update={"shell": own})})

    def _certificate(self, name: str) -> Path:
        """What the guest told of its WinRM's certificate at its first log-on."""
        return self._lab.folder / f"{quote(name, safe=' ')}.pem"


def _domain(wanted: JoinDomain) -> customize.Domain:
    return customize.Domain(wanted.name, wanted.user, wanted.password)


def _serial(uri: str) -> Serial:
    """With a host's name in it the ESXi host dials; without, it listens."""
    return Serial(uri, "client" if urlsplit(uri).hostname else "server")
