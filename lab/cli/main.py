"""The command's root: subcommands, version, and what an error becomes."""

from __future__ import annotations

import importlib
import io
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, NoReturn

import typer
from rich.markup import escape

from lab import __version__
from lab.cli.console import errors, out
from lab.dumps import DefectiveDump, Severity
from lab.model import LabError

COMMANDS = {
    "demo": ("lab.cli.demo", "demo"),
    "triage": ("lab.cli.triage", "triage"),
    "reproduce": ("lab.cli.reproduce", "reproduce"),
    "bisect": ("lab.cli.bisect", "bisect"),
    "load": ("lab.cli.load", "load"),
    "soak": ("lab.cli.soak", "soak"),
    "dump": ("lab.cli.dump", "app"),
    "fetch": ("lab.cli.fetch", "fetch"),
    "case": ("lab.cli.case", "app"),
    "host": ("lab.cli.host", "app"),
    "machine": ("lab.cli.machine", "machine"),
    "provision": ("lab.cli.provision", "app"),
    "twin": ("lab.cli.twin", "app"),
}
"""Command -> where it is: a function, or an app of further commands."""


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"bugcheck-lab {__version__}")
        raise typer.Exit


def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


EXIT_CODES = """\
[bold]Exit codes[/]
  0  done; for reproduce, bisect and demo: the culprit was found
  1  done, but without a culprit (see the verdict); for load and soak: the host stopped
  2  the command line is wrong
  3  the input is wrong or was refused (inventory, host, options)
  4  infrastructure: unreachable, wrong credentials, power, lease
  5  the guest refused, or a setting did not take
  6  a wait ran out
  7  a file is no dump that can be read, or not whole; a missing file is 3
  8  a read load did not reach the server as planned
130  interrupted or terminated; the host was put back, or 'lab host restore NAME' does it
141  whoever read the output stopped reading it
"""


def app_for(arguments: Sequence[str]) -> typer.Typer:
    """The command line, with no more of it imported than `arguments` ask for.

    The whole lab costs seconds to import, and the answer to a question about a dump comes in less.
    """
    app = typer.Typer(
        name="lab",
        help="Reproduce a Windows Server kernel crash, find the driver that causes it, and prove it.",
        epilog=EXIT_CODES,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    app.callback()(root)
    asked = next((each for each in arguments if not each.startswith("-")), "")
    for name in [asked] if asked in COMMANDS else COMMANDS:
        module, attribute = COMMANDS[name]
        command = getattr(importlib.import_module(module), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def _terminate(number: int, frame: object) -> None:
    """SIGTERM is Ctrl-C, so that hosts are put back."""
    raise KeyboardInterrupt


def _what_is_left(error: LabError) -> str:
    """What a dump that is not whole can still say, and how to ask for it; "" for any other error."""
    if not isinstance(error, DefectiveDump) or error.defect.severity is not Severity.INCOMPLETE:
        return ""
    return f"what can still be read, by --incomplete: {error.defect.left}"


def _flushed() -> None:
    """What Python would find at its very end, too late for an answer."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _reader_gone()


def _reader_gone() -> NoReturn:
    """Whoever read our output has read enough (`| head`): end quietly, as a program that SIGPIPE ends.

    The signal itself stays ignored: it would end us in the middle of a connection to a host.
    """
    with suppress(OSError, ValueError):  # so that nothing is flushed into the pipe any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(128 + signal.SIGPIPE)


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
        app_for(sys.argv[1:])(standalone_mode=True)
    except LabError as error:
        errors.print(f"[bold red]error:[/] {escape(error.message)}", soft_wrap=True, highlight=False)
        if error.help:
            errors.print(f"[dim]help:[/]  {escape(error.help)}", soft_wrap=True, highlight=False)
        if left := _what_is_left(error):
            errors.print(f"[dim]left:[/]  {escape(left)}", soft_wrap=True, highlight=False)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        errors.print("[bold red]interrupted[/]")
        sys.exit(130)
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # how the libraries below answer one
            _reader_gone()
        if ended.code == 130:
            errors.print("[bold red]interrupted[/]")
        _flushed()
        raise
    except BrokenPipeError:
        _reader_gone()
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        errors.print(
            f"[bold red]error:[/] {escape(where)}{escape(error.strerror or str(error))}", soft_wrap=True
        )
        sys.exit(3)
