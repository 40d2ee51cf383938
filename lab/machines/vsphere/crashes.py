"""Bugchecks as ESXi and vCenter saw them, without the guest.

Windows writes the code and the parameters of a bugcheck into the synthetic registers 0x40000100 to 0x40000104
(HV_X64_MSR_CRASH_P0 to P4) of its hypervisor, and ESXi writes them into vmware.log, a line each: Broadcom's
articles 427504 and 417490. vCenter itself only knows that there was a crash (VmGuestOSCrashedEvent).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pyVmomi import vim

from lab.machines.port import OutOfBandStop
from lab.machines.vsphere import Vcenter
from lab.machines.vsphere.files import DatastoreFile, folder_of, listing
from lab.model import Bugcheck

MOST_LOG = 16 << 20
"""Bytes that are read of one log, from its end."""

MOST_LOGS = 3
"""The present log and those before it: a machine begins a new one when it is powered on."""

APART = timedelta(seconds=5)
"""Lines of one bugcheck are written within milliseconds."""

SAME = timedelta(minutes=2)
"""So far may ESXi's log and vCenter's event of one crash be apart."""

_LINE = re.compile(r"WinBSOD: Synthetic MSR\s?\[0x4000010([0-4])\]\s*:?=?\s*(?:0x)?([0-9a-fA-F]{1,16})\b")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,6}))?\d*(Z|[+-]\d\d:?\d\d)?")


@dataclass
class Logged:
    """One bugcheck of a vmware.log. `values` by register, 0 the code, as far as they were there."""

    at: datetime
    values: dict[int, int]

    @property
    def bugcheck(self) -> Bugcheck:
        """What the log does not have is 0."""
        code, first, second, third, fourth = (self.values.get(index, 0) for index in range(5))
        return Bugcheck(code, (first, second, third, fourth))

    @property
    def missing(self) -> int:
        return 5 - len(self.values)


def logged(lines: Iterable[str], otherwise: datetime) -> list[Logged]:
    """The bugchecks of a vmware.log, in its order.

    Times without a zone are UTC, as ESXi writes them. A line without a time has that of the last one before
    it, or `otherwise`. A register that comes twice, or comes later, begins another bugcheck.
    """
    found: list[Logged] = []
    at = otherwise
    for line in lines:
        at = _time(line) or at
        hit = _LINE.search(line)
        if hit is None:
            continue
        register, value = int(hit[1]), int(hit[2], 16)
        if not found or register in found[-1].values or abs(at - found[-1].at) > APART:
            found.append(Logged(at, {}))
        found[-1].values[register] = value
    return [each for each in found if each.values.get(0)]


def stops(vcenter: Vcenter, vm: Any, name: str, since: datetime) -> tuple[OutOfBandStop, ...]:
    """What was seen of a machine's bugchecks, oldest first.

    A stop of code 0 is one of which only vCenter's event is known. Raises VcenterFault, InfrastructureError.
    """
    found = [each for each in _of_logs(vcenter, vm, name, since) if each.at >= since]
    for at in _events(vcenter, vm, since):
        if all(abs(each.at - at) > SAME for each in found):
            found.append(OutOfBandStop(at, Bugcheck(0), f"VmGuestOSCrashedEvent of {name}"))
    return tuple(sorted(found, key=lambda each: each.at))


def _of_logs(vcenter: Vcenter, vm: Any, name: str, since: datetime) -> list[OutOfBandStop]:
    logs = listing(vcenter, vm, folder_of(vcenter, vm), "vmware*.log")
    logs = tuple(each for each in logs if each.modified is None or each.modified >= since)
    newest = sorted(logs, key=lambda each: each.modified or datetime.max.replace(tzinfo=UTC))[-MOST_LOGS:]
    found = []
    for log in newest:
        start = max(0, log.length - MOST_LOG)
        text = (
            DatastoreFile(vcenter.session, log).read_at(start, log.length - start).decode("utf-8", "replace")
        )
        for each in logged(text.splitlines(), log.modified or since):
            lacks = f" (cut off: {each.missing} of its 5 values are missing)" if each.missing else ""
            found.append(OutOfBandStop(each.at, each.bugcheck, f"{log.name} of {name}{lacks}"))
    return found


def _events(vcenter: Vcenter, vm: Any, since: datetime) -> list[datetime]:
    spec = vim.event.EventFilterSpec(
        entity=vim.event.EventFilterSpec.ByEntity(entity=vm, recursion="self"),
        time=vim.event.EventFilterSpec.ByTime(beginTime=since),
        eventTypeId=["VmGuestOSCrashedEvent"],
    )
    session = vcenter.session
    events = session.read(lambda: session.content.eventManager.QueryEvents(spec), "events of a guest's crash")
    crashes = [each for each in events or () if isinstance(each, vim.event.VmGuestOSCrashedEvent)]
    return [each.createdTime for each in crashes if each.createdTime >= since]


def _time(line: str) -> datetime | None:
    found = _TIME.match(line)
    if found is None:
        return None
    day, hour, fraction, zone = found.groups()
    zone = zone if zone and zone != "Z" else "+00:00"
    try:
        return datetime.fromisoformat(f"{day}T{hour}.{(fraction or '0'):0<6}{zone}")
    except ValueError:
        return None
