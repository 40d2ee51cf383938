"""Cleaning up after interrupted runs: machines with this lab's marks that nobody wants any more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from lab.machines.vsphere import Vcenter, find, marks
from lab.machines.vsphere.making import Limits, delete
from lab.machines.vsphere.marks import Marked
from lab.model import LabError


@dataclass(frozen=True)
class Known:
    """What the lab knows of itself. A machine of a run that goes on may not be in an inventory yet."""

    hosts: frozenset[str]
    """Names of the machines that some inventory has."""

    going: frozenset[str] = frozenset()
    """Runs that go on."""

    over: frozenset[str] = frozenset()
    """Runs that have ended and wanted their machines to end with them."""

    busy: Mapping[str, str] = field(default_factory=dict)
    """Names of machines in use at this moment, each with by whom: they are left, whatever their marks say."""


@dataclass(frozen=True)
class Orphan:
    """A machine to delete. `error` says why it was not deleted, "" when it was or was not to be."""

    path: str
    host: str
    uuid: str
    """Its instance UUID."""

    run: str
    why: str
    error: str = ""


Take = Callable[[Orphan, Callable[[], None]], None]
"""Takes an orphan away: by the function that it is given, which deletes the machine, or in a better way."""


def reap(
    vcenter: Vcenter,
    lab: str,
    known: Callable[[], Known],
    now: datetime,
    *,
    dry_run: bool = False,
    limits: Limits | None = None,
    take: Take = lambda orphan, delete_it: delete_it(),
) -> tuple[Orphan, ...]:
    """Delete every machine of this lab whose time is past, whose run is over, or that no inventory knows and
    no run is making. Never one without the lab's marks, nor one in use. A machine that cannot be deleted
    stops no other.

    `known` is asked after the vCenter: a machine that is there was written down before it was made. `now` has
    a time zone. Raises InfrastructureError when the vCenter cannot be asked.
    """
    machines = marks.marked(vcenter.session, lab)
    ours = known()
    found = []
    for machine in machines:
        why = _why(machine, ours, now)
        if not why:
            continue
        path = find.path_of(vcenter.session, machine.vm)
        orphan = Orphan(path, machine.host, machine.uuid, machine.run, why)
        error = ours.busy.get(machine.host, "")
        if not error and not dry_run:
            error = _take(vcenter, machine, orphan, limits or Limits(), take)
        found.append(Orphan(path, machine.host, machine.uuid, machine.run, why, error))
    return tuple(found)


def _why(machine: Marked, known: Known, now: datetime) -> str:
    if machine.until is not None and machine.until < now:
        return f"it was wanted until {machine.until:%Y-%m-%d %H:%M} UTC"
    if machine.run in known.over:
        return f"its run {machine.run} is over"
    if machine.host not in known.hosts and machine.run not in known.going:
        return "no inventory knows it"
    return ""


def _take(vcenter: Vcenter, machine: Marked, orphan: Orphan, limits: Limits, take: Take) -> str:
    try:
        take(orphan, lambda: delete(vcenter, machine, limits))
    except LabError as error:
        return error.message
    return ""
