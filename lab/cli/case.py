"""`lab case`: cases in the journal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markdown import Markdown
from rich.markup import escape
from rich.table import Table

from flows.bench import journal_at
from lab.cli.console import out, to_json
from lab.cli.options import DEFAULT_DATA, Data, Json
from lab.playbook import View
from lab.report.data import render_json
from lab.report.files import write_report
from lab.report.markdown import render_markdown

app = typer.Typer(help="Cases in the journal.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(help="A case, or the beginning of its id.")]


@app.command("list")
def list_cases(data: Data = DEFAULT_DATA, json: Json = False) -> None:
    """All cases, newest first."""
    cases = journal_at(data).cases()
    if json:
        typer.echo(to_json(cases))
        return
    table = Table("case", "title", "trials", "verdict", box=None, header_style="bold")
    for case in cases:
        open_for = "open" if case.expected.code else "soak, without a verdict"
        verdict = f"{case.verdict.kind} {', '.join(case.verdict.culprits)}" if case.verdict else open_for
        table.add_row(case.id, escape(case.title), str(case.trials), escape(verdict))
    out.print(table)


@app.command()
def show(id: Id, data: Data = DEFAULT_DATA, json: Json = False) -> None:
    """One case: what was done, what was found, what it means."""
    case = journal_at(data).case(id)
    if json:
        typer.echo(render_json(case))
    elif out.is_terminal:
        out.print(Markdown(render_markdown(case, search=View(case))))
    else:
        typer.echo(render_markdown(case, search=View(case)))


@app.command()
def report(
    id: Id,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="HTML file to write; in the data folder by default.")
    ] = None,
    data: Data = DEFAULT_DATA,
) -> None:
    """Write the case as one self-contained HTML file."""
    case = journal_at(data).case(id)
    path = output or data / "reports" / f"{case.id}.html"
    write_report(case, path, View(case))
    out.print(str(path), soft_wrap=True)
