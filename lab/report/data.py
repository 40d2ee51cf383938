"""Cases, triages and answers about dumps as JSON, for other programs.

The values of `lab.model` and of the readers, field by field. Addresses, codes and parameters of bugchecks are
hexadecimal strings ("0xfffff80002a93c40"), because they are written so, and because JavaScript and many other
readers of JSON round integers above 2**53.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
from collections.abc import Mapping
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

from lab.model import Case, Triage

FORMAT = 1
"""Version of the triage's JSON. Under it fields may be added; none is renamed, removed or changes meaning."""

_HEXADECIMAL = frozenset(
    {
        *("address", "base", "start", "end", "child_sp", "return_address", "instruction", "registers"),
        *("stack_base", "stack_limit", "directory_table_base", "prcb", "thread", "stack_pointer", "irp"),
        *("dispatch_routine", "device", "device_stack", "volume", "parameters", "code", "sub_code"),
        *("driver", "extension", "object_extension", "above", "below", "dispatch", "file", "lower"),
        *("list_head", "exception_code", "exception_address", "machine_type", "debugger_data"),
        *("module_list", "process_list", "pfn_database", "kernel_base", "level"),
    }
)
"""Fields whose integers are written in hexadecimal, wherever they are."""

_EXACT = 1 << 53
"""Integers from here on are not exact in JavaScript, so they are never written as numbers."""


def render_json(case: Case) -> str:
    """The whole case as indented ASCII JSON with a final newline. Equal cases give equal text."""
    return json.dumps(plain(case), indent=2) + "\n"


def read_json(text: str) -> Case:
    """The case that `render_json` wrote, lone surrogates aside. ValueError when it is none."""
    from pydantic import TypeAdapter  # costs more to import than a triage

    return TypeAdapter(Case).validate_python(_numbers(json.loads(text), Case))


def render_triage(triage: Triage, *, indent: int | None = None) -> str:
    """A triage as one ASCII JSON object: `format`, then the fields of `lab.model.Triage`."""
    return json.dumps({"format": FORMAT, **plain(triage)}, indent=indent)


def to_json(value: object, *, indent: int | None = None) -> str:
    """Any of our values as ASCII JSON, on one line unless `indent` is given."""
    return json.dumps(plain(value), indent=indent, default=str)


def plain(value: Any, *, hexadecimal: bool = False) -> Any:
    """`value` as what JSON has: dataclasses and mappings as objects, tuples as lists, sets sorted.

    `hexadecimal` writes the integers in it as such.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: plain(getattr(value, f.name), hexadecimal=f.name in _HEXADECIMAL)
            for f in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {plain(key): plain(item, hexadecimal=key in _HEXADECIMAL) for key, item in value.items()}
    if isinstance(value, frozenset | set):
        return sorted((plain(item) for item in value), key=str)
    if isinstance(value, tuple | list):
        return [plain(item, hexadecimal=hexadecimal) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str):
        # A lone surrogate (from a dump's UTF-16) is no Unicode text and no JSON reader takes it.
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, int) and not isinstance(value, bool) and (hexadecimal or abs(value) >= _EXACT):
        return f"{value:#x}"
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no such numbers
    return value


def _numbers(value: Any, kind: Any) -> Any:
    """`value` with hexadecimal text turned into integers where the type `kind` has integers."""
    if kind is int and isinstance(value, str):
        return int(value, 16)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type) and isinstance(value, dict):
        hints = get_type_hints(kind)
        return {name: _numbers(item, hints.get(name)) for name, item in value.items()}
    arguments = get_args(kind)
    if get_origin(kind) in (Union, types.UnionType):
        return next((new for each in arguments if (new := _numbers(value, each)) != value), value)
    if isinstance(value, dict) and len(arguments) == 2:
        return {key: _numbers(item, arguments[1]) for key, item in value.items()}
    if isinstance(value, list) and arguments:
        each = arguments if Ellipsis not in arguments and len(arguments) == len(value) else ()
        return [_numbers(item, each[i] if each else arguments[0]) for i, item in enumerate(value)]
    return value
