"""`lab reproduce`: from a dump to a verdict, on one host of the inventory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.bench import journal_at, vault_at
from lab.cli import engine
from lab.cli.console import errors, out, to_json
from lab.cli.narrator import Narrator
from lab.cli.options import DEFAULT_DATA, DEFAULT_INVENTORY, Data, Inventories, Json, SymbolSpecs
from lab.cli.symbols import sought
from lab.inventory import load
from lab.model import Case, ConfigurationError, LoadPlan, Signature, VerdictKind
from lab.playbook import View
from lab.provision import folder_in
from lab.report.files import write_report
from lab.smb import find_profile
from lab.trials import open_case

FOUND = (VerdictKind.DRIVER, VerdictKind.PAIR, VerdictKind.TRIPLE, VerdictKind.EACH_OF)
"""Verdicts that name the culprits."""


def reproduce(
    host: Annotated[str, typer.Argument(help="An expendable host of the inventory.")],
    dump: Annotated[Path | None, typer.Option("--dump", help="The customer's dump: opens a case.")] = None,
    bugcheck: Annotated[
        str | None, typer.Option("--bugcheck", help="Without a dump: the code to look for, e.g. 0x20.")
    ] = None,
    case: Annotated[str | None, typer.Option("--case", help="Go on with a case of the journal.")] = None,
    profile: Annotated[str, typer.Option(help="A load profile; lab load --list names all.")] = "burst",
    load_seconds: Annotated[
        float, typer.Option(min=1, max=86400, help="One load's length; the longest is 9 times it.")
    ] = 600.0,
    connections: Annotated[int, typer.Option(min=1, max=64)] = 4,
    seed: Annotated[int, typer.Option()] = 0,
    symbols: SymbolSpecs = [],  # noqa: B006  typer copies it
    inventory: Inventories = DEFAULT_INVENTORY,
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """Reproduce a crash, climb the verifier ladder, bisect if needed, confirm, and write the report."""
    settings = load(inventory, folder_in(data)).host(host, for_use=True)
    find_profile(profile)
    journal = journal_at(data)
    if sum(x is not None for x in (dump, bugcheck, case)) != 1:
        raise ConfigurationError(
            "exactly one of --dump, --bugcheck and --case is needed",
            help="Give the customer's dump, a bugcheck code, or a case to go on with.",
        )
    places = sought(symbols)
    if case is not None:
        opened = journal.case(case)
        if opened.verdict is not None:
            raise ConfigurationError(f"case {opened.id} already has its verdict", help="See 'lab case show'.")
    else:
        plan = LoadPlan(profile, load_seconds, seed, connections)
        opened = open_case(
            journal,
            plan,
            dump=dump,
            expected=expected_stop(bugcheck) if bugcheck else None,
            vault=vault_at(data),
            symbols=(*places, *settings.symbols),
        )
    finished, report = investigate(opened, inventory, host, data, places)
    verdict = finished.verdict
    assert verdict is not None
    if json:
        typer.echo(
            to_json(
                {
                    "case": finished.id,
                    "verdict": verdict,
                    "trials": len(finished.trials),
                    "report": str(report),
                }
            )
        )
    else:
        out.print(f"case {finished.id}, report {report}", soft_wrap=True)
    if verdict.kind not in FOUND:
        raise typer.Exit(1)


def investigate(
    case: Case, inventory: list[Path], host: str, data: Path, symbols: tuple[str, ...] = ()
) -> tuple[Case, Path]:
    """Run the reproduce flow with the story on standard error; write the report however it ends.

    `symbols` are for the dumps of its trials, before those that the inventory gives for the host.
    """
    journal = journal_at(data)
    report = data / "reports" / f"{case.id}.html"
    with Narrator(errors, journal, case.id):
        try:
            with engine.running():
                from flows.reproduce import reproduce as flow  # Prefect takes seconds to import

                flow(case=case.id, inventory=inventory, host=host, data=data, symbols=symbols)
        finally:
            finished = journal.case(case.id)
            write_report(finished, report, View(finished))
    return finished, report


def expected_stop(text: str) -> Signature:
    """The signature of a bugcheck code as a person writes it. Raises ConfigurationError when it is none."""
    try:
        code = int(text, 16)
    except ValueError:
        raise ConfigurationError(
            f"'{text}' is not a bugcheck code", help="Write it in hexadecimal: 0x20."
        ) from None
    if not 0 < code <= 0xFFFFFFFF:
        raise ConfigurationError(f"'{text}' is not a bugcheck code (1 to FFFFFFFF)")
    return Signature(code, 0, "", ())
