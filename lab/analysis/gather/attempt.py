"""Reading what may not be there: a value, or a note that says what is missing and why."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TypeVar

from lab.model import DumpError

T = TypeVar("T")


def attempt(notes: list[str], what: str, read: Callable[[], T | None]) -> T | None:
    """The value, or None with a note. A damaged dump may also make a structure's bytes nonsense."""
    try:
        return read()
    except DumpError as error:
        notes.append(f"{what} could not be read: {error.message}.")
    except (struct.error, ValueError, OverflowError, IndexError, RecursionError) as error:
        notes.append(f"{what} could not be read, the dump is damaged there: {error}.")
    return None


def quietly(read: Callable[[], T]) -> T | None:
    """The value, or None: for what is only looked for, and whose absence says nothing."""
    try:
        return read()
    except (DumpError, struct.error, ValueError, OverflowError, IndexError):
        return None


def sentence(text: str) -> str:
    """`text` as a sentence: its first letter large, a full stop at its end."""
    text = text[:1].upper() + text[1:]
    return text if text.endswith(".") else f"{text}."
