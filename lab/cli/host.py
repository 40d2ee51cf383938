"""`lab host`: what is in the lab, whether it is fit, and putting it back."""

from __future__ import annotations

import json as jsonlib
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from flows.bench import journal_at, leased
from lab.cli.console import out
from lab.cli.options import DEFAULT_DATA, DEFAULT_INVENTORY, Data, Inventories, Json
from lab.inventory import Host, json_schema, load
from lab.machines import Interference, open_machine
from lab.provision import folder_in
from lab.smb import connect
from lab.trials import dumps_of, target_of
from lab.trials import restore as put_back
from lab.windows.check import check_host

app = typer.Typer(help="Hosts of the inventory.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="A host of the inventory.")]


@app.command("list")
def list_hosts(
    inventory: Inventories = DEFAULT_INVENTORY, data: Data = DEFAULT_DATA, json: Json = False
) -> None:
    """The hosts, and whether each may be used."""
    known = load(inventory, folder_in(data))
    if json:
        rows = [
            {"name": n, "address": h.address, "expendable": h.expendable, "machine": h.machine.kind}
            for n, h in known.hosts.items()
        ]
        typer.echo(jsonlib.dumps(rows))
        return
    table = Table("host", "address", "machine", "guest", "usable", box=None, header_style="bold")
    for name, host in known.hosts.items():
        usable = "yes" if host.expendable else "no: not marked 'expendable: true'"
        table.add_row(name, host.address, host.machine.kind, host.guest.shell.kind, usable)
    out.print(table)


@app.command()
def check(
    name: Name, inventory: Inventories = DEFAULT_INVENTORY, data: Data = DEFAULT_DATA, json: Json = False
) -> None:
    """Is each thing reachable, are credentials right, dump settings sane, disk space enough?"""
    host = load(inventory, folder_in(data)).host(name)
    checks = check_host(host, open_machine, _open_share, _open_dumps, meddlers=_meddlers)
    if json:
        rows = [{"name": c.name, "ok": c.ok, "detail": c.detail, "help": c.help} for c in checks]
        typer.echo(jsonlib.dumps(rows))
    else:
        for c in checks:
            mark = "[green]✓[/]" if c.ok else "[bold red]✗[/]"
            out.print(f"{mark} {escape(c.name)}: {escape(c.detail)}", soft_wrap=True)
            if not c.ok and c.help:
                out.print(f"  [dim]{escape(c.help)}[/]", soft_wrap=True)
    if not all(c.ok for c in checks):
        raise typer.Exit(4)


def _meddlers(host: Host) -> tuple[str, ...] | None:
    machine = open_machine(host)
    return machine.meddlers() if isinstance(machine, Interference) else None


def _open_share(host: Host, share: str) -> None:
    connect(target_of(host), share, seconds=host.timeouts.connect).close()


def _open_dumps(host: Host) -> None:
    with dumps_of(host) as source:
        source.dumps()


@app.command()
def restore(name: Name, inventory: Inventories = DEFAULT_INVENTORY, data: Data = DEFAULT_DATA) -> None:
    """Put a host back as the journal says it was found (after an interrupted run)."""
    host = load(inventory, folder_in(data)).host(name, for_use=True)
    journal = journal_at(data)
    with leased(journal, name):
        done = put_back(host, journal)
    for what in done:
        out.print(f"put back: {escape(what)}", soft_wrap=True)
    if not done:
        out.print(f"{escape(name)} has nothing to put back")


@app.command()
def schema() -> None:
    """JSON Schema of inventory files, for editors."""
    typer.echo(jsonlib.dumps(json_schema(), indent=2))
