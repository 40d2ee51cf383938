"""How to put a guest back as it was found: scripts and their parameters, ready for the journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from lab.model import ConfigurationError, CrashControl, Driver, VerifierState
from lab.windows.shell import Parameter, Script
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


def parameters(stored: Mapping[str, object]) -> dict[str, Parameter]:
    """Parameters as the journal gives them back. Raises ConfigurationError for what no script takes."""
    wrong = [name for name, value in stored.items() if not _fits(value)]
    if wrong:
        raise ConfigurationError(
            f"the undo entry's parameter '{wrong[0]}' is nothing a guest script takes",
            help="The journal was changed by hand, or by another version.",
        )
    return {name: value for name, value in stored.items() if _fits(value)}


def _fits(value: object) -> TypeGuard[Parameter]:
    if isinstance(value, list):
        return all(isinstance(v, str) for v in value) or all(isinstance(v, int) for v in value)
    return isinstance(value, str | int)
