"""`lab load`: SMB2 read load on a host of the inventory, with its rate."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.live import Live
from rich.text import Text

from flows.bench import journal_at, leased
from lab.cli.console import errors, out, to_json
from lab.cli.options import DEFAULT_DATA, DEFAULT_INVENTORY, Data, Inventories, Json
from lab.inventory import load as load_inventory
from lab.model import LoadPlan, SystemClock
from lab.smb import Progress, run_load
from lab.trials import target_of

LONGEST = 7 * 24 * 3600.0  # seconds


def load(
    host: Annotated[
        str, typer.Argument(help="An expendable host of the inventory; nothing else is a target.")
    ],
    profile: Annotated[str, typer.Option(help="steady or burst.")] = "burst",
    seconds: Annotated[float, typer.Option(min=0.5, max=LONGEST, help="How long.")] = 30.0,
    connections: Annotated[int, typer.Option(min=1, max=64)] = 4,
    seed: Annotated[int, typer.Option(help="Same seed, same offsets.")] = 0,
    inventory: Inventories = DEFAULT_INVENTORY,
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """Drive SMB2 reads and show the rate. Stops when the target dies or the time is up."""
    target = target_of(load_inventory(inventory).host(host, for_use=True))
    journal = journal_at(data)
    plan = LoadPlan(profile, seconds, seed, connections)
    with (
        leased(journal, host),
        Live(Text("connecting"), console=errors, refresh_per_second=8, transient=True) as live,
    ):

        def show(progress: Progress) -> None:
            live.update(Text(str(progress)))

        report = run_load(target, plan, clock=SystemClock(), on_progress=show)
    if json:
        typer.echo(to_json(report))
        return
    rate = report.reads_answered / report.seconds if report.seconds else 0.0
    out.print(
        f"{report.reads_answered} of {report.reads_sent} READs answered in {report.seconds:.1f} s "
        f"({rate:.0f}/s), latency p50 {report.latency_ms[0]:.1f} ms, p95 {report.latency_ms[1]:.1f} ms, "
        f"p99 {report.latency_ms[2]:.1f} ms",
        soft_wrap=True,
    )
    for status, count in report.failed:
        out.print(f"  {count} × {status}")
    if report.target_died:
        out.print(f"[bold]the target died[/] {report.died_after or 0:.2f} s into the load")
