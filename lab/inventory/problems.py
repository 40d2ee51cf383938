"""What is wrong with an inventory, in words: line and sentence for each of pydantic's errors."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from lab.inventory.host import Host
from lab.inventory.pool import Pool
from lab.inventory.settings import Settings
from lab.inventory.source import KeyPath, Source, dotted


def problem(source: Source, error: Any) -> tuple[int, str]:
    """Line and sentence for one of pydantic's errors."""
    path = _real_path(source.data, error["loc"], error["type"])
    key = dotted(path) or "the file"
    kind = error["type"]
    if kind == "extra_forbidden":
        return source.line(path), f"{key} is not a known key{guess(str(path[-1]), _siblings(path))}"
    if kind == "missing":
        return source.line(path), f"{key} is missing"
    if kind == "union_tag_not_found":
        return source.line(path), f"{key}.kind is missing"
    message = error["msg"]
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        message = "must be a mapping of keys to values"
    if kind == "union_tag_invalid":
        message = f"kind must be one of {error['ctx']['expected_tags']}, not '{error['ctx']['tag']}'"
    if kind == "string_pattern_mismatch":
        message = "does not have the form that is needed (see the schema)"
    message = message.replace("Input should be", "must be", 1)
    return source.line(path), f"{key}: {message}"


def _real_path(data: Any, loc: tuple[str | int, ...], kind: str) -> KeyPath:
    """pydantic's location without the names of union members that it puts in between."""
    path: list[str | int] = []
    for i, part in enumerate(loc):
        if isinstance(data, dict) and part in data:
            data = data[str(part)]
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        elif not (kind == "missing" and i == len(loc) - 1):
            continue
        path.append(part)
    return tuple(path)


def _siblings(path: KeyPath) -> list[str]:
    """Every key that any part of a host or pool may have: enough to guess at a typing error."""
    names: set[str] = {"hosts", "pools"}
    todo: list[Any] = [Host, Pool]
    while todo:
        model = todo.pop()
        for name, field in model.model_fields.items():
            names.add(name)
            todo += [t for t in _models(field.annotation) if t is not model]
    names.discard("name")
    return sorted(names)


def _models(annotation: Any) -> list[Any]:
    args = getattr(annotation, "__args__", ())
    if isinstance(annotation, type) and not args:
        return [annotation] if issubclass(annotation, Settings) else []
    return [model for arg in args for model in _models(arg)]


def guess(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
