"""Answers to the named guest scripts, in the terms of docs/reference/guest-scripts.md.

No PowerShell runs here. A script is recognised by its second line, `# Script: NAME`; its parameters are
bound by the types that the reference gives. Anything else fails as PowerShell fails.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from lab.model import BootMode, StartType, VerifierPlan
from lab.twin.binding import NamedScript, PowerShellError, Row, bind, integer, list_of, string
from lab.twin.clock import iso
from lab.twin.disk import FREE_BYTES
from lab.twin.driver import CLASS_NAMES, CatalogueDriver
from lab.twin.machine import DUMP_PATH, MEMORY_BYTES, Machine
from lab.twin.misbehaviour import Misbehaviour
from lab.twin.registry import CrashSettings, UnknownService
from lab.twin.stopping import EVERY_DRIVER, verified

_OS_NAMES = {
    7601: "Microsoft Windows Server 2008 R2 Standard",
    9600: "Microsoft Windows Server 2012 R2 Standard",
    14393: "Microsoft Windows Server 2016 Standard",
    17763: "Microsoft Windows Server 2019 Standard",
    20348: "Microsoft Windows Server 2022 Standard",
}
_BUGCHECK_EVENTS = frozenset({1001, 41, 46})
_IMAGE = re.compile(r"""[^\s\\/:*?"<>|]+\.(sys|exe|dll)""", re.IGNORECASE)
_SECOND_LINE = re.compile(r"\A\ufeff?[^\n]*\n# Script: ([A-Za-z-]+)\s*$", re.MULTILINE)


def run(machine: Machine, text: str, parameters: Mapping[str, object]) -> str:
    """The one string a script writes. Raises PowerShellError, or Down when the guest is not there."""
    match = _SECOND_LINE.match(text.replace("\r\n", "\n"))
    if match is None or match[1] not in _SCRIPTS:
        first = (text.strip().splitlines() or [""])[0][:60]
        raise PowerShellError(
            f"The term '{first}' is not recognized as the name of a cmdlet, function, script file, or "
            "operable program. Check the spelling of the name, or if a path was included, verify that "
            "the path is correct and try again.",
            "CommandNotFoundException",
            "System.Management.Automation.CommandNotFoundException",
        )
    script = _SCRIPTS[match[1]]
    arguments = bind(script, parameters)
    with machine.lock:
        machine.running()
        rows = script.answer(machine, **arguments)
    return json.dumps(rows, separators=(",", ":"))


def _get_boot(machine: Machine) -> list[Row]:
    kernel = machine.running()
    return [
        {
            "bootId": machine.boot_id,
            "bootTime": iso(kernel.booted),
            "now": iso(machine.clock.seconds()),
            "computer": kernel.computer,
            "build": kernel.build,
            "osName": _OS_NAMES[kernel.build],
            "uuid": machine.uuid,
            "processors": kernel.processors,
            "memoryBytes": MEMORY_BYTES,
        }
    ]


def _get_driver(machine: Machine) -> list[Row]:
    running = {driver.service for driver in machine.running().loaded.drivers}
    by_name = sorted(machine.registry.drivers, key=lambda driver: driver.service.casefold())
    return [_driver_row(machine, driver, driver.service in running) for driver in by_name]


def _driver_row(machine: Machine, driver: CatalogueDriver, running: bool) -> Row:
    return {
        "service": driver.service,
        "displayName": driver.display_name,
        "imagePath": driver.image_path,
        "start": int(machine.registry.starts[driver.service]),
        "errorControl": driver.error_control,
        "group": driver.group,
        "type": driver.service_type,
        "running": running,
        "company": driver.company,
        "signer": driver.signer,
        "version": driver.version or f"10.0.{machine.build}.1",
        "altitudes": [driver.altitude] if driver.altitude else [],
        "classFilters": _filter_rows(machine, driver.service),
        "dependsOn": list(driver.depends_on),
    }


def _filter_rows(machine: Machine, service: str) -> list[Row]:
    return [
        {"classGuid": p.class_guid, "className": p.class_name, "position": p.position, "index": p.index}
        for p in machine.registry.places(service)
    ]


def _set_driver(machine: Machine, service: list[str], start: list[int], class_filter: list[str]) -> list[Row]:
    if not service or len(service) != len(start):
        raise PowerShellError(
            f"Service has {len(service)} names and Start has {len(start)} numbers", "RuntimeException"
        )
    if any(value not in tuple(StartType) for value in start):
        raise PowerShellError("Start must be 0, 1, 2, 3 or 4.", "RuntimeException")
    try:
        names = [machine.registry.find(name).service for name in service]
    except UnknownService as unknown:
        raise PowerShellError(f"There is no driver service '{unknown}'.", "RuntimeException") from None
    places: dict[str, list[tuple[str, str, int]]] = {name: [] for name in names}
    for text in class_filter:
        name, guid, position, index = _class_filter(text)
        owner = next((known for known in names if known.casefold() == name.casefold()), None)
        if owner is None:
            raise PowerShellError(f"Class filter of '{name}', which is not named.", "RuntimeException")
        places[owner].append((guid, position, index))
    for name, value in zip(names, start, strict=True):
        machine.registry.set_driver(name, StartType(value), places[name])
    return [
        {
            "service": name,
            "start": int(machine.registry.starts[name]),
            "classFilters": _filter_rows(machine, name),
        }
        for name in names
    ]


def _class_filter(text: str) -> tuple[str, str, str, int]:
    parts = text.split("|")
    if len(parts) != 4 or parts[2] not in ("upper", "lower") or not parts[3].isdigit():
        raise PowerShellError(f"'{text}' is not service|classGuid|position|index.", "RuntimeException")
    guid = parts[1].lower()
    if guid not in CLASS_NAMES:
        raise PowerShellError(f"There is no device setup class '{parts[1]}'.", "RuntimeException")
    return parts[0], guid, parts[2], int(parts[3])


def _get_verifier(machine: Machine) -> list[Row]:
    pending, kernel = machine.registry.verifier, machine.running()
    return [
        {
            "pendingFlags": pending.flags,
            "pendingDrivers": list(pending.drivers),
            "bootMode": str(pending.boot_mode),
            "activeFlags": kernel.verifier.flags if kernel.verifier.drivers else 0,
            "activeDrivers": list(verified(kernel)),
        }
    ]


def _set_verifier(machine: Machine, flags: int, driver: list[str], boot_mode: str) -> list[Row]:
    if flags < 0:
        raise PowerShellError(f"{flags} are not verifier flags", "RuntimeException")
    for name in driver if driver != [EVERY_DRIVER] else []:
        if not _IMAGE.fullmatch(name):
            raise PowerShellError(f"'{name}' is no file name of a driver", "RuntimeException")
    code, message = 2, "The system must be restarted for the changes to take effect."
    modes = {str(mode): mode for mode in BootMode}
    if Misbehaviour.VERIFIER_REFUSED in machine.misbehave:
        code, message = 1, "The verifier settings could not be changed. Access is denied."
    elif boot_mode and boot_mode.casefold() not in modes:
        code, message = 1, f"Boot mode '{boot_mode}' is not valid."
    else:
        mode = modes.get(boot_mode.casefold(), BootMode.PERSISTENT) if driver else BootMode.PERSISTENT
        machine.registry.verifier = VerifierPlan(flags, tuple(driver), mode)
    pending = machine.registry.verifier
    return [
        {
            "exitCode": code,
            "message": message,
            "pendingFlags": pending.flags,
            "pendingDrivers": list(pending.drivers),
        }
    ]


def _get_crash_control(machine: Machine) -> list[Row]:
    crash = machine.registry.crash
    return [
        {
            "crashDumpEnabled": crash.crash_dump_enabled,
            "autoReboot": crash.auto_reboot,
            "overwrite": crash.overwrite,
            "alwaysKeepMemoryDump": crash.always_keep,
            "dumpFile": DUMP_PATH,
            "systemDriveFreeBytes": FREE_BYTES,
            "dumpInitializationFailed": Misbehaviour.NO_DUMP in machine.misbehave,
        }
    ]


def _set_crash_control(
    machine: Machine, crash_dump_enabled: int, auto_reboot: int, overwrite: int, always_keep_memory_dump: int
) -> list[Row]:
    machine.registry.crash = CrashSettings(
        crash_dump_enabled, auto_reboot, overwrite, always_keep_memory_dump
    )
    return _get_crash_control(machine)


def _get_bugcheck(machine: Machine, after_record: int) -> list[Row]:
    return [
        {
            "record": record.record,
            "eventId": record.event_id,
            "time": iso(record.seconds),
            # Kernel-Power writes zeros when it knows of no bugcheck.
            "code": record.code or None,
            "parameters": [f"0x{p:016x}" for p in record.parameters or ()] if record.code else None,
            "dumpPath": record.dump_path,
        }
        for record in machine.events.after(after_record, _BUGCHECK_EVENTS)
    ]


def _get_log_position(machine: Machine) -> list[Row]:
    return [{"record": machine.events.newest}]


def _get_server_queue(machine: Machine) -> list[Row]:
    counts = machine.queue_counts()
    return [
        {
            "reason": "",
            "queues": [
                {
                    "name": "SMB2 NonBlocking 0",
                    "activeThreads": counts.active,
                    "availableThreads": counts.available,
                    "queueLength": counts.length,
                    "currentClients": counts.clients,
                }
            ],
        }
    ]


def _restart_guest(machine: Machine, token: str) -> list[Row]:
    if not re.fullmatch(r"[A-Za-z0-9 ._:/#-]{1,200}", token):
        raise PowerShellError(f"'{token}' is not a token", "RuntimeException")
    machine.restart(token)
    return [{"accepted": True}]


_SCRIPTS: Mapping[str, NamedScript] = {
    "Get-LabBoot": NamedScript(_get_boot, {}),
    "Get-LabDriver": NamedScript(_get_driver, {}),
    "Set-LabDriver": NamedScript(
        _set_driver, {"Service": list_of(string), "Start": list_of(integer), "ClassFilter": list_of(string)}
    ),
    "Get-LabVerifier": NamedScript(_get_verifier, {}),
    "Set-LabVerifier": NamedScript(
        _set_verifier, {"Flags": integer, "Driver": list_of(string), "BootMode": string}
    ),
    "Get-LabCrashControl": NamedScript(_get_crash_control, {}),
    "Set-LabCrashControl": NamedScript(
        _set_crash_control,
        {
            "CrashDumpEnabled": integer,
            "AutoReboot": integer,
            "Overwrite": integer,
            "AlwaysKeepMemoryDump": integer,
        },
    ),
    "Get-LabBugcheck": NamedScript(_get_bugcheck, {"AfterRecord": integer}),
    "Get-LabLogPosition": NamedScript(_get_log_position, {}),
    "Get-LabServerQueue": NamedScript(_get_server_queue, {}),
    "Restart-LabGuest": NamedScript(_restart_guest, {"Token": string}),
}
