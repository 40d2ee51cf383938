"""`lab provision`: hosts by number, from a pool or for a case; handed back clean."""

from __future__ import annotations

import json as jsonlib
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table
from typer.core import TyperGroup

from flows.bench import journal_at
from flows.shop import open_desk, open_shop, plan_for, pool_called
from lab.cli.console import errors, out, to_json, working
from lab.cli.options import DEFAULT_DATA, DEFAULT_INVENTORY, Data, Inventories, Json
from lab.inventory import load
from lab.model import LabError
from lab.provision import Made, Plan, differences, folder_in, hand_back
from lab.provision import provision as carry_out
from lab.provision import reap as take_back

FORMAT = 1
MAKE = "make"


class _PoolOrCommand(TyperGroup):
    """`lab provision rack` is `lab provision make rack`: what is no command is a pool or a case."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] != "--help":
            args = [MAKE, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_PoolOrCommand,
    help="Hosts by number: 'lab provision POOL|CASE --count N' plans, makes and accepts them.",
    no_args_is_help=True,
)


@app.command(MAKE)
def make(
    what: Annotated[
        str, typer.Argument(metavar="POOL|CASE", help="A pool, or a case whose Windows is meant.")
    ],
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many hosts.")] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Look up what there is, print the plan, change nothing.")
    ] = False,
    inventory: Inventories = DEFAULT_INVENTORY,
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """Plan first, then make hosts side by side, accept each one, and hand out those that are fit.

    The word 'make' may be left out.
    """
    known = load(inventory, folder_in(data))
    journal = journal_at(data)
    pool = pool_called(what, known, journal)
    if not dry_run:
        for reaped in take_back(open_desk(known, data, journal, _tell), pool.name):
            errors.print(f"[dim]{escape(_reaped(reaped.name, reaped.kept))}[/]", soft_wrap=True)
    shop = open_shop(pool, known, data, journal, _tell)
    with working(f"looking what there is for pool {pool.name}"):
        plan = plan_for(shop, known, count)
    if json and (dry_run or plan.problem is not None):
        typer.echo(to_json({"format": FORMAT, "plan": _plan(plan)}))
    plan.check()  # its sentence says all that a person needs to know of a plan that cannot be carried out
    if not json:
        _show(plan)
    if dry_run:
        return
    made = carry_out(shop, plan)
    told = differences([(m.name, m.examined) for m in made if m.host is not None and m.examined])
    if json:
        hosts = [{**_row(m), "file": str(shop.files.path(m.name)) if m.host else None} for m in made]
        typer.echo(to_json({"format": FORMAT, "plan": _plan(plan), "hosts": hosts, "differences": told}))
    for text in (*told, *(w for m in made if m.examined for w in m.examined.warnings)):
        errors.print(f"[yellow]! {escape(text)}[/]", soft_wrap=True)
    for each in made:
        if each.error is None and not json:
            out.print(f"{escape(each.name)} is ready, after {each.seconds:.0f} s", soft_wrap=True)
        elif each.error is not None:
            _say(each.error, each.left, each.name)
    failed = next((each.error for each in made if each.error is not None), None)
    if failed is not None:
        raise typer.Exit(failed.exit_code)


@app.command("list")
def list_hosts(data: Data = DEFAULT_DATA, json: Json = False) -> None:
    """The hosts that are handed out, being made, or were left half-made."""
    journal = journal_at(data)
    held = {lease.host for lease in journal.leases()}
    rows = [
        {
            "host": each.host,
            "pool": each.pool,
            "state": "ready" if each.ready else "being made" if each.host in held else "half-made",
            "owner": each.owner,
            "since": each.ready or each.intended,
        }
        for each in journal.provisions()
    ]
    if json:
        typer.echo(jsonlib.dumps(rows))
        return
    table = Table("host", "pool", "state", "owner", "since", box=None, header_style="bold")
    for row in rows:
        table.add_row(*map(escape, row.values()))
    out.print(table)


@app.command("return")
def give_back(
    hosts: Annotated[list[str], typer.Argument(metavar="HOST...", help="Hosts of 'lab provision list'.")],
    inventory: Inventories = DEFAULT_INVENTORY,
    data: Data = DEFAULT_DATA,
) -> None:
    """Hand hosts back clean. One that cannot be handed back keeps no other."""
    known = load(inventory, folder_in(data))
    desk = open_desk(known, data, journal_at(data), _tell)
    failed: LabError | None = None
    for name in hosts:
        try:
            hand_back(desk, name)
        except LabError as error:
            failed = failed or error
            _say(error)
        else:
            out.print(f"{escape(name)} is handed back", soft_wrap=True)
    if failed is not None:
        raise typer.Exit(failed.exit_code)


def _tell(name: str, text: str) -> None:
    errors.print(f"[dim]{escape(name)}: {escape(text)}[/]", soft_wrap=True)


def _say(error: LabError, left: str = "", name: str = "") -> None:
    """As `main` does with an error, but we go on. `name` is of the host whose error it is."""
    about = "" if name in error.message else f"{name}: "
    errors.print(f"[bold red]error:[/] {escape(about + error.message)}", soft_wrap=True)
    for word, text in (("help:[/] ", error.help), ("left:[/] ", left)):
        if text:
            errors.print(f"[dim]{word} {escape(text)}", soft_wrap=True)


def _reaped(name: str, kept: str) -> str:
    return f"{name} was half-made, and stays so: {kept}" if kept else f"{name} was half-made: taken back"


def _show(plan: Plan) -> None:
    errors.print(
        f"[bold]pool {escape(plan.pool)}[/]: {plan.wanted} asked for, "
        f"about {_duration(plan.seconds)} ({escape(plan.seconds_from)})",
        soft_wrap=True,
    )
    for each in plan.hosts:
        errors.print(f"  {escape(each.name)}: {escape(each.how)}", soft_wrap=True)
    for left in plan.left_out:
        errors.print(f"  [dim]not {escape(left.name)}: {escape(left.obstacle)}[/]", soft_wrap=True)
    for text in plan.warnings:
        errors.print(f"  [yellow]! {escape(text)}[/]", soft_wrap=True)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _plan(plan: Plan) -> dict[str, Any]:
    return {
        "pool": plan.pool,
        "wanted": plan.wanted,
        "hosts": [{"name": each.name, "how": each.how} for each in plan.hosts],
        "left_out": [{"name": each.name, "obstacle": each.obstacle} for each in plan.left_out],
        "seconds": round(plan.seconds, 1),
        "seconds_from": plan.seconds_from,
        "warnings": list(plan.warnings),
        "problem": _error(plan.problem),
    }


def _row(made: Made) -> dict[str, Any]:
    checks = made.examined.checks if made.examined else ()
    return {
        "name": made.name,
        "ready": made.host is not None,
        "address": made.host.address if made.host else None,
        "seconds": round(made.seconds, 1),
        "checks": [{"name": c.name, "ok": c.ok, "detail": c.detail, "help": c.help} for c in checks],
        "error": _error(made.error),
        "left": made.left,
    }


def _error(error: LabError | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {"message": error.message, "help": error.help, "exit_code": error.exit_code}
