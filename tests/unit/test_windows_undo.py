"""Undo entries: as the journal keeps them, carried out and compared."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from lab.inventory import Timeouts
from lab.model import (
    BootMode,
    ClassFilter,
    ConfigurationError,
    CrashControl,
    Driver,
    NotApplied,
    Origin,
    StartType,
    SystemClock,
    VerifierPlan,
    VerifierState,
)
from lab.windows import Guest, Script, undo
from lab.windows.shell import Parameter

DISK = "{4d36e967-e325-11ce-bfc1-08002be10318}"
PLACES = (ClassFilter(DISK, "DiskDrive", "lower", 0), ClassFilter(DISK, "DiskDrive", "upper", 2))
FILTER = Driver("Filter", "f.sys", "", StartType.BOOT, True, class_filters=PLACES, origin=Origin.THIRD_PARTY)
PLAIN = Driver("Plain", "p.sys", "", StartType.SYSTEM, True, origin=Origin.UNKNOWN)
CRASH = CrashControl(7, True, False, False, r"C:\Windows\MEMORY.DMP", 1 << 36, False)


CHANGED = {
    "pendingFlags": 0x209BB,
    "pendingDrivers": ["changed.sys"],
    "bootMode": "oneboot",
    "activeFlags": 0,
    "activeDrivers": [],
}
"""The verifier as the lab has changed it."""


class Obedient:
    """A guest's shell that does what the scripts promise; `stubborn` changes what is read back."""

    def __init__(self, **stubborn: object) -> None:
        self.stubborn = stubborn
        self.seen: list[tuple[str, dict[str, Parameter]]] = []

    def run(self, script: Script, **given: Any) -> list[dict[str, Any]]:
        if script.name == "Get-LabVerifier":
            return [CHANGED]
        self.seen.append((script.name, given))
        rows: list[dict[str, Any]]
        if script.name == "Set-LabDriver":
            rows = [
                {"service": service, "start": start, "classFilters": places(given["ClassFilter"], service)}
                for service, start in zip(given["Service"], given["Start"], strict=True)
            ]
        elif script.name == "Set-LabVerifier":
            rows = [
                {
                    "exitCode": 2,
                    "message": "",
                    "pendingFlags": given["Flags"],
                    "pendingDrivers": given["Driver"],
                }
            ]
        else:
            rows = [
                {
                    "crashDumpEnabled": given["CrashDumpEnabled"],
                    "autoReboot": given["AutoReboot"],
                    "overwrite": given["Overwrite"],
                    "alwaysKeepMemoryDump": given["AlwaysKeepMemoryDump"],
                    "dumpFile": CRASH.dump_file,
                    "systemDriveFreeBytes": 1,
                    "dumpInitializationFailed": False,
                }
            ]
        return [row | self.stubborn for row in rows]

    def close(self) -> None:
        pass


def places(lines: list[str], service: str) -> list[dict[str, Any]]:
    found = [line.split("|") for line in lines]
    return [
        {"classGuid": guid, "className": "DiskDrive", "position": position, "index": int(index)}
        for name, guid, position, index in found
        if name == service
    ]


def guest(shell: Obedient) -> Guest:
    return Guest(shell, SystemClock(), Timeouts())


def entries(plan: VerifierPlan = VerifierPlan()) -> dict[str, dict[str, Any]]:  # noqa: B008
    """What the journal gives back, by script."""
    written = undo.as_found([FILTER, PLAIN], VerifierState(plan, 0, ()), CRASH)
    return {script.name: json.loads(json.dumps(dict(given))) for _, script, given in written}


@pytest.mark.parametrize(
    "plan",
    [
        VerifierPlan(),
        VerifierPlan(0x9BB, ("*",)),
        VerifierPlan(0x800),
        VerifierPlan(0x810, ("a.sys", "b.sys"), BootMode.RESET_ON_BOOT_FAIL),
    ],
)
def test_what_was_found_is_what_is_put_back(plan: VerifierPlan) -> None:
    shell = Obedient()
    stored = entries(plan)
    for script, given in stored.items():
        undo.replay(guest(shell), script, given)
    assert dict(shell.seen) == stored
    assert set(stored) == {"Set-LabCrashControl", "Set-LabVerifier", "Set-LabDriver"}


def test_a_verifier_that_is_as_found_is_left_alone() -> None:
    """One that refuses every change was not changed either, and must not keep a host from being restored."""
    shell = Obedient()
    plan = VerifierPlan(0x209BB, ("changed.sys",), BootMode.ONE_BOOT)
    undo.replay(guest(shell), "Set-LabVerifier", entries(plan)["Set-LabVerifier"])
    assert shell.seen == []


@pytest.mark.parametrize(
    ("script", "stubborn", "says"),
    [
        ("Set-LabDriver", {"start": 4}, "Filter has start type 4 instead of 0; Plain has"),
        ("Set-LabDriver", {"classFilters": []}, "Filter has other places"),
        ("Set-LabVerifier", {"pendingFlags": 0x810}, "asked for flags 0x0 and no drivers"),
        ("Set-LabCrashControl", {"overwrite": 1}, "overwrite is True"),
    ],
)
def test_what_does_not_hold_is_no_success(script: str, stubborn: dict[str, object], says: str) -> None:
    with pytest.raises(NotApplied, match=says):
        undo.replay(guest(Obedient(**stubborn)), script, entries()[script])


@pytest.mark.parametrize(
    ("script", "changed", "says"),
    [
        ("Restart-LabGuest", {"Token": "x"}, "this version writes no such entry"),
        ("Set-LabDriver", {"Start": [0]}, "2 services and 1 start types"),
        ("Set-LabDriver", {"Start": [0, 9]}, "9 is not a valid StartType"),
        ("Set-LabDriver", {"Service": "Filter"}, "Service is no list of texts"),
        ("Set-LabDriver", {"ClassFilter": [f"Other|{DISK}|upper|0"]}, "is no class filter of one of its"),
        ("Set-LabDriver", {"ClassFilter": ["Filter|upper|0"]}, "is no class filter of one of its"),
        ("Set-LabVerifier", {"BootMode": "never"}, "'never' is not a valid BootMode"),
        ("Set-LabVerifier", {"Flags": None}, "Flags is no number"),
        ("Set-LabCrashControl", {"AutoReboot": "1"}, "AutoReboot is no number"),
    ],
)
def test_an_entry_that_makes_no_sense_asks_the_guest_for_nothing(
    script: str, changed: dict[str, object], says: str
) -> None:
    shell = Obedient()
    with pytest.raises(ConfigurationError, match=says):
        undo.replay(guest(shell), script, entries().get(script, {}) | changed)
    assert shell.seen == []


def test_only_what_may_be_switched_is_written_down() -> None:
    found = [replace(FILTER, pinned="needed"), replace(PLAIN, origin=Origin.IN_BOX)]
    scripts = [
        script.name for _, script, _ in undo.as_found(found, VerifierState(VerifierPlan(), 0, ()), CRASH)
    ]
    assert scripts == ["Set-LabCrashControl", "Set-LabVerifier"]
