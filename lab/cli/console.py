"""The two consoles: results on standard output, the story and errors on standard error."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import typer
from rich.console import Console

from lab.cli.paint import painted
from lab.report.data import to_json

__all__ = ["errors", "out", "show", "to_json", "working"]

out = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def working(what: str) -> AbstractContextManager[object]:
    """Says on a terminal what is being waited for, until the end of the block."""
    return errors.status(what) if errors.is_terminal else nullcontext()


def show(text: str) -> None:
    """Print text in the debugger's form: coloured on a terminal, as it is elsewhere.

    It must hold no characters that move a terminal's cursor (see `lab.report.cleaned`).
    """
    if out.is_terminal:
        out.print(painted(text), soft_wrap=True)
    else:
        typer.echo(text.removesuffix("\n"))
