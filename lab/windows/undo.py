"""How to put a guest back as it was found: scripts and their parameters, to the journal and back again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lab.model import (
    BootMode,
    ClassFilter,
    ConfigurationError,
    CrashControl,
    Driver,
    DriverSetting,
    StartType,
    VerifierPlan,
    VerifierState,
)
from lab.windows.guest import Guest
from lab.windows.shell import Script
from lab.windows.surgery import settings, switchable

Undoing = tuple[str, Script, Mapping[str, Any]]
"""What it puts back, the script, and its parameters, fit for JSON."""


def as_found(
    drivers: Sequence[Driver], verifier: VerifierState, crash_control: CrashControl
) -> list[Undoing]:
    """The inverses of everything the lab may change on a guest.

    Only switchable drivers are in it; the others are never touched.
    """
    may = switchable(drivers)
    wanted = settings(d for d in drivers if d.service in may)
    plan = verifier.pending
    undoings: list[Undoing] = [
        (
            "crash control",
            Script("Set-LabCrashControl"),
            {
                "CrashDumpEnabled": crash_control.crash_dump_enabled,
                "AutoReboot": int(crash_control.auto_reboot),
                "Overwrite": int(crash_control.overwrite),
                "AlwaysKeepMemoryDump": int(crash_control.always_keep),
            },
        ),
        (
            "verifier settings",
            Script("Set-LabVerifier"),
            {"Flags": plan.flags, "Driver": list(plan.drivers), "BootMode": plan.boot_mode.value},
        ),
    ]
    if wanted:
        undoings.append(
            (
                f"start types and class filters of {len(wanted)} drivers",
                Script("Set-LabDriver"),
                {
                    "Service": [s.service for s in wanted],
                    "Start": [int(s.start) for s in wanted],
                    "ClassFilter": [
                        f"{s.service}|{f.class_guid}|{f.position}|{f.index}"
                        for s in wanted
                        for f in s.class_filters
                    ],
                },
            )
        )
    return undoings


def replay(guest: Guest, script: str, parameters: Mapping[str, object]) -> None:
    """Carry out one undo entry as the journal gives it back, and see that it held.

    Raises ConfigurationError for an entry that `as_found` does not write, before the guest is asked for
    anything; NotApplied when the guest's answer differs from the entry; and what the guest's calls raise.
    """
    read = _ENTRIES.get(script)
    try:
        if read is None:
            raise _Unfit("this version writes no such entry")
        act = read(parameters)
    except (_Unfit, ValueError) as error:
        raise ConfigurationError(
            f"the undo entry for {script} cannot be carried out: {error}",
            help="The journal was changed by hand, or by another version.",
        ) from None
    act(guest)


class _Unfit(Exception):
    """What is wrong with an entry."""


def _drivers(stored: Mapping[str, object]) -> Callable[[Guest], object]:
    services, starts = _texts(stored, "Service"), _numbers(stored, "Start")
    if len(services) != len(starts):
        raise _Unfit(f"it has {len(services)} services and {len(starts)} start types")
    places: dict[str, list[ClassFilter]] = {name: [] for name in services}
    for line in _texts(stored, "ClassFilter"):
        service, *place = line.rsplit("|", 3)
        if service not in places or len(place) != 3:
            raise _Unfit(f"'{line}' is no class filter of one of its services")
        guid, position, index = place
        places[service].append(ClassFilter(guid, "", position, int(index)))
    wanted = [
        DriverSetting(name, StartType(start), tuple(places[name]))
        for name, start in zip(services, starts, strict=True)
    ]
    return lambda guest: guest.set_drivers(wanted)


def _verifier(stored: Mapping[str, object]) -> Callable[[Guest], object]:
    mode = BootMode(_text(stored, "BootMode"))
    plan = VerifierPlan(_number(stored, "Flags"), tuple(_texts(stored, "Driver")), mode)

    def put_back(guest: Guest) -> None:
        if guest.verifier().pending != plan:  # a verifier that refuses everything was not changed either
            guest.set_verifier(plan)

    return put_back


def _crash_control(stored: Mapping[str, object]) -> Callable[[Guest], object]:
    kind = _number(stored, "CrashDumpEnabled")
    reboot, overwrite, keep = (
        bool(_number(stored, name)) for name in ("AutoReboot", "Overwrite", "AlwaysKeepMemoryDump")
    )
    return lambda guest: guest.set_crash_values(
        crash_dump_enabled=kind, auto_reboot=reboot, overwrite=overwrite, always_keep=keep
    )


_ENTRIES: Mapping[str, Callable[[Mapping[str, object]], Callable[[Guest], object]]] = {
    "Set-LabDriver": _drivers,
    "Set-LabVerifier": _verifier,
    "Set-LabCrashControl": _crash_control,
}


def _number(stored: Mapping[str, object], name: str) -> int:
    value = stored.get(name)
    if not isinstance(value, int):
        raise _Unfit(f"{name} is no number")
    return int(value)


def _text(stored: Mapping[str, object], name: str) -> str:
    value = stored.get(name)
    if not isinstance(value, str):
        raise _Unfit(f"{name} is no text")
    return value


def _texts(stored: Mapping[str, object], name: str) -> list[str]:
    value = stored.get(name)
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise _Unfit(f"{name} is no list of texts")
    return value


def _numbers(stored: Mapping[str, object], name: str) -> list[int]:
    value = stored.get(name)
    if not isinstance(value, list) or not all(isinstance(v, int) for v in value):
        raise _Unfit(f"{name} is no list of numbers")
    return value
