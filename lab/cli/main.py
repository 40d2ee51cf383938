"""The command's root: subcommands, version, and what an error becomes."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
from typing import Annotated

import typer
from rich.markup import escape

from lab import __version__
from lab.cli import case, demo, dump, host, load, reproduce, soak, triage, twin
from lab.cli.console import errors, out
from lab.dumps import DefectiveDump, Severity
from lab.model import LabError

app = typer.Typer(
    name="lab",
    help="Reproduce a Windows Server kernel crash, find the third-party driver that causes it, and prove it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("demo")(demo.demo)
app.command("triage")(triage.triage)
app.command("reproduce")(reproduce.reproduce)
app.command("load")(load.load)
app.command("soak")(soak.soak)
app.add_typer(case.app, name="case")
app.add_typer(dump.app, name="dump")
app.add_typer(host.app, name="host")
app.add_typer(twin.app, name="twin")


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"bugcheck-lab {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


EXIT_CODES = """\
[bold]Exit codes[/]
  0  done; for reproduce and demo: the culprit was found
  1  done, but without a culprit (see the verdict)
  2  the command line is wrong
  3  the input is wrong or was refused (inventory, host, options)
  4  infrastructure: unreachable, wrong credentials, power, lease
  5  the guest refused, or a setting did not take
  6  a wait ran out
  7  a file is no dump that can be read, or not whole; a missing file is 3
130  interrupted or terminated; the host was put back, or 'lab host restore NAME' does it
"""
app.info.epilog = EXIT_CODES


def _terminate(number: int, frame: object) -> None:
    """SIGTERM is Ctrl-C, so that hosts are put back."""
    raise KeyboardInterrupt


def _what_is_left(error: LabError) -> str:
    """What a dump that is not whole can still say, and how to ask for it; "" for any other error."""
    if not isinstance(error, DefectiveDump) or error.defect.severity is not Severity.INCOMPLETE:
        return ""
    return f"what can still be read, by --incomplete: {error.defect.left}"


def main() -> None:
    """Run the command. Errors of this project become one sentence and their class's exit code.

    Libraries' own log lines are kept off the terminal: what matters of them is in our errors.
    """
    if not os.environ.get("BUGCHECK_LAB_DEBUG"):
        logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a sign is no error
    try:
        app(standalone_mode=True)
    except LabError as error:
        errors.print(f"[bold red]error:[/] {escape(error.message)}", soft_wrap=True, highlight=False)
        if error.help:
            errors.print(f"[dim]help:[/]  {escape(error.help)}", soft_wrap=True, highlight=False)
        if left := _what_is_left(error):
            errors.print(f"[dim]still:[/] {escape(left)}", soft_wrap=True, highlight=False)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        errors.print("[bold red]interrupted[/]")
        sys.exit(130)
    except SystemExit as ended:
        if ended.code == 130:
            errors.print("[bold red]interrupted[/]")
        raise
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        errors.print(
            f"[bold red]error:[/] {escape(where)}{escape(error.strerror or str(error))}", soft_wrap=True
        )
        sys.exit(3)
