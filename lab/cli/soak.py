"""`lab soak`: load on a host as it is, and what standing it out means."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.bench import journal_at
from lab.cli import engine
from lab.cli.console import errors, out
from lab.cli.narrator import Narrator
from lab.cli.options import DEFAULT_DATA, DEFAULT_INVENTORY, Data, Inventories
from lab.inventory import load as load_inventory
from lab.model import LoadPlan
from lab.provision import folder_in
from lab.smb import find_profile
from lab.trials import open_soak


def soak(
    host: Annotated[str, typer.Argument(help="An expendable host of the inventory.")],
    minutes: Annotated[float, typer.Option(min=0.05, max=7 * 24 * 60)] = 60.0,
    profile: Annotated[str, typer.Option(help="A load profile; lab load --list names all.")] = "burst",
    seed: Annotated[int, typer.Option()] = 0,
    inventory: Inventories = DEFAULT_INVENTORY,
    data: Data = DEFAULT_DATA,
) -> None:
    """Read load until the time is up or the host stops; a stop is captured and analysed."""
    load_inventory(inventory, folder_in(data)).host(host, for_use=True)
    find_profile(profile)
    journal = journal_at(data)
    case = open_soak(journal, host, LoadPlan(profile, minutes * 60, seed))
    with Narrator(errors, journal, case), engine.running():
        from flows.soak import soak as flow  # Prefect takes seconds to import

        meaning = flow(
            inventory=inventory, host=host, minutes=minutes, profile=profile, seed=seed, data=data, case=case
        )
    out.print(f"{meaning}\ncase {case}", soft_wrap=True)
