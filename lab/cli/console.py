"""The two consoles: results on standard output, the story and errors on standard error."""

from __future__ import annotations

from rich.console import Console

out = Console(highlight=False)
errors = Console(stderr=True, highlight=False)
