"""`lab load`: an SMB2 read load on a host of the inventory, watched, counted and reported."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from flows.bench import journal_at, leased
from lab.cli.console import errors, out, to_json
from lab.cli.options import DEFAULT_DATA, DEFAULT_INVENTORY, Data, Inventories, Json
from lab.inventory import Host
from lab.inventory import load as load_inventory
from lab.model import (
    ConfigurationError,
    LoadNotDelivered,
    LoadPlan,
    LoadReport,
    SystemClock,
)
from lab.provision import folder_in
from lab.report.load_run import Ended, LoadRun, commas, headline
from lab.report.load_text import load_text
from lab.report.whole import write_whole
from lab.smb import PROFILES, Encryption, Progress, Security, Signing, SmbTarget, find_profile, run_load
from lab.smb.load.company import ALL_LOST
from lab.smb.profiles import shaped
from lab.trials import target_of, within_caps
from lab.trials.host_shell import HostShell
from lab.trials.target import security_of
from lab.windows import open_guest

TARGET_DIED = 1
INTERRUPTED = 130
ENDING = "ending the load: connections are closed; Ctrl-C once more ends the command at once"

_STYLES = {
    Ended.DELIVERED: "bold green",
    Ended.DIED: "bold red",
    Ended.UNDELIVERED: "bold yellow",
    Ended.INTERRUPTED: "bold yellow",
}


def load(
    host: Annotated[
        str, typer.Argument(help="An expendable host of the inventory; nothing else is a target.")
    ] = "",
    profile: Annotated[
        str, typer.Option(help="What the load looks like in time; --list names all.")
    ] = "burst",
    seconds: Annotated[float, typer.Option(min=0.5, help="How long.")] = 30.0,
    connections: Annotated[int, typer.Option(min=1, max=256, help="TCP connections.")] = 4,
    in_flight: Annotated[
        int | None, typer.Option(min=1, help="READs in flight over all connections, at the profile's most.")
    ] = None,
    idle: Annotated[float | None, typer.Option(help="Seconds of the profile's idle phases.")] = None,
    size: Annotated[int | None, typer.Option(min=1, help="Bytes of one READ.")] = None,
    rate: Annotated[float | None, typer.Option(help="READs a second over all connections, at most.")] = None,
    verify: Annotated[
        str, typer.Option(metavar="all|N|set-up", help="Check all answers, one in N, or the set-up's only.")
    ] = "16",
    signing: Annotated[
        str | None, typer.Option(metavar="required|if-asked", help="Instead of the inventory's.")
    ] = None,
    encryption: Annotated[
        str | None, typer.Option(metavar="required|if-asked|off", help="Instead of the inventory's.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same offsets.")] = 0,
    keep_files: Annotated[
        bool,
        typer.Option("--keep-files/--remove-files", help="Leave the large file for the next load, or not."),
    ] = True,
    queues: Annotated[
        bool, typer.Option("--queues/--no-queues", help="Ask the host's shell for its server's work queues.")
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done; connect to nothing.")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="Name the profiles and what each is for.")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Also write one HTML page.")
    ] = None,
    inventory: Inventories = DEFAULT_INVENTORY,
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """Drive SMB2 reads on a host, and say whether they reached it and what it did.

    Ends when the time is up, when the target dies, or on Ctrl-C; connections are closed in order.
    """
    if list_:
        _list(json)
        return
    if not host:
        raise typer.BadParameter("name a host of the inventory (or use --list)", param_hint="HOST")
    entry = load_inventory(inventory, folder_in(data)).host(host, for_use=True)
    asked = LoadPlan(
        profile, seconds, seed, connections, in_flight, idle, size, rate, _every(verify), keep_files
    )
    plan = within_caps(entry, asked)
    chosen = find_profile(profile)
    shaped(chosen, plan)
    security = _overridden(security_of(entry.smb), signing, encryption)
    if dry_run:
        _rehearse(entry, security, plan, json, queues=queues)
        return
    target = replace(target_of(entry), security=security)
    chosen_too = (("signing", signing), ("encryption", encryption))
    _writable(html)
    run = LoadRun(
        host,
        plan,
        LoadReport(profile, 0.0, 0, 0, 0),
        summary=chosen.summary,
        exercises=chosen.exercises,
        options="".join(f" --{name} {word}" for name, word in chosen_too if word is not None),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    with leased(journal_at(data), host):
        run = _carried_out(run, target, HostShell(open_guest(entry)) if queues else None)
    _tell(run, json, html)


def _carried_out(run: LoadRun, target: SmbTarget, shell: HostShell | None) -> LoadRun:
    """The load, with its progress on a line of its own."""
    with (
        _stoppable() as (stop, begun),
        Live(Text("connecting"), console=errors, refresh_per_second=8, transient=True) as live,
    ):

        def show(progress: Progress) -> None:
            begun.set()
            live.update(Text(ENDING if stop.is_set() else str(progress)))

        try:
            if shell is not None:
                shell.note_boot()
            report = run_load(
                target,
                run.plan,
                clock=SystemClock(),
                on_progress=show,
                stop=stop,
                queues=shell.queues if shell else None,
                restarted=shell.restarted if shell else None,
            )
            doubtful = not report.target_died and bool(report.undelivered or report.reconnects)
            restarted = shell.restarted() if doubtful and shell is not None else None
        finally:
            if shell is not None:
                shell.close()
    missing = (shell.failure or "no look came back in time") if shell else "its queues were not asked for"
    return replace(
        run,
        report=report if restarted is not None else _in_doubt(report),
        interrupted=stop.is_set(),
        restarted=bool(restarted),
        queues_missing="" if report.queues else missing,
    )


def _in_doubt(report: LoadReport) -> LoadReport:
    """The report, where nobody knows which boot of the host answers: one that lost all of its connections
    cannot say that the host stood."""
    losses = dict(report.operations).get(ALL_LOST, 0)
    if not losses or report.target_died or report.undelivered:
        return report
    times = "" if losses == 1 else f" {losses} times"
    why = f"all connections were lost{times}, and whether the host was started anew is not known"
    return replace(report, undelivered=why)


@contextmanager
def _stoppable() -> Iterator[tuple[threading.Event, threading.Event]]:
    """The first event is set by Ctrl-C or SIGTERM: the load then ends in order. A second one, or one before
    the load has begun, which sets the second event, ends the command at once."""
    stop, begun = threading.Event(), threading.Event()

    def ask(number: int, frame: object) -> None:
        if stop.is_set() or not begun.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop, begun
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(run: LoadRun, json: bool, html: Path | None) -> None:
    """The report, the page, and the exit code. Raises LoadNotDelivered after the report has been told."""
    if html is not None:
        from lab.report.load_html import render_load_html

        written = write_whole(render_load_html(run), html)
        errors.print(escape(str(written)), soft_wrap=True)
    if json:
        values = {field.name: getattr(run, field.name) for field in fields(run)}
        typer.echo(to_json({"format": 1, "ended": run.ended, **values}))
    else:
        out.print(Text(headline(run, commas), style=_STYLES[run.ended]), soft_wrap=True)
        typer.echo(load_text(run), nl=False)
    if run.ended is Ended.UNDELIVERED:
        raise LoadNotDelivered(f"the load was not delivered: {run.report.undelivered}")
    if run.ended is Ended.INTERRUPTED:
        raise typer.Exit(INTERRUPTED)
    if run.ended is Ended.DIED:
        raise typer.Exit(TARGET_DIED)


def _list(json: bool) -> None:
    if json:
        typer.echo(to_json(tuple(PROFILES.values())))
        return
    for profile in PROFILES.values():
        out.print(Text(profile.name, style="bold"))
        out.print(Text(f"  {profile.summary}\n  {profile.exercises}"), soft_wrap=True)


def _rehearse(host: Host, security: Security, plan: LoadPlan, json: bool, *, queues: bool) -> None:
    from lab.cli.load_dry import as_text, rehearse

    rehearsal = rehearse(host, security, plan, find_profile(plan.profile), queues=queues)
    if json:
        typer.echo(to_json(rehearsal))
        return
    out.print(Text("Dry run: nothing is connected to, nothing is changed.", style="bold"))
    typer.echo(as_text(rehearsal), nl=False)


def _every(verify: str) -> int:
    """`--verify` as one in so many answers. Raises ConfigurationError."""
    named = {"all": 1, "set-up": 0}
    if verify in named:
        return named[verify]
    if verify.isascii() and verify.isdigit() and int(verify) >= 1:
        return int(verify)
    raise ConfigurationError(
        f"--verify {verify} is neither all, nor set-up, nor a number of 1 or more",
        help="Give 'all', 'set-up', or N to check one in N answers.",
    )


def _overridden(security: Security, signing: str | None, encryption: str | None) -> Security:
    """The host's settings with those of the command line. Raises ConfigurationError for unknown words."""
    if signing is not None:
        security = replace(security, signing=Signing(_word("--signing", signing, Signing)))
    if encryption is not None:
        security = replace(security, encryption=Encryption(_word("--encryption", encryption, Encryption)))
    return security


def _word(option: str, given: str, words: type[Signing] | type[Encryption]) -> str:
    known = {word.value.replace(" ", "-"): word.value for word in words}
    if given not in known:
        raise ConfigurationError(f"{option} {given} is not known", help=f"Give one of {', '.join(known)}.")
    return known[given]


def _writable(html: Path | None) -> None:
    """A page that cannot be written is told before the load, not after it."""
    if html is None:
        return
    folder = html.absolute().parent
    if html.is_dir() or (folder.exists() and not os.access(folder, os.W_OK)):
        raise ConfigurationError(
            f"the page cannot be written to {html}", help="Name a file in a folder that you may write to."
        )
