"""The only way to act inside a guest: a named script, typed parameters in, JSON out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import Any, Protocol

from lab.model import GuestError

MOST_OUTPUT = 128 << 20
"""Bytes of output that are taken in from one script; the rows of a script are below a few MB."""

Parameter = str | int | bool | list[str] | list[int]


@dataclass(frozen=True)
class Script:
    """A PowerShell script of `lab/windows/scripts`, by name."""

    name: str

    def text(self) -> str:
        return (resources.files("lab.windows") / "scripts" / f"{self.name}.ps1").read_text("utf-8")


class Shell(Protocol):
    """Runs scripts in one guest.

    `run` raises InfrastructureError when the guest cannot be reached, CredentialsRefused when the
    credentials are wrong, TimedOut when the script takes too long, GuestError with the
    guest's own message when it fails.
    A shell that lost its connection is closed and replaced, never reused.
    """

    def run(self, script: Script, **parameters: Parameter) -> list[dict[str, Any]]: ...
    def close(self) -> None: ...


def too_much(script: Script) -> GuestError:
    """A script wrote more than `MOST_OUTPUT`."""
    return GuestError(
        f"script {script.name} wrote more than {MOST_OUTPUT >> 20} MiB of output", help="Ask it for less."
    )


def parse_output(script: Script, text: str) -> list[dict[str, Any]]:
    """The JSON array a script wrote. Raises GuestError when it is anything else."""
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError):
        rows = None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise GuestError(f"script {script.name} did not answer with a JSON array of objects: {text[:200]!r}")
    return rows
