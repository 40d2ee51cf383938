"""The two consoles: results on standard output, the story and errors on standard error."""

from __future__ import annotations

from pydantic_core import to_json as _to_json
from rich.console import Console

out = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def to_json(value: object) -> str:
    """One line of JSON for any of the model's values."""
    return _to_json(value).decode()
