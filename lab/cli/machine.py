"""`lab machine`: power, checkpoints, screen, console and media of one host; `lab machine reap`."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from flows.bench import journal_at, leased
from lab.cli.machine_actions import ACTIONS, ARGUMENTS, COMMANDS, LOOKS, NEEDS, Action, Options
from lab.cli.options import DEFAULT_DATA, DEFAULT_INVENTORY, Data, Inventories, Json
from lab.cli.reap import reap
from lab.inventory import Host, load
from lab.machines import Machine, open_machine
from lab.machines.fixed import FixedMachine
from lab.model import ConfigurationError
from lab.provision import folder_in

REAP = "reap"


def machine(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A host; 'reap' alone takes back half-made ones.")
    ],
    action: Annotated[Action | None, typer.Argument(help="What to do.")] = None,
    what: Annotated[
        str,
        typer.Argument(
            help="Of checkpoint, restore, remove: a name. Media: URL, path or 'eject'. Boot: cd, pxe, disk."
        ),
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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="reap: only say what would be done.")] = False,
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
        reap(inventory, data, dry_run=dry_run, json=json)
        return
    if bool(what) != (action in ARGUMENTS):
        wanted = ARGUMENTS.get(action)
        raise ConfigurationError(
            f"'{action}' needs {wanted}" if wanted else f"'{action}' takes nothing more, not '{what}'",
            help="See 'lab machine --help'.",
        )
    if dry_run:
        raise ConfigurationError(f"'{action}' cannot be tried dry", help="Only 'reap' takes --dry-run.")
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
    if _can(opened, action):
        return
    can = [str(each) for each in Action if _can(opened, each)]
    key = COMMANDS.get(action)
    raise ConfigurationError(
        f"the machine of host '{host.name}' ({host.machine.kind}) cannot do '{action}'; "
        f"it can: {', '.join(can)}",
        help=f"Give it a command for this, as hosts.{host.name}.machine.{key}, or do it by hand."
        if key
        else "What each kind of machine can is in docs/explanation/machines.md.",
    )


def _can(opened: Machine, action: Action) -> bool:
    if action in COMMANDS:  # all kinds can, unless by commands that were not given
        return not isinstance(opened, FixedMachine) or opened.has_command(COMMANDS[action])
    return action not in NEEDS or isinstance(opened, NEEDS[action])
