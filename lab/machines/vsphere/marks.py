"""Whose a virtual machine is: marks that let an interrupted run be found and cleaned up after.

A clone is born with its marks in its notes, and gets them as custom attributes at once: those are what people
see and change in the vSphere Client. Both are copied when somebody clones our machine, so marks count only on
a machine that has the name they were made for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import unquote

from pyVmomi import vim

from lab.machines.vsphere import VcenterFault, find
from lab.machines.vsphere.session import Session
from lab.model import PowerState

PREFIX = "bugcheck-lab."
FIELDS = ("owner", "run", "host", "until")
PATHS = (
    "name",
    "customValue",
    "config.annotation",
    "config.instanceUuid",
    "config.template",
    "runtime.powerState",
)
NOTES = "Made by Bugcheck Lab, which will delete it: "


@dataclass(frozen=True)
class Mark:
    """`owner` is the lab's id, `run` what asked for the machine, `host` its name."""

    owner: str
    run: str
    host: str
    until: datetime
    """With a time zone."""

    @property
    def values(self) -> dict[str, str]:
        until = self.until.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return {"owner": self.owner, "run": self.run, "host": self.host, "until": until}

    @property
    def notes(self) -> str:
        """What a clone is born with."""
        return NOTES + json.dumps(self.values)


@dataclass(frozen=True)
class Marked:
    """A virtual machine with somebody's marks on it."""

    vm: Any
    name: str
    power: PowerState
    owner: str
    run: str
    host: str
    until: datetime | None
    """None when it cannot be read."""

    uuid: str = ""
    """Its instance UUID."""


def put(session: Session, vm: Any, mark: Mark) -> None:
    """Set the custom attributes, and define them where the vCenter does not have them yet.

    A single ESXi host has none; there the notes have to do. Raises VcenterFault.
    """
    manager = session.content.customFieldsManager
    if manager is None:
        return
    keys = _keys(session, manager)
    for field, value in mark.values.items():
        set_field = partial(manager.SetField, vm, keys[field], value)
        session.act(set_field, f"the mark {PREFIX}{field} on {mark.host}")


def marked(session: Session, owner: str) -> tuple[Marked, ...]:
    """Every virtual machine that bears the marks of this lab, made for the name that it has. By name."""
    names = {
        key: field for field, key in _keys(session, session.content.customFieldsManager, make=False).items()
    }
    rows = find.properties(session, vim.VirtualMachine, PATHS)
    found = [each for vm, row in rows if (each := _read(vm, row, names)) is not None]
    ours = [each for each in found if each.owner == owner and each.host == each.name]
    return tuple(sorted(ours, key=lambda each: each.name))


def mark_of(session: Session, vm: Any) -> Marked | None:
    """The marks of one machine, whoever's they are; None without."""
    manager = session.content.customFieldsManager
    names = {key: field for field, key in _keys(session, manager, make=False).items()}

    def read() -> dict[str, Any]:
        return {
            "name": vm.name,
            "customValue": vm.customValue,
            "config.annotation": vm.config.annotation if vm.config else "",
            "config.instanceUuid": vm.config.instanceUuid if vm.config else "",
            "config.template": vm.config.template if vm.config else False,
            "runtime.powerState": vm.runtime.powerState,
        }

    return _read(vm, session.read(read, "the marks of a machine"), names)


def _read(vm: Any, row: Mapping[str, Any], names: Mapping[int, str]) -> Marked | None:
    values = _of_notes(row.get("config.annotation") or "")
    values |= {names[each.key]: each.value for each in row.get("customValue") or () if each.key in names}
    if not values.get("owner") or row.get(
        "config.template"
    ):  # whoever made a template of it wants to keep it
        return None
    on = str(row.get("runtime.powerState")) == "poweredOn"
    return Marked(
        vm,
        unquote(row["name"]),
        PowerState.ON if on else PowerState.OFF,
        values["owner"],
        values.get("run", ""),
        values.get("host", ""),
        _moment(values.get("until", "")),
        str(row.get("config.instanceUuid") or ""),
    )


def _of_notes(notes: str) -> dict[str, str]:
    """The marks that a clone was born with; people may have written something before or after."""
    _, _, text = notes.partition(NOTES)
    try:
        found, _ = json.JSONDecoder().raw_decode(text)
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {field: found[field] for field in FIELDS if isinstance(found.get(field), str)}


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None


def _keys(session: Session, manager: Any, *, make: bool = True) -> dict[str, int]:
    """The vCenter's number of each of our custom attributes."""
    if manager is None:
        return {}

    def known() -> dict[str, int]:
        fields = session.read(lambda: manager.field, "the custom attributes") or ()
        ours = (each for each in fields if each.managedObjectType in (None, vim.VirtualMachine))
        return {each.name.removeprefix(PREFIX): each.key for each in ours if each.name.startswith(PREFIX)}

    found = {field: key for field, key in known().items() if field in FIELDS}
    for field in FIELDS if make else ():
        if field in found:
            continue
        try:
            define = partial(manager.AddCustomFieldDef, PREFIX + field, vim.VirtualMachine)
            found[field] = session.act(define, f"the custom attribute {PREFIX}{field}").key
        except VcenterFault as error:
            if error.fault != "DuplicateName":  # another process was first
                raise
            found[field] = known()[field]
    return found
