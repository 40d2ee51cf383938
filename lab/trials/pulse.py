"""The heartbeats of a running trial."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from lab.journal import Heartbeat
from lab.model import LabError
from lab.smb.load.report import Progress
from lab.trials.bench import Bench

EVERY = 2.0
"""Seconds of load between two heartbeats in the journal: what a killed process loses of a trial at most."""


class Pulse:
    """Writes to the journal how far a load is. Give it to `run_load` as `on_progress`.

    `seconds` go up only while READs are answered: a load that does not reach the server is no evidence.
    """

    def __init__(self, bench: Bench, number: int, first: Heartbeat) -> None:
        """Writes the first heartbeat, before the load. Raises the journal's errors."""
        self._bench, self._number, self._beat = bench, number, first
        self._answered, self._written = 0, 0.0
        bench.journal.beat(bench.case, number, first)

    @property
    def seconds(self) -> float:
        """Seconds of load until the last look at which a READ had been answered."""
        return self._beat.seconds

    def stopped(self, after: float) -> None:
        """The last heartbeat: the host stopped after so many seconds of load."""
        self._beat = replace(self._beat, seconds=after)
        with suppress(LabError):  # it is for a process that takes over, and there may never be one
            self._bench.journal.beat(self._bench.case, self._number, self._beat)

    def __call__(self, progress: Progress) -> None:
        """Asks for the load's end once the host is not ours any more."""
        if progress.reads_answered > self._answered:
            self._answered = progress.reads_answered
            self._beat = replace(self._beat, seconds=progress.seconds)
        if progress.seconds - self._written >= EVERY:
            self._written = progress.seconds
            try:
                self._bench.ours()
            except LabError as error:
                self._bench.halt.ask(error.message)
            with suppress(LabError):  # a journal that is busy for a while is no reason to end a load
                self._bench.journal.beat(self._bench.case, self._number, self._beat)
