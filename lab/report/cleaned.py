"""Values with every text in them made harmless for a terminal or a page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import TypeVar, cast

from lab.report import words

T = TypeVar("T")


def cleaned(value: T, clean: Callable[[str], str] = words.visible) -> T:
    """`value` with `clean` applied to every text in it, however deep: in dataclasses and in tuples.

    A part that needs no change is kept as it is, not copied.
    """
    if isinstance(value, str):
        return value if isinstance(value, Enum) else cast(T, clean(value))
    if isinstance(value, tuple):
        items = tuple(cleaned(item, clean) for item in value)
        return value if all(a is b for a, b in zip(items, value, strict=True)) else cast(T, items)
    if is_dataclass(value) and not isinstance(value, type):
        old = {f.name: getattr(value, f.name) for f in fields(value)}
        new = {name: cleaned(item, clean) for name, item in old.items()}
        return value if all(new[name] is item for name, item in old.items()) else cast(T, type(value)(**new))
    return value
