"""Follows a search while it happens, by reading its journal: each trial a line, and on a terminal a table."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from lab.cli.bisect_table import Suspect, line, render, suspects
from lab.cli.follow import Follower
from lab.journal import Journal, RunningTrial
from lab.model import Entry, EntryKind

EVERY = 0.5
_STYLES = {EntryKind.STEP: "cyan", EntryKind.WARNING: "yellow", EntryKind.VERDICT: "bold"}
"""What of the story is told beside the trials: several hosts at once would fill the screen with the rest."""


class SearchWatch(Follower):
    """A context that tells of one case's search until it is left. `budget` are machine-seconds."""

    def __init__(self, console: Console, journal: Journal, case: str, budget: float | None) -> None:
        super().__init__("search-watch", EVERY)
        self._console, self._journal, self._case, self._budget = console, journal, case, budget
        self._known = journal.case(case)
        self._entry = self._known.entries[-1].number if self._known.entries else 0
        self._told = {trial.number for trial in self._known.trials}
        self._left_behind = {r.number for r in self._running()}  # by a process that died: they do not run
        self._under_way: set[int] = set()
        self._leading: tuple[Suspect, ...] = ()
        first = Text("starting the flow engine")
        self._live = Live(first, console=console, auto_refresh=False, transient=True)

    def begin(self) -> None:
        if self._console.is_terminal:
            self._live.start()

    def end(self) -> None:
        self._live.stop()

    def look(self) -> None:
        for entry in self._journal.entries(self._case, after=self._entry):
            self._entry = entry.number
            self._tell(entry)
        running = [r for r in self._running() if r.number not in self._left_behind]
        under_way = {r.number for r in running}
        if under_way != self._under_way or self.done.is_set():
            self._under_way = under_way
            self._known = self._journal.case(self._case)  # with all its crashes: not to be read all the time
            self._tell_ended()
        if self._console.is_terminal and not self.done.is_set():
            self._live.update(self._picture(running), refresh=True)

    def _running(self) -> list[RunningTrial]:
        return [r for r in self._journal.running_trials() if r.case_id == self._case]

    def _tell_ended(self) -> None:
        ended = [trial for trial in self._known.trials if trial.number not in self._told]
        if ended or not self._leading:
            self._leading = suspects(self._known)
        for trial in ended:
            self._told.add(trial.number)
            text = line(self._known, trial, self._leading, self._budget)
            self._console.print(f"   [green]→[/] {escape(text)}", soft_wrap=True)

    def _picture(self, running: list[RunningTrial]) -> RenderableType:
        return render(
            self._known, running, budget_seconds=self._budget, now=datetime.now(UTC), leading=self._leading
        )

    def _tell(self, entry: Entry) -> None:
        style = _STYLES.get(entry.kind)
        if style is None:
            return
        of_a_step = entry.kind is EntryKind.STEP
        number = "" if entry.trial is None else f"{entry.trial}. " if of_a_step else f"trial {entry.trial}: "
        self._console.print(f"[{style}]{number}{escape(entry.text)}[/]", soft_wrap=True)
