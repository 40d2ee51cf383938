"""`lab triage`: what a dump says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lab.analysis import triage as analyse
from lab.cli.console import out, to_json
from lab.cli.options import Json, Symbols
from lab.dumps.user import summarise
from lab.model import DumpError
from lab.report.triage_text import render
from lab.report.user_dump_text import describe
from lab.symbols import Symbols as Store


def triage(
    dump: Annotated[Path, typer.Argument(help="A kernel dump (MEMORY.DMP, minidump); MDMP is summarised.")],
    symbols: Symbols = [],  # noqa: B006  typer copies it
    json: Json = False,
) -> None:
    """Read a dump like the debugger's !analyze, !verifier 200 and !fltkd.volume, without Windows.

    Known debugger words: !analyze, kn, lm, !thread, !verifier, !devstack, !fltkd.volume.
    """
    if _first_bytes(dump) == b"MDMP":
        summary = summarise(dump)
        if json:
            typer.echo(to_json(summary))
        else:
            out.print(describe(summary), soft_wrap=True, markup=False)
        return
    found = analyse(dump, Store(tuple(symbols)))
    if json:
        typer.echo(to_json(found))
    else:
        out.print(render(found), soft_wrap=True, markup=False)


def _first_bytes(dump: Path) -> bytes:
    if dump.exists() and not dump.is_file():
        raise DumpError(f"{dump} is not a file", help="Give the dump file itself; unpack it first.")
    try:
        with dump.open("rb") as file:
            return file.read(4)
    except OSError as error:
        raise DumpError(
            f"{dump} cannot be read: {error.strerror}", help="Check the path and its permissions."
        ) from None
