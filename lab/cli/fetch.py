"""`lab fetch`: a host's dump into the vault."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.bench import vault_at
from lab.capture import Fetch, Vault
from lab.cli.console import to_json
from lab.cli.copying import finished
from lab.cli.options import DEFAULT_DATA, DEFAULT_INVENTORY, Data, Inventories, Json
from lab.cli.remote import remote_dump
from lab.cli.unc import is_on_a_share
from lab.model import ConfigurationError


def fetch(
    dump: Annotated[
        str | None,
        typer.Argument(
            metavar="DUMP", help="//HOST/SHARE/PATH with a host of the inventory, or with --host its name."
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option("--host", metavar="HOST", help="The newest dump of a host, or the one called DUMP."),
    ] = None,
    inventory: Inventories = DEFAULT_INVENTORY,
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """Copy a host's dump into the vault, over several connections. Prints its SHA-256 and its path there.

    The same command goes on with a copy that was interrupted, and checks what is there of it. Nothing is
    changed on the host.
    """
    if host is None and (dump is None or not is_on_a_share(dump)):
        raise ConfigurationError(
            "which dump of which host is not said",
            help="Write //HOST/SHARE/PATH, as in //srv1/ADMIN$/MEMORY.DMP, or give --host HOST.",
        )
    vault = Vault(vault_at(data))
    with (
        remote_dump(inventory, host, dump, data) as remote,
        Fetch(remote.share, remote.ref, vault) as fetching,
    ):
        sha256 = finished(fetching, remote.name)
    path = vault.path(sha256)
    if json:
        typer.echo(
            to_json(
                {
                    "sha256": sha256,
                    "path": str(path),
                    "source": remote.name,
                    "length": remote.ref.length,
                    "modified": remote.ref.modified,
                }
            )
        )
    else:
        typer.echo(f"{sha256}  {path}")  # the form of sha256sum, which can thus check it
