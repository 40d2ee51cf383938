"""Tells a case's story while it happens, by reading its journal: the flow may run anywhere."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from lab.cli.follow import Follower
from lab.journal import Journal
from lab.model import Entry, EntryKind

EVERY = 0.25


class Narrator(Follower):
    """A context that prints new journal entries of one case until it is left."""

    def __init__(self, console: Console, journal: Journal, case: str, *, after: int = 0) -> None:
        super().__init__("narrator", EVERY)
        self._console = console
        self._journal = journal
        self._case = case
        self._after = after
        self._status = Status("starting the flow engine", console=console, spinner="dots")

    def begin(self) -> None:
        self._status.start()

    def end(self) -> None:
        self._status.stop()

    def look(self) -> None:
        for entry in self._journal.entries(self._case, after=self._after):
            self._after = entry.number
            self._print(entry)

    def _print(self, entry: Entry) -> None:
        text = escape(entry.text)
        if entry.kind is EntryKind.STEP:
            headline, _, why = text.partition(": ")
            number = f"{entry.trial}. " if entry.trial is not None else ""
            self._console.print(f"\n[bold cyan]{number}{headline}[/]: {why}", soft_wrap=True)
            self._status.update(headline)
        elif entry.kind is EntryKind.ACTION:
            self._console.print(f"   [dim]· {text}[/]", soft_wrap=True)
            self._status.update(text)
        elif entry.kind is EntryKind.FINDING:
            self._console.print(f"   [green]→[/] {text}", soft_wrap=True)
        elif entry.kind is EntryKind.WARNING:
            self._console.print(f"   [yellow]! {text}[/]", soft_wrap=True)
        else:
            self._console.print(f"\n[bold]{text}[/]", soft_wrap=True)
