"""`lab machine reap`: what was left half-made, and machines of this lab that nobody knows any more."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import typer
from rich.markup import escape

from flows.bench import bury_the_dead, journal_at
from flows.shop import open_desk
from lab.cli.console import errors, out
from lab.inventory import Inventory, VcenterController, load
from lab.journal import Journal
from lab.model import InfrastructureError, LabError
from lab.provision import folder_in
from lab.provision import reap as take_back


@dataclass(frozen=True)
class Row:
    """One machine that was looked at. `kept` says why it was left; "" when nothing is left of it."""

    host: str
    pool: str
    why: str
    kept: str = ""


def reap(inventory: list[Path], data: Path, *, dry_run: bool, json: bool) -> None:
    """Take back and delete, and tell of it. Raises typer.Exit when something could not be."""
    known = load(inventory, folder_in(data))
    journal = journal_at(data)
    for lease in journal.leases():
        bury_the_dead(journal, lease.host)
    rows = [*_half_made(known, data, journal, dry_run), *_unknown(known, journal, dry_run)]
    if json:
        typer.echo(jsonlib.dumps([asdict(each) for each in rows]))
    else:
        for each in rows:
            out.print(escape(_sentence(each, dry_run)), soft_wrap=True)
        if not rows:
            out.print("nothing is half-made")
    if any(each.kept for each in rows):
        raise typer.Exit(InfrastructureError.exit_code)


def _sentence(row: Row, dry_run: bool) -> str:
    if row.kept:
        return f"{row.host} is left: {row.kept}"
    if dry_run:
        return f"{row.host} would be taken back: {row.why}"
    return f"{row.host} is taken back"


def _half_made(known: Inventory, data: Path, journal: Journal, dry_run: bool) -> Iterator[Row]:
    """What the journal knows of."""
    why = "it is half-made"
    if dry_run:
        making = {lease.host for lease in journal.leases()}
        for entry in journal.provisions():
            if entry.ready is None and entry.host not in making:
                yield Row(entry.host, entry.pool, f"{why} since {entry.intended}, by {entry.owner}")
        return
    desk = open_desk(known, data, journal, lambda name, text: errors.print(f"[dim]{name}: {text}[/]"))
    for each in take_back(desk):
        yield Row(each.name, each.pool, why, each.kept)


def _unknown(known: Inventory, journal: Journal, dry_run: bool) -> Iterator[Row]:
    """Machines in vCenters that bear this lab's marks, and that neither inventory nor journal has."""
    controllers = {
        name: each for name, each in known.controllers.items() if isinstance(each, VcenterController)
    }
    if not controllers or find_spec("pyVmomi") is None:
        return
    from lab.machines.vsphere import connect
    from lab.machines.vsphere.reap import Known
    from lab.machines.vsphere.reap import reap as delete_unknown

    for name, controller in controllers.items():
        try:
            hosts = frozenset(known.hosts) | {entry.host for entry in journal.provisions()}
            busy = frozenset(lease.host for lease in journal.leases())
            lab, now = journal.lab_id(), datetime.now(UTC)
            orphans = delete_unknown(connect(controller), lab, Known(hosts, busy=busy), now, dry_run=dry_run)
        except LabError as error:
            yield Row(f"what is in {name}", "", "it cannot be looked at", error.message)
            continue
        for each in orphans:
            yield Row(each.path, "", each.why, each.error)
