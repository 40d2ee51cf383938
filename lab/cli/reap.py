"""`lab machine reap`: what was left half-made, and machines of this lab that nobody knows any more."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import typer
from rich.markup import escape

from flows.bench import bury_the_dead, journal_at, leased
from flows.shop import open_desk
from lab.cli.console import errors, out
from lab.inventory import Host, Inventory, VcenterController, VsphereMachine, load
from lab.journal import Journal
from lab.model import InfrastructureError, LabError
from lab.provision import folder_in, hand_back
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
    rows = [*_half_made(known, data, journal, dry_run), *_unknown(known, data, journal, dry_run)]
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
    for each in take_back(open_desk(known, data, journal, _tell)):
        yield Row(each.name, each.pool, why, each.kept)


def _unknown(known: Inventory, data: Path, journal: Journal, dry_run: bool) -> Iterator[Row]:
    """Machines in vCenters that bear this lab's marks, and whose time is past or that nobody knows."""
    controllers = {
        name: each for name, each in known.controllers.items() if isinstance(each, VcenterController)
    }
    if not controllers or find_spec("pyVmomi") is None:
        return
    from lab.machines.vsphere import connect
    from lab.machines.vsphere.reap import Known, Orphan
    from lab.machines.vsphere.reap import reap as delete_unwanted

    desk = open_desk(known, data, journal, _tell)

    def take(orphan: Orphan, delete: Callable[[], None]) -> None:
        """A host that is handed out is handed back, so that no file and no entry of it stays."""
        out = {entry.host for entry in journal.provisions() if entry.ready}
        host = known.hosts.get(orphan.host)
        if host is not None and host.name in out and _is(host, orphan.uuid):
            hand_back(desk, host.name)
            return
        with leased(journal, orphan.host):
            delete()

    def now_known() -> Known:
        hosts = frozenset(known.hosts) | {entry.host for entry in journal.provisions()}
        busy = {each.host: f"leased by {each.owner} until {each.expires}" for each in journal.leases()}
        return Known(hosts, busy=busy)

    for name, controller in controllers.items():
        try:
            lab, now = journal.lab_id(), datetime.now(UTC)
            orphans = delete_unwanted(connect(controller), lab, now_known, now, dry_run=dry_run, take=take)
        except LabError as error:
            yield Row(f"what is in {name}", "", "it cannot be looked at", error.message)
            continue
        for each in orphans:
            yield Row(each.path, "", each.why, each.error and f"{each.why}, and {each.error}")


def _is(host: Host, uuid: str) -> bool:
    return isinstance(host.machine, VsphereMachine) and host.machine.vm == uuid


def _tell(name: str, text: str) -> None:
    errors.print(f"[dim]{escape(name)}: {escape(text)}[/]", soft_wrap=True)
