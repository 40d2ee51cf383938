"""`lab triage`: what a dump says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lab.analysis import triage as analyse
from lab.cli.console import out
from lab.cli.options import Json, Symbols
from lab.dumps import is_user_dump, summarise
from lab.report import render_triage, to_json
from lab.symbols import Symbols as Store


def triage(
    dump: Annotated[Path, typer.Argument(help="A kernel dump (MEMORY.DMP, minidump); MDMP is summarised.")],
    symbols: Symbols = [],  # noqa: B006  typer copies it
    json: Json = False,
) -> None:
    """Read a dump like the debugger's !analyze, !verifier 200 and !fltkd.volume, without Windows.

    Known debugger words: !analyze, kn, lm, !thread, !verifier, !devstack, !fltkd.volume.
    """
    if is_user_dump(dump):
        summary = summarise(dump)
        typer.echo(to_json(summary) if json else str(summary))
        return
    found = analyse(dump, Store(tuple(symbols)))
    if json:
        typer.echo(to_json(found))
    else:
        out.print(render_triage(found), soft_wrap=True, markup=False)
