"""A case as JSON: the values of `lab.model` themselves, for other programs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from enum import Enum
from typing import Any

from pydantic import TypeAdapter

from lab.model import Case

ADAPTER: TypeAdapter[Case] = TypeAdapter(Case)
"""Reads back what `render_json` writes: `ADAPTER.validate_json(text) == case`, lone surrogates aside."""


def render_json(case: Case) -> str:
    """The whole case as indented ASCII JSON with a final newline. Equal cases give equal text.

    Addresses are JSON integers up to 2**64 - 1: a reader must not round them to doubles.
    `ADAPTER.json_schema()` is the schema.
    """
    return json.dumps(_plain(case), indent=2) + "\n"


def _plain(value: Any) -> Any:
    """Dataclasses become objects, sets become sorted lists (their own order differs between runs)."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, frozenset | set):
        return sorted((_plain(item) for item in value), key=str)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str):
        # A lone surrogate (from a dump's UTF-16) is no Unicode text and no JSON reader takes it.
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    return value
