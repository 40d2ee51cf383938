"""`lab machine`: power, checkpoints, screen, console and media of one host; `lab machine reap`."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from flows.bench import journal_at, leased
from flows.shop import open_desk
from lab.cli.console import errors, out
from lab.cli.machine_actions import ACTIONS, ARGUMENTS, LOOKS, NEEDS, Action, Options
from lab.cli.options import DEFAULT_DATA, DEFAULT_INVENTORY, Data, Inventories, Json
from lab.inventory import Host, load
from lab.machines import Machine, open_machine
from lab.model import ConfigurationError, InfrastructureError
from lab.provision import folder_in
from lab.provision import reap as take_back

REAP = "reap"


def machine(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A host; 'reap' alone takes back half-made ones.")
    ],
    action: Annotated[Action | None, typer.Argument(help="What to do.")] = None,
    what: Annotated[
        str, typer.Argument(help="Of checkpoint, restore, remove: a name. Of media: URL, path or 'eject'.")
    ] = "",
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Until the power is as asked for (time-out 'power').")
    ] = True,
    memory: Annotated[bool, typer.Option("--memory", help="checkpoint: keep the memory, too.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="screenshot: the PNG file; else NAME-TIME.png.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", min=0.1, help="console: end after so long.")
    ] = None,
    inventory: Inventories = DEFAULT_INVENTORY,
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """Power, NMI, checkpoints, screen, console and media of one host, as far as its machine can."""
    if action is None:
        if name != REAP:
            raise ConfigurationError(
                f"what to do with '{name}' was not said", help=f"Say one of: {', '.join(Action)}."
            )
        _reap(inventory, data, json)
        return
    if bool(what) != (action in ARGUMENTS):
        wanted = ARGUMENTS.get(action)
        raise ConfigurationError(
            f"'{action}' needs {wanted}" if wanted else f"'{action}' takes nothing more, not '{what}'",
            help="See 'lab machine --help'.",
        )
    if json and action is Action.CONSOLE:
        raise ConfigurationError("a console is no JSON", help="Leave --json out.")
    host = load(inventory, folder_in(data)).host(name, for_use=action not in LOOKS)
    opened = open_machine(host)
    _check_can(host, opened, action)
    with _ours(data, name, action):
        told = ACTIONS[action](host, opened, what, Options(wait, memory, output, seconds, json))
    if json:
        typer.echo(jsonlib.dumps(told))


@contextmanager
def _ours(data: Path, name: str, action: Action) -> Iterator[None]:
    """Under the host's lease, unless the action only looks."""
    if action in LOOKS:
        yield
        return
    with journal_at(data) as journal, leased(journal, name):
        yield


def _check_can(host: Host, opened: Machine, action: Action) -> None:
    needed = NEEDS.get(action)
    if needed is None or isinstance(opened, needed):
        return
    can = [str(a) for a in Action if a not in NEEDS or isinstance(opened, NEEDS[a])]
    raise ConfigurationError(
        f"the machine of host '{host.name}' ({host.machine.kind}) cannot do '{action}'; "
        f"it can: {', '.join(can)}",
        help="What each kind of machine can is in docs/explanation/machines.md.",
    )


def _reap(inventory: list[Path], data: Path, json: bool) -> None:
    known = load(inventory, folder_in(data))
    desk = open_desk(
        known, data, journal_at(data), lambda name, text: errors.print(f"[dim]{name}: {text}[/]")
    )
    found = list(take_back(desk))
    if json:
        typer.echo(jsonlib.dumps([{"host": r.name, "pool": r.pool, "kept": r.kept} for r in found]))
    else:
        for each in found:
            text = f"{each.name} is left: {each.kept}" if each.kept else f"{each.name} is taken back"
            out.print(escape(text), soft_wrap=True)
        if not found:
            out.print("nothing is half-made")
    if any(each.kept for each in found):
        raise typer.Exit(InfrastructureError.exit_code)
