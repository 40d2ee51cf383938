"""Clones that a vCenter still makes, whoever asked for them: it finishes them when the one who asked is gone.

A task of a clone knows its source only. What the clone will be called stands in the event that the task began
with (VmBeingClonedEvent; of a template VmBeingDeployedEvent), which has the task's chain of events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from pyVmomi import vim, vmodl

from lab.machines.vsphere.session import Session
from lab.model import Clock, TimedOut, wait_until

CLONING = "VirtualMachine.clone"
"""How a vCenter describes the task of CloneVM_Task (TaskInfo.descriptionId)."""

PATHS = (
    "info.descriptionId",
    "info.state",
    "info.progress",
    "info.entityName",
    "info.eventChainId",
)
GOING = ("queued", "running")
EVENTS = ["VmBeingClonedEvent", "VmBeingDeployedEvent"]
MOST_EVENTS = 100


@dataclass(frozen=True)
class Begun:
    """A clone that is being made. `name` is what it will be called, None when the vCenter does not tell."""

    source: str
    name: str | None
    state: str

    def may_be(self, name: str, source: str) -> bool:
        """Whether it may be the clone of that name; one whose name is not told may be any of its source's."""
        return self.source == source if self.name is None else self.name == name


def clones(session: Session) -> tuple[Begun, ...]:
    """Those that are queued or running now. Raises VcenterFault, InfrastructureError."""
    rows = [row for row in _tasks(session) if row.get("info.descriptionId") == CLONING]
    going = [row for row in rows if str(row.get("info.state")) in GOING]
    return tuple(
        Begun(
            unquote(row.get("info.entityName") or ""),
            _name(session, row.get("info.eventChainId")),
            _state(row),
        )
        for row in going
    )


def settle(
    session: Session,
    name: str,
    source: str,
    *,
    seconds: float,
    every: float,
    clock: Clock,
    on_wait: Callable[[str], None] = lambda state: None,
) -> None:
    """Wait until no clone of that name is being made any more, by whomever: only then it can be deleted.

    It is not cancelled, as another lab may give the same names: only the marks that a clone is born with tell
    whose it is. `on_wait` is told its state when that changes. Raises TimedOut after the limit `delete`; the
    clone is then still being made.
    """
    seen = ""

    def look() -> bool | None:
        nonlocal seen
        going = [each.state for each in clones(session) if each.may_be(name, source)]
        if going and going[0] != seen:
            seen = going[0]
            on_wait(seen)
        return None if going else True

    try:
        wait_until(look, wait="delete", seconds=seconds, clock=clock, every=every)
    except TimedOut:
        still = f"{session.url} still makes the clone {name} ({seen})"
        help = (
            "Run 'lab machine reap' again when that task of the vCenter has ended, or cancel the task there."
        )
        raise TimedOut("delete", seconds, still, help=help) from None


def _state(row: Mapping[str, Any]) -> str:
    progress = row.get("info.progress")
    return f"{row['info.state']}" if progress is None else f"{row['info.state']}, {progress} %"


def _tasks(session: Session) -> list[dict[str, Any]]:
    """TaskManager.recentTask: every task that runs or waits, and those that ended in the last minutes."""
    content = session.content
    collector = vmodl.query.PropertyCollector
    walk = collector.TraversalSpec(type=vim.TaskManager, path="recentTask", skip=False)
    spec = collector.FilterSpec(
        objectSet=[collector.ObjectSpec(obj=content.taskManager, skip=True, selectSet=[walk])],
        propSet=[collector.PropertySpec(type=vim.Task, pathSet=list(PATHS))],
        reportMissingObjectsInResults=True,  # a task may be forgotten meanwhile
    )
    manager = content.propertyCollector

    def read() -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        found = manager.RetrievePropertiesEx([spec], collector.RetrieveOptions())
        while found is not None:
            rows += [{each.name: each.val for each in one.propSet} for one in found.objects]
            found = manager.ContinueRetrievePropertiesEx(found.token) if found.token else None
        return rows

    return session.read(read, "its recent tasks")


def _name(session: Session, chain: int | None) -> str | None:
    """What the clone of this chain of events will be called, if it is told."""
    if not chain:
        return None
    spec = vim.event.EventFilterSpec(eventChainId=chain, eventTypeId=EVENTS, maxCount=MOST_EVENTS)
    manager = session.content.eventManager
    events = session.read(lambda: manager.QueryEvents(spec), "the events of a clone") or ()
    return next((unquote(_destination(each)) for each in events if each.chainId == chain), None) or None


def _destination(event: Any) -> str:
    if isinstance(event, vim.event.VmBeingClonedEvent):
        return str(event.destName or "")
    return str(event.vm.name or "") if event.vm is not None else ""
