"""`lab bisect`: the driver, or the pair, of a case, on several hosts side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from flows.bench import journal_at, vault_at
from lab.cli import engine
from lab.cli.bisect_rehearsal import question_from, question_of, rehearse
from lab.cli.bisect_watch import SearchWatch
from lab.cli.console import errors, out, to_json
from lab.cli.options import DEFAULT_DATA, DEFAULT_INVENTORY, Data, Inventories, Json, SymbolSpecs
from lab.cli.reproduce import FOUND, expected_stop
from lab.cli.symbols import sought
from lab.inventory import load
from lab.journal import Journal
from lab.model import Case, ConfigurationError, LoadPlan, VerdictKind
from lab.playbook import View
from lab.provision import folder_in
from lab.report.files import write_report
from lab.trials import open_case

LOAD_SECONDS = 600.0
BUDGET_MINUTES = 1440.0
GO_ON = (VerdictKind.UNDECIDED, VerdictKind.ONE_OF, VerdictKind.NOT_REPRODUCIBLE)
"""Verdicts that more trials may better."""


def bisect(
    case: Annotated[
        list[str] | None,
        typer.Argument(metavar="[simulate] CASE", help="A case of the journal; 'simulate' is --simulate."),
    ] = None,
    hosts: Annotated[
        str, typer.Option("--hosts", help="Expendable hosts of the inventory, with commas between them.")
    ] = "",
    budget: Annotated[
        float,
        typer.Option(min=1, help="Machine-minutes for all trials of the search, earlier runs included."),
    ] = BUDGET_MINUTES,
    load_seconds: Annotated[
        float | None,
        typer.Option(min=1, max=86400, help="A usual soak from now on; the longest: 9 times it."),
    ] = None,
    dump: Annotated[Path | None, typer.Option("--dump", help="The customer's dump: opens a case.")] = None,
    bugcheck: Annotated[
        str | None, typer.Option("--bugcheck", help="Without a dump: the code to look for, e.g. 0x20.")
    ] = None,
    simulate: Annotated[bool, typer.Option("--simulate", help="Only say what it would cost.")] = False,
    drivers: Annotated[
        str | None,
        typer.Option("--drivers", help="To simulate: a host, or a file with one service a line."),
    ] = None,
    runs: Annotated[int, typer.Option(min=2, max=10000, help="To simulate: searches for each line.")] = 50,
    symbols: SymbolSpecs = [],  # noqa: B006  typer copies it
    inventory: Inventories = DEFAULT_INVENTORY,
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """Switch sets of drivers on and off over many trials, on many hosts, until the culprit is certain."""
    named = list(case or ())
    if named[:1] == ["simulate"]:
        simulate, named = True, named[1:]
    names = [name.strip() for name in hosts.split(",") if name.strip()]
    if simulate:
        if bool(named) == (drivers is not None):
            raise ConfigurationError(
                "exactly one of a case and --drivers is needed to simulate",
                help="Write the services of a host into a file, one a line: --drivers drivers.txt.",
            )
        question = (
            question_from(drivers, inventory, data, load_seconds or LOAD_SECONDS)
            if drivers is not None
            else question_of(_with_load(journal_at(data).case(_one(named)), load_seconds))
        )
        rehearse(question, hosts=max(1, len(names)), budget=budget, runs=runs, json=json)
        return
    if not names or len(set(names)) != len(names):
        raise ConfigurationError(
            "--hosts names no host" if not names else f"--hosts names a host twice: {hosts}",
            help="Give expendable hosts of the inventory: --hosts srv1,srv2.",
        )
    known = load(inventory, folder_in(data))
    used = [known.host(name, for_use=True) for name in names]
    places = sought(symbols)
    if sum((bool(named), dump is not None, bugcheck is not None)) != 1:
        raise ConfigurationError(
            "exactly one of a case, --dump and --bugcheck is needed",
            help="List the cases with 'lab case list'.",
        )
    if named:
        opened = _go_on(journal_at(data), _one(named), load_seconds, names)
    else:
        opened = open_case(
            journal_at(data),
            LoadPlan(seconds=load_seconds or LOAD_SECONDS),
            dump=dump,
            expected=expected_stop(bugcheck) if bugcheck else None,
            vault=vault_at(data),
            symbols=(*places, *used[0].symbols),
        )
    finished, report = search(opened, inventory, names, budget, data, places)
    _tell(finished, report, json)


def _go_on(journal: Journal, name: str, load_seconds: float | None, hosts: list[str]) -> Case:
    """The case of that name, with another usual soak where one is asked for. Raises ConfigurationError."""
    case = journal.case(name)
    if case.verdict is not None and case.verdict.kind not in GO_ON:
        changed = [host for host in hosts if journal.undo_pending(host)]  # it was killed after its verdict
        restore = "".join(f" 'lab host restore {host}' puts back {host}, still changed." for host in changed)
        raise ConfigurationError(
            f"case {case.id} already has its verdict", help=f"See 'lab case show {case.id}'.{restore}"
        )
    if load_seconds is not None:
        journal.set_load(case.id, replace(case.load, seconds=load_seconds))
    return case


def _with_load(case: Case, seconds: float | None) -> Case:
    return case if seconds is None else replace(case, load=replace(case.load, seconds=seconds))


def search(
    case: Case,
    inventory: list[Path],
    hosts: list[str],
    budget: float,
    data: Path,
    symbols: tuple[str, ...] = (),
) -> tuple[Case, Path]:
    """Run the bisect flow with the story on standard error; write the report however it ends."""
    journal = journal_at(data)
    report = data / "reports" / f"{case.id}.html"
    with SearchWatch(errors, journal, case.id, 60.0 * budget):
        try:
            with engine.running():
                from flows.bisect import bisect as flow  # Prefect takes seconds to import

                flow(
                    case=case.id, inventory=inventory, hosts=hosts, data=data, budget=budget, symbols=symbols
                )
        finally:
            finished = journal.case(case.id)
            write_report(finished, report, View(finished))
    return finished, report


def _one(named: list[str]) -> str:
    if len(named) != 1:
        raise ConfigurationError(
            f"one case is needed, not {len(named)}", help="List the cases with 'lab case list'."
        )
    return named[0]


def _tell(finished: Case, report: Path, json: bool) -> None:
    verdict = finished.verdict
    assert verdict is not None
    minutes = sum(trial.seconds for trial in finished.trials) / 60.0
    if json:
        answer = {
            "case": finished.id,
            "verdict": verdict,
            "trials": len(finished.trials),
            "machine_minutes": round(minutes, 1),
            "report": str(report),
        }
        typer.echo(to_json(answer))
    else:
        out.print(
            f"case {finished.id}, {len(finished.trials)} trials, {minutes:.0f} machine-minutes, "
            f"report {report}",
            soft_wrap=True,
        )
    if verdict.kind not in FOUND:
        raise typer.Exit(1)
