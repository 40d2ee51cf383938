"""How a named script's parameters are bound, and how it fails: as PowerShell would.

Names are compared without case. A parameter that is not there, or whose value is of another type, is an
error of the binding.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_DEFAULTS: Mapping[str, object] = {
    "AfterRecord": 0,
    "AlwaysKeepMemoryDump": 1,
    "AutoReboot": 1,
    "BootMode": "persistent",
    "ClassFilter": [],
    "CrashDumpEnabled": 2,
    "Driver": [],
    "Flags": 0,
    "Overwrite": 1,
    "Service": [],
    "Start": [],
    "Token": "",
}
"""What the scripts take for a parameter that is not given."""

Row = dict[str, Any]


@dataclass(frozen=True)
class PowerShellError(Exception):
    """A terminating error, as an error record carries it."""

    message: str
    error_id: str
    exception: str = "System.Management.Automation.RuntimeException"

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class NamedScript:
    """A script's answer, given the machine and its parameters by name, and the types of its parameters."""

    answer: Callable[..., list[Row]]
    types: Mapping[str, Callable[[object], object]]


def bind(script: NamedScript, parameters: Mapping[str, object]) -> dict[str, object]:
    """The arguments of `script.answer`, defaults filled in. Raises PowerShellError."""
    names = {name.casefold(): name for name in script.types}
    bound: dict[str, object] = {}
    for given, value in parameters.items():
        name = names.get(given.casefold())
        if name is None:
            raise _binding(f"A parameter cannot be found that matches parameter name '{given}'.")
        try:
            bound[name] = script.types[name](value)
        except (TypeError, ValueError):
            raise _binding(
                f"Cannot process argument transformation on parameter '{name}'. Cannot convert the value "
                f'"{value}" to the type of the parameter.'
            ) from None
    return {_snake(name): bound.get(name, _DEFAULTS[name]) for name in script.types}


def _binding(message: str) -> PowerShellError:
    return PowerShellError(
        message, "ParameterBindingException", "System.Management.Automation.ParameterBindingException"
    )


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError
    return int(value)


def string(value: object) -> str:
    return str(value)


def list_of(of: Callable[[object], object]) -> Callable[[object], object]:
    def convert(value: object) -> list[object]:
        if value is None:
            return []
        return [of(item) for item in value] if isinstance(value, list | tuple) else [of(value)]

    return convert
