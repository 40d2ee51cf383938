"""A problem of an answer file."""

from __future__ import annotations

from typing import NamedTuple


class Problem(NamedTuple):
    """What is wrong, in a sentence without full stop, and where."""

    line: int
    text: str
