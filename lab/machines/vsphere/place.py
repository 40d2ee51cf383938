"""What a clone is to be, and whether there is a place for it. Nothing is made here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pyVmomi import vim

from lab.machines.vsphere import customize, find
from lab.machines.vsphere.customize import Customization
from lab.machines.vsphere.session import Session
from lab.machines.vsphere.storage import Storage, check_room, storage
from lab.model import ConfigurationError

LINKED_BYTES = 2 << 30
"""What a linked clone has to have room for at first: logs, and what Sysprep changes on its disk."""

_FORBIDDEN = set('/\\%*?:<>|"')


@dataclass(frozen=True)
class Serial:
    """A serial port that an ESXi host serves or dials over the network: a kernel debugger's, a console's.

    `uri` as in "telnet://:2300" or "tcp://debugger.example:2300"; no proxy is used.
    """

    uri: str
    direction: Literal["server", "client"] = "server"


@dataclass(frozen=True)
class Order:
    """A clone that is wanted: full of a template, or linked to `snapshot` of any machine.

    What is None is as in the source: `folder` its own, `resource_pool` its own (a template has none),
    `datastore` (or a datastore cluster) its first, `network` the one of its first adapter, `firmware` and
    hardware likewise. Names and paths are as `lab.machines.vsphere.find` takes them.
    """

    name: str
    source: str
    snapshot: str | None = None
    folder: str | None = None
    resource_pool: str | None = None
    datastore: str | None = None
    network: str | None = None
    cpus: int | None = None
    memory_mb: int | None = None
    firmware: Literal["bios", "efi"] | None = None
    secure_boot: bool | None = None
    serial: Serial | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    customization: Customization | None = None


@dataclass(frozen=True)
class Place:
    """Where an order goes, looked up and checked. Managed objects, and what they are called."""

    source: Any
    snapshot: Any
    folder: Any
    pool: Any
    storage: Storage
    backing: Any
    """Of the first network adapter; None as in the source."""

    devices: tuple[Any, ...]
    path: str
    """The inventory path that the clone will have."""


def check(session: Session, order: Order, count: int = 1) -> Place:
    """That all of an order exists and has room for `count` of its like; nothing is made.

    Raises ConfigurationError that names what exists instead, InfrastructureError when there is no room.
    """
    _check_name(order)
    if order.customization is not None:
        customize.check(order.customization)
    if order.secure_boot and order.firmware == "bios":
        raise ConfigurationError(f"{order.name}: secure boot needs firmware efi", help="Set firmware: efi.")
    source, snapshot, config = _source(session, order)
    folder = _folder(session, order, source)
    pool = _pool(session, order, source)
    where = storage(session, order.datastore, source, pool)
    backing = _network(session, order, pool)
    check_room(session, where, order.name, _need(session, order, source, config), count)
    path = f"{find.path_of(session, folder)}/{order.name}"
    return Place(source, snapshot, folder, pool, where, backing, tuple(config.hardware.device), path)


def taken(session: Session, folder: Any, name: str) -> Any:
    """What has that name in a folder, or None."""
    index = session.content.searchIndex
    return session.read(lambda: index.FindChild(folder, name), f"the search for {name}")


def name_taken(path: str) -> ConfigurationError:
    return ConfigurationError(
        f"there is a virtual machine {path} already",
        help="Take another name; 'lab machine reap' removes what an interrupted run has left.",
    )


# What an order names.


def _check_name(order: Order) -> None:
    if not 1 <= len(order.name) <= 80 or _FORBIDDEN & set(order.name):
        raise ConfigurationError(
            f"'{order.name}' is no name for a virtual machine",
            help="Take 1 to 80 letters, digits, hyphens and underscores.",
        )


def _source(session: Session, order: Order) -> tuple[Any, Any, Any]:
    """The machine, the snapshot or None, and the configuration that the clone will start from."""
    if order.snapshot is None:
        source = find.template(session, order.source)
        return source, None, session.read(lambda: source.config, f"the configuration of {order.source}")
    source = find.machine(session, order.source)
    snapshot = find.snapshot(session, source, order.snapshot).snapshot
    return source, snapshot, session.read(lambda: snapshot.config, f"the snapshot '{order.snapshot}'")


def _folder(session: Session, order: Order, source: Any) -> Any:
    if order.folder is not None:
        folder = find.folder(session, order.folder)
        if "VirtualMachine" not in session.read(lambda: [str(each) for each in folder.childType]):
            raise ConfigurationError(
                f"the folder {order.folder} in {session.url} is not one for virtual machines",
                help="Folders for them are below /DATACENTER/vm.",
            )
    else:
        folder = session.read(lambda: source.parent)
    if taken(session, folder, order.name) is not None:
        raise name_taken(f"{find.path_of(session, folder)}/{order.name}")
    return folder


def _pool(session: Session, order: Order, source: Any) -> Any:
    if order.resource_pool is not None:
        return find.resource_pool(session, order.resource_pool)
    pool = session.read(lambda: source.resourcePool)
    if pool is None:
        known = [row["name"] for _, row in find.properties(session, vim.ResourcePool, ["name"])]
        raise ConfigurationError(
            f"{order.name} needs a resource pool: the template {order.source} is in none",
            help=f"Set resource_pool; known: {find.shown('', known)}.",
        )
    return pool


def _network(session: Session, order: Order, pool: Any) -> Any:
    if order.network is None:
        return None
    found = find.network(session, order.network)
    reached = session.read(lambda: {each: each.name for each in pool.owner.network}, "its networks")
    if found not in reached:
        raise ConfigurationError(
            f"the hosts of resource pool {_named(session, pool)} have no network {order.network}",
            help=f"They have: {find.shown('', reached.values())}.",
        )
    return session.read(lambda: _backing(found), f"the network {order.network}")


def _named(session: Session, entity: Any) -> str:
    return find.path_of(session, entity)


def _need(session: Session, order: Order, source: Any, config: Any) -> int:
    """Bytes: disks (a linked clone's are small at first) and a swap file as large as the memory."""
    storage = session.read(lambda: source.summary.storage, "the size of a clone's source")
    disks = [each for each in config.hardware.device if isinstance(each, vim.vm.device.VirtualDisk)]
    whole = sum(each.capacityInKB << 10 for each in disks)
    if order.snapshot is not None:
        need = LINKED_BYTES
    else:
        need = storage.committed if storage is not None and storage.committed else whole
    return int(need + ((order.memory_mb or config.hardware.memoryMB) << 20))


def _backing(network: Any) -> Any:
    cards: Any = vim.vm.device.VirtualEthernetCard
    kind = type(network)
    if issubclass(kind, vim.dvs.DistributedVirtualPortgroup):
        port = vim.dvs.PortConnection(
            portgroupKey=network.key, switchUuid=network.config.distributedVirtualSwitch.uuid
        )
        return cards.DistributedVirtualPortBackingInfo(port=port)
    if issubclass(kind, vim.OpaqueNetwork):
        return cards.OpaqueNetworkBackingInfo(
            opaqueNetworkId=network.summary.opaqueNetworkId,
            opaqueNetworkType=network.summary.opaqueNetworkType,
        )
    return cards.NetworkBackingInfo(deviceName=network.name, network=network)
