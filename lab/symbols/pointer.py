"""`file.ptr`: the file of a symbol store that says where the real one is."""

from __future__ import annotations

from lab.model import ConfigurationError
from lab.symbols.notes import printable

MAX_POINTER = 4096
"""Bytes of the largest `file.ptr`."""


def read_pointer(content: bytes) -> str:
    """The path or URL that it names. ConfigurationError with its message when it has one instead.

    Forms: `PATH:` and a path, `MSG:` and a sentence for the user, or a path alone.
    """
    text = content.decode("utf-8", "replace").strip("\ufeff\0 \t\r\n")
    kind, _, rest = text.partition(":")
    if kind.upper() == "MSG":
        raise ConfigurationError(f"file.ptr says: {printable(rest)}")
    target = rest.strip() if kind.upper() == "PATH" else text
    if not target or printable(target) != target:
        raise ConfigurationError("file.ptr does not name a file")
    return target
