"""Cleaning up after interrupted runs: machines with this lab's marks that nobody wants any more."""

from __future__ import annotations

from dataclasses import dataclass
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

    busy: frozenset[str] = frozenset()
    """Names of machines in use at this moment: they are left, whatever their marks say."""


@dataclass(frozen=True)
class Orphan:
    """A machine to delete. `error` says why it was not deleted, "" when it was or was not to be."""

    path: str
    host: str
    run: str
    why: str
    error: str = ""


def reap(
    vcenter: Vcenter,
    lab: str,
    known: Known,
    now: datetime,
    *,
    dry_run: bool = False,
    limits: Limits | None = None,
) -> tuple[Orphan, ...]:
    """Delete every machine of this lab whose time is past, whose run is over, or that no inventory knows and
    no run is making. Never one without the lab's marks. A machine that cannot be deleted stops no other.

    `now` has a time zone. Raises InfrastructureError when the vCenter cannot be asked.
    """
    found = []
    for machine in marks.marked(vcenter.session, lab):
        why = _why(machine, known, now)
        if not why:
            continue
        path = find.path_of(vcenter.session, machine.vm)
        error = "" if dry_run else _delete(vcenter, machine, limits or Limits())
        found.append(Orphan(path, machine.host, machine.run, why, error))
    return tuple(found)


def _why(machine: Marked, known: Known, now: datetime) -> str:
    if machine.host in known.busy:
        return ""
    if machine.until is not None and machine.until < now:
        return f"it was wanted until {machine.until:%Y-%m-%d %H:%M} UTC"
    if machine.run in known.over:
        return f"its run {machine.run} is over"
    if machine.host not in known.hosts and machine.run not in known.going:
        return "no inventory knows it"
    return ""


def _delete(vcenter: Vcenter, machine: Marked, limits: Limits) -> str:
    try:
        delete(vcenter, machine, limits)
    except LabError as error:
        return error.message
    return ""
