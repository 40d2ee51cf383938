"""The two consoles: results on standard output, the story and errors on standard error."""

from __future__ import annotations

import typer
from rich.console import Console

from lab.cli.paint import painted
from lab.report.data import to_json

__all__ = ["errors", "out", "show", "to_json"]

out = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def show(text: str) -> None:
    """Print text in the debugger's form: coloured on a terminal, as it is elsewhere.

    It must hold no characters that move a terminal's cursor (see `lab.report.cleaned`).
    """
    if out.is_terminal:
        out.print(painted(text), soft_wrap=True)
    else:
        typer.echo(text.removesuffix("\n"))
