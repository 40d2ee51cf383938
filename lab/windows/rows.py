"""From a script's JSON objects to the model's values. A row of the wrong shape is a GuestError."""

from __future__ import annotations

import ntpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from lab.model import (
    Boot,
    BootMode,
    Bugcheck,
    BugcheckEvent,
    ClassFilter,
    CrashControl,
    Driver,
    DriverSetting,
    GuestError,
    QueueSample,
    StartType,
    VerifierPlan,
    VerifierState,
)
from lab.windows.origin import classify, pin
from lab.windows.shell import Script

Row = Mapping[str, Any]
T = TypeVar("T")


def one(script: Script, found: list[dict[str, Any]], convert: Callable[[Script, Row], T]) -> T:
    """The single object that a script of one object must give."""
    if len(found) != 1:
        raise GuestError(f"script {script.name} answered with {len(found)} objects instead of one")
    return convert(script, found[0])


def integer(script: Script, row: Row, key: str) -> int:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(script, key, value)
    return value


def text(script: Script, row: Row, key: str) -> str:
    """A string; null, which PowerShell gives for an absent value, is ""."""
    value = row.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong(script, key, value)
    return value


def boolean(script: Script, row: Row, key: str) -> bool:
    value = row.get(key)
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    raise _wrong(script, key, value)


def texts(script: Script, row: Row, key: str) -> tuple[str, ...]:
    value = row.get(key)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise _wrong(script, key, value)
    return tuple(value)


def _wrong(script: Script, key: str, value: object) -> GuestError:
    return GuestError(f"script {script.name} answered with {key} = {str(value)[:80]!r}, of the wrong type")


def boot(script: Script, row: Row) -> Boot:
    started = text(script, row, "bootTime")
    if not started:
        raise _wrong(script, "bootTime", None)
    return Boot(
        identity=f"{integer(script, row, 'bootId')}/{started}",
        started=started,
        now=text(script, row, "now"),
        computer=text(script, row, "computer"),
        build=integer(script, row, "build"),
        os_name=text(script, row, "osName"),
        machine_uuid=text(script, row, "uuid"),
        processors=integer(script, row, "processors"),
        memory_bytes=integer(script, row, "memoryBytes"),
    )


def driver(script: Script, row: Row, pinned: Mapping[str, str]) -> Driver:
    service = text(script, row, "service")
    group = text(script, row, "group")
    path = text(script, row, "imagePath")
    company, signer = text(script, row, "company"), text(script, row, "signer")
    version, running = text(script, row, "version"), boolean(script, row, "running")
    origin, because = classify(company, signer, version, running=running)
    return Driver(
        service=service,
        image=ntpath.basename(path) or f"{service}.sys",  # Windows' own default when ImagePath is absent
        image_path=path,
        start=_start(script, row),
        running=running,
        display_name=text(script, row, "displayName"),
        group=group,
        company=company,
        signer=signer,
        version=version,
        error_control=integer(script, row, "errorControl"),
        altitudes=texts(script, row, "altitudes"),
        class_filters=_class_filters(script, row),
        depends_on=texts(script, row, "dependsOn"),
        origin=origin,
        origin_because=because,
        pinned=pin(service, group, pinned),
    )


def setting(script: Script, row: Row) -> DriverSetting:
    return DriverSetting(text(script, row, "service"), _start(script, row), _class_filters(script, row))


def _start(script: Script, row: Row) -> StartType:
    value = integer(script, row, "start")
    try:
        return StartType(value)
    except ValueError:
        raise _wrong(script, "start", value) from None


def _class_filters(script: Script, row: Row) -> tuple[ClassFilter, ...]:
    found = row.get("classFilters") or []
    if not isinstance(found, list) or not all(isinstance(f, Mapping) for f in found):
        raise _wrong(script, "classFilters", found)
    return tuple(
        sorted(
            ClassFilter(
                text(script, f, "classGuid"),
                text(script, f, "className"),
                text(script, f, "position"),
                integer(script, f, "index"),
            )
            for f in found
        )
    )


def difference(wanted: DriverSetting, held: DriverSetting | None) -> str:
    """What a driver's setting differs in after it was written; "" when it holds."""
    if held is None:
        return f"{wanted.service} was not read back"
    if held.start != wanted.start:
        return f"{wanted.service} has start type {held.start.value} instead of {wanted.start.value}"
    places = [
        {(f.class_guid.casefold(), f.position, f.index) for f in s.class_filters} for s in (wanted, held)
    ]
    if places[0] != places[1]:
        return f"{wanted.service} has other places in the class filter lists than asked for"
    return ""


def verifier(script: Script, row: Row) -> VerifierState:
    mode = text(script, row, "bootMode") or BootMode.PERSISTENT.value
    try:
        boot_mode = BootMode(mode.casefold())
    except ValueError:
        raise _wrong(script, "bootMode", mode) from None
    return VerifierState(
        pending=VerifierPlan(
            integer(script, row, "pendingFlags"), texts(script, row, "pendingDrivers"), boot_mode
        ),
        active_flags=integer(script, row, "activeFlags"),
        active_drivers=texts(script, row, "activeDrivers"),
    )


@dataclass(frozen=True)
class VerifierChange:
    """What verifier.exe answered, and what the registry held afterwards."""

    exit_code: int
    message: str
    flags: int
    drivers: tuple[str, ...]


def verifier_change(script: Script, row: Row) -> VerifierChange:
    return VerifierChange(
        integer(script, row, "exitCode"),
        " ".join(text(script, row, "message").split()),
        integer(script, row, "pendingFlags"),
        texts(script, row, "pendingDrivers"),
    )


def crash_control(script: Script, row: Row) -> CrashControl:
    return CrashControl(
        crash_dump_enabled=integer(script, row, "crashDumpEnabled"),
        auto_reboot=boolean(script, row, "autoReboot"),
        overwrite=boolean(script, row, "overwrite"),
        always_keep=boolean(script, row, "alwaysKeepMemoryDump"),
        dump_file=text(script, row, "dumpFile"),
        system_drive_free_bytes=integer(script, row, "systemDriveFreeBytes"),
        dump_initialization_failed=boolean(script, row, "dumpInitializationFailed"),
    )


def bugcheck_event(script: Script, row: Row) -> BugcheckEvent:
    bugcheck = None
    if row.get("code") is not None:
        try:
            values = [int(p, 16) for p in texts(script, row, "parameters")]
            first, second, third, fourth = values
        except ValueError:
            raise _wrong(script, "parameters", row.get("parameters")) from None
        bugcheck = Bugcheck(integer(script, row, "code"), (first, second, third, fourth))
    return BugcheckEvent(
        record=integer(script, row, "record"),
        event_id=integer(script, row, "eventId"),
        time=text(script, row, "time"),
        bugcheck=bugcheck,
        dump_path=text(script, row, "dumpPath"),
    )


def accepted(script: Script, row: Row) -> bool:
    return boolean(script, row, "accepted")


MOST_QUEUES = 1024
"""A server has a few for each processor; more is not Windows speaking."""


def server_queues(script: Script, row: Row) -> tuple[str, tuple[QueueSample, ...]]:
    """Why there are no counters ("" when there are), and each queue's sample."""
    found = row.get("queues")
    if not isinstance(found, list) or len(found) > MOST_QUEUES or not all(isinstance(q, dict) for q in found):
        raise _wrong(script, "queues", found)
    return text(script, row, "reason"), tuple(
        QueueSample(
            after=0.0,
            queue=text(script, queue, "name"),
            active_threads=integer(script, queue, "activeThreads"),
            available_threads=integer(script, queue, "availableThreads"),
            queue_length=integer(script, queue, "queueLength"),
        )
        for queue in found
    )
