"""`lab demo`: the article's story, by itself, on the twin."""

from __future__ import annotations

import hashlib
import json as jsonlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.markup import escape

from flows.bench import journal_at, vault_at
from lab.cli.console import errors, out, to_json
from lab.cli.options import DEFAULT_DATA, Data, Json
from lab.cli.reproduce import investigate
from lab.cli.twin import PASSWORD, Build, checked_build
from lab.model import InfrastructureError, LoadPlan, VerdictKind
from lab.trials import open_case
from lab.twin.catalogue import check_plantable

LOAD_SECONDS = 6.0
STOP_SECONDS = 15.0


def demo(
    seed: Annotated[int, typer.Option(help="Chooses the culprit and everything random.")] = 5,
    culprit: Annotated[str | None, typer.Option(help="Plant this service (see 'lab twin drivers').")] = None,
    build: Build = 17763,
    json: Json = False,
    data: Data = DEFAULT_DATA,
) -> None:
    """Watch a STOP 0x20 being reproduced, cornered and pinned on a driver, on a simulated server.

    The twin seals the name of the driver it planted before the first step, and opens it after the verdict.
    """
    checked_build(build)
    if culprit is not None:
        check_plantable(build, culprit)
    started = time.monotonic()
    folder = data.resolve() / f"demo-{seed}-{build}-{time.strftime('%H%M%S')}-{os.getpid()}"
    folder.mkdir(parents=True)
    errors.print(f"[bold]Bugcheck Lab[/]: a simulated Windows Server, build {build}, seed {seed}")
    with running_twin(folder, seed, culprit, build) as twin:
        errors.print(f"[dim]the twin sealed its answer: sha256 {twin.endpoints['commitment'][:16]}…[/]")
        case = open_case(
            journal_at(data),
            LoadPlan("burst", LOAD_SECONDS, seed),
            dump=folder / "customer.dmp",
            expected=None,
            vault=vault_at(data),
            symbols=(twin.symbols,),
        )
        finished, report = investigate(case, [twin.inventory], "twin", data)
    verdict = finished.verdict
    assert verdict is not None
    seconds = time.monotonic() - started
    right = _open_seal(twin.endpoints["commitment"], twin.revealed, verdict.culprits)
    errors.print(f"{len(finished.trials)} trials, {seconds:.0f} s, report: {report}", soft_wrap=True)
    if json:
        answer = {
            "verdict": {
                "kind": verdict.kind,
                "culprits": list(verdict.culprits),
                "probability": verdict.probability,
            },
            "trials": len(finished.trials),
            "seconds": round(seconds, 1),
            "report": str(report.resolve()),
            "case": finished.id,
        }
        typer.echo(to_json(answer))
    else:
        out.print(str(report.resolve()), soft_wrap=True)
    if verdict.kind is not VerdictKind.DRIVER or not right:
        raise typer.Exit(1)


def _open_seal(commitment: str, revealed: dict[str, str], named: tuple[str, ...]) -> bool:
    """Show what was planted; true when the verdict names it and the seal is whole."""
    honest = hashlib.sha256((revealed["culprit"] + revealed["salt"]).encode()).hexdigest() == commitment
    right = revealed["culprit"] in named
    errors.print(
        f"[dim]the seal opens: planted was[/] [bold]{escape(revealed['culprit'])}[/] "
        + ("[green]✓[/]" if right else "[red]✗ not what the verdict says[/]")
        + ("" if honest else " [red](the seal does not match)[/]")
    )
    return right and honest


@dataclass
class RunningTwin:
    """A twin process: endpoints, inventory that names it, place of symbols; once ended, its opened seal."""

    endpoints: dict[str, Any]
    inventory: Path
    symbols: str
    revealed: dict[str, str]


@contextmanager
def running_twin(folder: Path, seed: int, culprit: str | None, build: int) -> Iterator[RunningTwin]:
    """Start `lab twin serve` as a process of its own; end it with the block.

    Raises InfrastructureError with the twin's own message when it does not start.
    """
    os.environ[PASSWORD] = secrets.token_urlsafe(16)
    command = [sys.executable, "-m", "lab", "twin", "serve", "--state", str(folder / "twin")]
    command += ["--seed", str(seed), "--build", str(build)]
    for service in ("winrm", "winrm-tls", "smb", "redfish", "symbols"):
        command += [f"--{service}-port", "0"]
    command += ["--customer-dump", str(folder / "customer.dmp")]
    if culprit is not None:
        command += ["--culprit", culprit]
    log = folder / "twin.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            process.wait()
            lines = [text for text in log.read_text("utf-8", "replace").splitlines() if text.strip()]
            said = next((t for t in lines if t.startswith("error:")), lines[-1] if lines else "nothing")
            raise InfrastructureError(f"the twin did not start: {said.removeprefix('error: ')}")
        endpoints = jsonlib.loads(line)
        twin = RunningTwin(endpoints, _inventory(folder, endpoints), _symbols(folder, endpoints), {})
        yield twin
    finally:
        process.terminate()
        try:
            rest, _ = process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            rest, _ = process.communicate()
    if rest.strip():
        twin.revealed = jsonlib.loads(rest.splitlines()[-1])


def _symbols(folder: Path, endpoints: dict[str, Any]) -> str:
    """The twin's symbol server, with a cache of its own: PDBs of the twin bear ids of real kernels."""
    return f"srv*{folder / 'symbols'}*{endpoints['symbols_url']}"


def _inventory(folder: Path, endpoints: dict[str, Any]) -> Path:
    """The inventory entry a person would write for this twin."""
    password = {"env": PASSWORD}
    host = {
        "address": endpoints["host"],
        "expendable": True,
        "machine": {
            "kind": "redfish",
            "url": endpoints["redfish_url"],
            "user": endpoints["user"],
            "password": password,
            "ca_file": endpoints["ca_file"],
            "system": endpoints["system_id"],
        },
        "guest": {
            "shell": {
                "kind": "psrp",
                "port": endpoints["winrm_port"],
                "user": endpoints["user"],
                "password": password,
                "tls": False,
            }
        },
        "smb": {"port": endpoints["smb_port"]},
        "symbols": [_symbols(folder, endpoints)],
        "timeouts": {"boot": 60, "dump": 30, "poll": 0.1},
    }
    path = folder / "inventory.yaml"
    path.write_text(yaml.safe_dump({"hosts": {"twin": host}}, sort_keys=False), "utf-8")
    return path
