"""Objects of a vCenter by path, UUID, name or tag. Errors name what was looked for, and what there is."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import unquote

from pyVmomi import vim, vmodl

from lab.machines.vsphere import tags
from lab.machines.vsphere.session import Session
from lab.model import ConfigurationError

MOST_SHOWN = 8

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

_KINDS: dict[str, tuple[Any, ...]] = {
    "virtual machine": (vim.VirtualMachine,),
    "folder": (vim.Folder,),
    "resource pool": (vim.ResourcePool,),
    "datastore or datastore cluster": (vim.Datastore, vim.StoragePod),
    "network": (vim.Network,),
}


def machine(session: Session, wanted: str) -> Any:
    """A virtual machine (or template) by inventory path, instance UUID, BIOS UUID, its unique name, or a tag
    that only it has, as "tag:NAME" or "tag:CATEGORY/NAME".

    Raises ConfigurationError.
    """
    if wanted.startswith("tag:"):
        return _by_tag(session, wanted.removeprefix("tag:"))
    if _UUID.fullmatch(wanted):
        index = session.content.searchIndex

        def search() -> Any:
            uuid = wanted.lower()
            return index.FindByUuid(None, uuid, True, True) or index.FindByUuid(None, uuid, True, False)

        found = session.read(search, f"the search for {wanted}")
        if found is not None:
            return found
        raise ConfigurationError(
            f"{session.url} has no virtual machine with instance or BIOS UUID {wanted}",
            help=f"Give its path, or one of: {shown('', _names(session, 'virtual machine'))}.",
        )
    return _object(session, "virtual machine", wanted)


def template(session: Session, wanted: str) -> Any:
    """A template, as `machine` finds it. Raises ConfigurationError also when it is no template."""
    found = machine(session, wanted)
    if not session.read(lambda: found.config.template):
        raise ConfigurationError(
            f"'{wanted}' in {session.url} is a virtual machine and not a template",
            help=f"Name a snapshot of it for linked clones, or one of: {shown(wanted, templates(session))}.",
        )
    return found


def templates(session: Session) -> list[str]:
    """Names of all templates."""
    rows = properties(session, vim.VirtualMachine, ["name", "config.template"])
    return sorted(row["name"] for _, row in rows if row.get("config.template"))


def folder(session: Session, wanted: str) -> Any:
    """A folder by path (/DC0/vm/lab) or unique name. Raises ConfigurationError."""
    return _object(session, "folder", wanted)


def resource_pool(session: Session, wanted: str) -> Any:
    """A resource pool by path (/DC0/host/cluster/Resources/lab) or unique name. Raises ConfigurationError."""
    return _object(session, "resource pool", wanted)


def storage(session: Session, wanted: str) -> Any:
    """A datastore or a datastore cluster (vim.StoragePod) by path or unique name.

    Raises ConfigurationError.
    """
    return _object(session, "datastore or datastore cluster", wanted)


def network(session: Session, wanted: str) -> Any:
    """A network or a distributed port group by path or unique name. Raises ConfigurationError."""
    return _object(session, "network", wanted)


def snapshot(session: Session, vm: Any, wanted: str) -> Any:
    """A node of the machine's snapshot tree by name, or by path from a root ("base/updates").

    Its managed object is `.snapshot`. Raises ConfigurationError; also when several have the name.
    """
    name = path_of(session, vm)
    nodes = list(snapshots(session, vm))
    found = [node for path, node in nodes if wanted in (path, node.name)]
    if len(found) == 1:
        return found[0]
    if found:
        paths = ", ".join(path for path, node in nodes if node.name == wanted)
        raise ConfigurationError(
            f"{name} has {len(found)} snapshots named '{wanted}'", help=f"Give one by its path: {paths}."
        )
    raise ConfigurationError(
        f"{name} has no snapshot '{wanted}'",
        help=f"Its snapshots: {shown(wanted, [node.name for _, node in nodes])}.",
    )


def snapshots(session: Session, vm: Any) -> Iterator[tuple[str, Any]]:
    """Every node of the machine's snapshot tree with its path, parents first."""
    tree = session.read(lambda: vm.snapshot)
    yield from _walk(tree.rootSnapshotList if tree else (), "")


def _walk(nodes: Iterable[Any], above: str) -> Iterator[tuple[str, Any]]:
    for node in nodes:
        yield above + node.name, node
        yield from _walk(node.childSnapshotList, f"{above}{node.name}/")


def path_of(session: Session, entity: Any) -> str:
    """The inventory path, as /DC0/vm/lab/srv1; a slash inside a name is written %2f."""
    root = session.content.rootFolder

    def walk() -> str:
        names: list[str] = []
        at = entity
        while at is not None and at != root:
            names.append(at.name)
            at = at.parent
        return "/" + "/".join(reversed(names))

    return session.read(walk, "a path")


def datacenter_of(session: Session, entity: Any) -> Any:
    """The datacenter that an entity stands in."""

    def walk() -> Any:
        at = entity
        while at is not None and not isinstance(at, vim.Datacenter):
            at = at.parent
        return at

    return session.read(walk, "a datacenter")


def _object(session: Session, kind: str, wanted: str) -> Any:
    return _by_path(session, kind, wanted) if "/" in wanted else _by_name(session, kind, wanted)


def _by_path(session: Session, kind: str, wanted: str) -> Any:
    path = wanted.strip("/")
    found = _at(session, path)
    if isinstance(found, _KINDS[kind]):
        return found
    if found is not None:
        is_a = type(found).__name__.rpartition(".")[2]
        raise ConfigurationError(
            f"{wanted} in {session.url} is no {kind} but a {is_a}",
            help=f"Known: {shown(path, _names(session, kind))}.",
        )
    parts = path.split("/")
    above = next(parts[:end] for end in range(len(parts) - 1, -1, -1) if _at(session, "/".join(parts[:end])))
    missing = parts[len(above)]
    place = "/" + "/".join(above)
    inside = _children(session, _at(session, "/".join(above)))
    raise ConfigurationError(
        f"{session.url} has no {kind} {wanted}: there is no '{missing}' in {place}",
        help=f"In {place} are: {shown(missing, inside)}.",
    )


def _at(session: Session, path: str) -> Any:
    """What stands at an inventory path without its first slash; None for nothing."""
    content = session.content
    if not path:
        return content.rootFolder
    return session.read(lambda: content.searchIndex.FindByInventoryPath(path), f"the search for /{path}")


def _by_tag(session: Session, tag: str) -> Any:
    found = tags.machines(session, tag)
    if len(found) == 1:
        return found[0]
    paths = ", ".join(path_of(session, each) for each in found[:MOST_SHOWN]) or "none"
    raise ConfigurationError(
        f"{session.url} has {len(found)} virtual machines with the tag '{tag}', and not one",
        help=f"With the tag: {paths}.",
    )


def _by_name(session: Session, kind: str, wanted: str) -> Any:
    rows = _rows(session, kind)
    found = [entity for entity, row in rows if unquote(row["name"]) == wanted]
    if len(found) == 1:
        return found[0]
    if found:
        paths = ", ".join(path_of(session, each) for each in found[:MOST_SHOWN])
        raise ConfigurationError(
            f"{session.url} has {len(found)} objects of the kind {kind} named '{wanted}'",
            help=f"Give one by its path: {paths}.",
        )
    raise ConfigurationError(
        f"{session.url} has no {kind} '{wanted}'",
        help=f"Known: {shown(wanted, [row['name'] for _, row in rows])}.",
    )


def _names(session: Session, kind: str) -> list[str]:
    return [row["name"] for _, row in _rows(session, kind)]


def _rows(session: Session, kind: str) -> list[tuple[Any, dict[str, Any]]]:
    return [each for one in _KINDS[kind] for each in properties(session, one, ["name"])]


def _children(session: Session, parent: Any) -> list[str]:
    """Names of what stands directly in an entity, as far as a path can go on there."""

    def read() -> list[str]:
        if isinstance(parent, vim.Datacenter):
            inside: list[Any] = [
                parent.vmFolder,
                parent.hostFolder,
                parent.datastoreFolder,
                parent.networkFolder,
            ]
        elif isinstance(parent, vim.ComputeResource):
            inside = [parent.resourcePool, *parent.host]
        elif isinstance(parent, vim.ResourcePool):
            inside = list(parent.resourcePool)
        else:
            inside = list(getattr(parent, "childEntity", ()))
        return [each.name for each in inside]

    return session.read(read, "the names in a folder")


def properties(session: Session, kind: Any, paths: Sequence[str]) -> list[tuple[Any, dict[str, Any]]]:
    """Every object of a type with some of its properties, in as few calls as the vCenter needs."""
    content = session.content
    collector = vmodl.query.PropertyCollector

    def read() -> list[tuple[Any, dict[str, Any]]]:
        view = content.viewManager.CreateContainerView(content.rootFolder, [kind], True)
        try:
            walk = collector.TraversalSpec(type=vim.view.ContainerView, path="view", skip=False)
            spec = collector.FilterSpec(
                objectSet=[collector.ObjectSpec(obj=view, skip=True, selectSet=[walk])],
                propSet=[collector.PropertySpec(type=kind, pathSet=list(paths))],
            )
            found = content.propertyCollector.RetrievePropertiesEx([spec], collector.RetrieveOptions())
            rows = []
            while found is not None:
                rows += [(each.obj, {p.name: p.val for p in each.propSet}) for each in found.objects]
                if not found.token:
                    break
                found = content.propertyCollector.ContinueRetrievePropertiesEx(found.token)
            return rows
        finally:
            view.Destroy()

    return session.read(read, f"the list of every {kind.__name__}")


def shown(wanted: str, names: Iterable[str]) -> str:
    """At most so many, those that look like it first."""
    every = sorted(set(names))
    last = wanted.rpartition("/")[2]
    close = difflib.get_close_matches(last, every, n=MOST_SHOWN, cutoff=0.5)
    shown = (close + [name for name in every if name not in close])[:MOST_SHOWN]
    more = f" and {len(every) - len(shown)} more" if len(every) > len(shown) else ""
    return ", ".join(shown) + more if shown else "none"
