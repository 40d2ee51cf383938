"""From a question to a command: every question takes the dump, symbols and --json in the same way."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from lab.cli.console import errors, show, to_json, working
from lab.cli.dump.answer import Answer, Question
from lab.cli.options import Incomplete, Json, Offline, SymbolCache, SymbolSpecs
from lab.cli.symbols import say_notes, store_for
from lab.dumps import Dump, open_dump
from lab.kernel.identify import NoKernel
from lab.kernel.opening import open_kernel
from lab.kernel.target import Kernel
from lab.report.words import line

_READING = "reading memory and symbols"

DumpFile = Annotated[Path, typer.Argument(metavar="DUMP", help="A kernel dump.")]


@contextmanager
def kernel_of(
    dump: Path, symbols: list[str], symbol_cache: Path | None, offline: bool, incomplete: bool
) -> Iterator[Kernel]:
    """The kernel of a dump file, open within the block. What it could not find out is said at the end."""
    store = store_for(symbols, symbol_cache, offline)
    with open_dump(dump, allow_incomplete=incomplete) as opened:
        with working(_READING):
            kernel = open_kernel(opened, store)
        yield kernel
        say_notes(store)
        for note in (*opened.problems, *kernel.notes):
            errors.print(f"[dim]{escape(line(note))}[/]", soft_wrap=True)
        for wanted in kernel.wanted:
            text = f"symbols wanted: {wanted.pdb} {wanted.key}, looked in {', '.join(wanted.looked_in)}"
            errors.print(f"[dim]{escape(line(text))}[/]", soft_wrap=True)


def tell(ask: Callable[[], Answer], json: bool) -> None:
    """Print the answer to a question on standard output."""
    with working(_READING):
        found = ask()
    if json:
        typer.echo(to_json(found.value))
    else:
        show("\n".join(found.lines))


def tell_of_header(dump: Path, ask: Callable[[Dump], Answer], why: NoKernel, json: bool) -> None:
    """Print what can be told without a kernel, and on standard error why there is none."""
    with open_dump(dump, allow_incomplete=True) as opened:
        tell(lambda: ask(opened), json)
        for note in (*opened.problems, why.message):
            errors.print(f"[dim]{escape(line(note))}[/]", soft_wrap=True)


def add(
    app: typer.Typer,
    question: Question,
    name: str,
    *,
    debugger: str = "",
    of_header: Callable[[Dump], Answer] | None = None,
    **given: Any,
) -> None:
    """The command `name` that asks `question`; `debugger` are the debugger's words for it, for the help.

    `given` are values that are not asked for. Without `debugger` the command is the debugger's own word, and
    stays out of the help. `of_header` answers, with --incomplete, where no kernel can be found.
    """
    own = [
        parameter
        for parameter in list(inspect.signature(question, eval_str=True).parameters.values())[1:]
        if parameter.name not in given
    ]
    common = list(inspect.signature(_common, eval_str=True).parameters.values())
    names = {parameter.name for parameter in common}

    def run(**arguments: Any) -> None:
        asked = {key: value for key, value in arguments.items() if key not in names}
        try:
            with kernel_of(
                *(arguments[n] for n in ("dump", "symbols", "symbol_cache", "offline", "incomplete"))
            ) as kernel:
                tell(lambda: question(kernel, **asked, **given), arguments["json"])
        except NoKernel as error:
            if of_header is None or not arguments["incomplete"]:
                raise
            tell_of_header(arguments["dump"], of_header, error, arguments["json"])

    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (common[0], *own, *common[1:])]
    )
    run.__annotations__ = {}
    said = (question.__doc__ or "").strip()
    run.__doc__ = f"{said} [dim]Debugger:[/] [cyan]{debugger}[/]" if debugger else said
    app.command(name, hidden=not debugger)(run)


def _common(
    dump: DumpFile,
    symbols: SymbolSpecs = [],  # noqa: B006  typer copies it
    symbol_cache: SymbolCache = None,
    offline: Offline = False,
    incomplete: Incomplete = False,
    json: Json = False,
) -> None:
    """Parameters of every question."""
