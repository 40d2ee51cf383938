"""The datastore of a clone: a named one, or the one of a datastore cluster that Storage DRS recommends.

The clone is put on what is recommended as on any other datastore, instead of having the recommendation
applied (ApplyStorageDrsRecommendation): the task is then a clone's, with the marks, waits and errors of one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pyVmomi import vim

from lab.machines.vsphere import find
from lab.machines.vsphere.faults import fault_text
from lab.machines.vsphere.session import Session
from lab.model import ConfigurationError, InfrastructureError

MOST_REASON = 300


@dataclass(frozen=True)
class Storage:
    """What a clone may lie on: `stores` has one, or the usable datastores of a cluster. Managed objects."""

    name: str
    stores: tuple[Any, ...]
    cluster: Any = None


def storage(session: Session, wanted: str | None, source: Any, pool: Any) -> Storage:
    """The datastore or cluster `wanted`, or the source's, as far as the hosts of the resource pool reach it.

    Raises ConfigurationError that names what there is instead.
    """
    reached = session.read(lambda: {each: each.name for each in pool.owner.datastore}, "its datastores")
    found = session.read(lambda: source.datastore[0]) if wanted is None else find.storage(session, wanted)
    name = session.read(lambda: found.name, "a datastore's name")
    if isinstance(found, vim.StoragePod):
        return Storage(name, _members(session, found, name, pool, reached), found)
    if found not in reached:
        raise ConfigurationError(
            f"the hosts of resource pool {find.path_of(session, pool)} do not reach the datastore {name}",
            help=f"They reach: {find.shown('', reached.values())}.",
        )
    return Storage(name, (found,))


def _members(
    session: Session, cluster: Any, name: str, pool: Any, reached: dict[Any, str]
) -> tuple[Any, ...]:
    members = session.read(lambda: {each: each.name for each in cluster.childEntity}, f"what is in {name}")
    drs = session.read(lambda: cluster.podStorageDrsEntry.storageDrsConfig.podConfig, f"settings of {name}")
    if not drs.enabled:
        raise ConfigurationError(
            f"Storage DRS is off for the datastore cluster {name} of {session.url}",
            help=f"Turn it on, or name one of its datastores: {find.shown('', members.values())}.",
        )
    usable = tuple(each for each in members if each in reached)
    if not usable:
        raise ConfigurationError(
            f"the hosts of resource pool {find.path_of(session, pool)} reach no datastore of the datastore "
            f"cluster {name}, which has: {find.shown('', members.values())}",
            help=f"They reach: {find.shown('', reached.values())}.",
        )
    return usable


def check_room(session: Session, where: Storage, name: str, need: int, count: int) -> None:
    """That there is room for `count` machines of `need` bytes each. Raises InfrastructureError."""
    summaries = session.read(lambda: [each.summary for each in where.stores], "the space on datastores")
    usable = [each for each in summaries if _usable(each)]
    what = f"the datastore {where.name}" if where.cluster is None else f"the datastore cluster {where.name}"
    if not usable:
        raise InfrastructureError(
            f"{what} of {session.url} is not accessible, or in maintenance",
            help="Take another one, or look at it in the vSphere Client.",
        )
    if sum(max(0, each.freeSpace) // need for each in usable) >= count:
        return
    if where.cluster is None:
        free, needed = f"{_gib(usable[0].freeSpace)} free", _gib(count * need)
    else:
        shown = [f"{_gib(each.freeSpace)} free on {each.name}" for each in usable[: find.MOST_SHOWN]]
        free, needed = ", ".join(shown), f"{_gib(need)} each on one of them"
    machines = name if count == 1 else f"{count} machines like {name}"
    raise InfrastructureError(
        f"{what} has {free}, and {machines} would need {needed}",
        help="Make room there, name another datastore, or take linked clones of a snapshot.",
    )


def _usable(summary: Any) -> bool:
    return bool(summary.accessible) and str(summary.maintenanceMode or "normal") == "normal"


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


def recommended(session: Session, where: Storage, source: Any, name: str, folder: Any, spec: Any) -> Any:
    """The datastore of a cluster that Storage DRS recommends for a clone; of a single one, that one.

    `spec` is the clone's specification, without secrets. Raises InfrastructureError with Storage DRS' own
    reason when it recommends none; VcenterFault.
    """
    if where.cluster is None:
        return where.stores[0]
    wanted = vim.storageDrs.StoragePlacementSpec(
        type="clone",
        vm=source,
        cloneName=name,
        cloneSpec=spec,
        folder=folder,
        podSelectionSpec=vim.storageDrs.PodSelectionSpec(storagePod=where.cluster),
    )
    manager = session.content.storageResourceManager
    about = f"a recommendation of the datastore cluster {where.name}"
    result = session.read(lambda: manager.RecommendDatastores(wanted), about)
    best_first = sorted(result.recommendations, key=lambda each: -each.rating)
    for store in (action.destination for each in best_first for action in _placements(each.action)):
        if store in where.stores:
            return store
    raise InfrastructureError(
        f"Storage DRS recommends no datastore of the datastore cluster {where.name} for {name}"
        f"{_reason(result.drsFault)}",
        help=f"Look at its Storage DRS in the vSphere Client, or name one of: {_names(session, where)}.",
    )


def _placements(actions: Iterable[Any]) -> list[Any]:
    return [each for each in actions if isinstance(each, vim.storageDrs.StoragePlacementAction)]


def _reason(faults: Any) -> str:
    if faults is None:
        return ""
    said = [fault_text(fault) for each in faults.faultsByVm for fault in each.fault]
    return f": {'; '.join(dict.fromkeys(said)) or faults.reason}"[:MOST_REASON]


def _names(session: Session, where: Storage) -> str:
    return find.shown("", session.read(lambda: [each.name for each in where.stores], "names of datastores"))
