"""`lab twin`: a simulated Windows Server, served over its real wire protocols."""

from __future__ import annotations

import fcntl
import ipaddress
import json as jsonlib
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from lab.cli.console import errors, out
from lab.cli.options import Json
from lab.model import ConfigurationError
from lab.twin.catalogue import BUILDS, FEWEST, MOST, check_count, plantable

if TYPE_CHECKING:
    from lab.twin.server import Twin

app = typer.Typer(
    help="A simulated Windows Server, served over its real wire protocols.", no_args_is_help=True
)

PASSWORD = "BUGCHECK_LAB_TWIN_PASSWORD"
Build = Annotated[
    int, typer.Option(help="7601 (2008 R2), 9600 (2012 R2), 14393 (2016), 17763 (2019) or 20348 (2022).")
]
Count = Annotated[
    int, typer.Option("--drivers", help=f"Third-party drivers that run, {FEWEST} to {MOST} of them.")
]


def checked_build(build: int) -> int:
    if build not in BUILDS:
        raise ConfigurationError(
            f"the twin cannot be build {build}", help=f"Choose one of {', '.join(map(str, BUILDS))}."
        )
    return build


def checked_host(host: str) -> str:
    """An IPv4 address of this computer alone; a twin has a guest's open doors, and a password at most."""
    try:
        address = ipaddress.IPv4Address(host)
    except ValueError:
        address = None
    if address is None or not address.is_loopback:
        raise ConfigurationError(
            f"the twin listens on addresses of this computer alone, and '{host}' is none",
            help="Choose one of 127.0.0.1 to 127.255.255.254, such as 127.0.0.2 for a second twin.",
        )
    return str(address)


@app.command()
def drivers(build: Build = 17763, count: Count = FEWEST, json: Json = False) -> None:
    """The services that can be planted as the culprit."""
    rows = plantable(checked_build(build), count)
    if json:
        typer.echo(jsonlib.dumps(rows))
        return
    table = Table("service", "image", "kind", "vendor", box=None, header_style="bold")
    for row in rows:
        table.add_row(row["service"], row["image"], row["kind"], row["vendor"])
    out.print(table)


@app.command()
def serve(
    state: Annotated[Path, typer.Option(help="Folder for the simulated disk and certificates.")] = Path(
        "lab-data/twin"
    ),
    build: Build = 17763,
    seed: Annotated[int, typer.Option(help="Same seed, same machine.")] = 1,
    culprit: Annotated[
        str | None, typer.Option(help="Plant this service; the seed chooses otherwise.")
    ] = None,
    count: Count = FEWEST,
    hide: Annotated[
        list[str],
        typer.Option(
            "--hidden",
            help="Instead, a crash without a trace: random-single, random-pair, random-either, "
            "random-triple, random-lottery or system; beside it unrelated, no-boot.",
        ),
    ] = [],  # noqa: B006
    hidden_seed: Annotated[int, typer.Option(help="Chooses the culprits of --hidden.")] = 1,
    half_life: Annotated[
        float, typer.Option(help="Seconds of load in which every other boot crashes, with --hidden.")
    ] = 8.0,
    speed: Annotated[float, typer.Option(min=1, help="Guest seconds in one real second.")] = 60.0,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on, of 127.0.0.0/8; each further twin needs one of its own."),
    ] = "127.0.0.1",
    winrm_port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 15985,
    winrm_tls_port: Annotated[int, typer.Option(min=0, max=65535, help="WinRM over HTTPS.")] = 15986,
    smb_port: Annotated[int, typer.Option(min=0, max=65535)] = 14445,
    redfish_port: Annotated[int, typer.Option(min=0, max=65535)] = 18443,
    symbols_port: Annotated[int, typer.Option(min=0, max=65535)] = 18080,
    misbehave: Annotated[list[str], typer.Option(help="slow-boot, no-dump, winrm-refuses, ...")] = [],  # noqa: B006
    customer_dump: Annotated[Path | None, typer.Option(help="Write the dump a customer would send.")] = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C. The first line of output is JSON: where, and a sealed answer.

    The administrator's password comes from BUGCHECK_LAB_TWIN_PASSWORD. The last line opens the seal.
    """
    from lab.twin.server import Twin, TwinSettings

    password = os.environ.get(PASSWORD)
    if not password:
        raise ConfigurationError(
            f"{PASSWORD} is not set", help=f"export {PASSWORD}=... before starting the twin."
        )
    twin = Twin(
        TwinSettings(
            state=state,
            build=checked_build(build),
            seed=seed,
            culprit=culprit,
            password=password,
            speed=speed,
            host=checked_host(host),
            winrm_port=winrm_port,
            winrm_tls_port=winrm_tls_port,
            smb_port=smb_port,
            redfish_port=redfish_port,
            symbols_port=symbols_port,
            misbehave=frozenset(misbehave),
            customer_dump=customer_dump,
            third_party=check_count(count),
            hide=tuple(hide),
            hidden_seed=hidden_seed,
            half_life=half_life,
        )
    )
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    with _only_one_in(state):
        _serve(twin, done)


@contextmanager
def _only_one_in(state: Path) -> Iterator[None]:
    """Two twins on one simulated disk would spoil each other's certificates and dumps."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigurationError(
                f"another twin is using {state}", help="End it, or choose another folder with --state."
            ) from None
        yield


def _serve(twin: Twin, done: threading.Event) -> None:
    try:
        endpoints = twin.start()
    except OSError as error:
        twin.stop()
        raise ConfigurationError(
            f"the twin cannot listen: {error.strerror or error}",
            help="Choose other ports, or another --host for another twin; port 0 takes a free one.",
        ) from None
    print(jsonlib.dumps(asdict(endpoints)), flush=True)
    errors.print("the twin is up; Ctrl-C ends it")
    done.wait()
    twin.stop()
    print(jsonlib.dumps(twin.reveal()), flush=True)
