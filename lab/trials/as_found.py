"""A host is left as it was found, however the work on it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lab.model import EntryKind
from lab.trials.bench import Bench
from lab.trials.restore import restore


def put_back(bench: Bench) -> None:
    """Put the host back as it was found, and say so in the case's journal."""
    bench.trial = None
    if bench.journal.undo_pending(bench.host.name):
        bench.tell(EntryKind.ACTION, f"putting {bench.host.name} back as it was found")
    for what in restore(bench.host, bench.journal):
        bench.tell(EntryKind.ACTION, f"put back: {what}")


@contextmanager
def left_as_found(bench: Bench, scheduled: Callable[[Bench], None] = put_back) -> Iterator[None]:
    """What a dead process left behind is cleared first, what this block changes is undone at its end.

    Trials of this case that are still marked as running belong to a process that died, as the caller
    holds the host's lease. `scheduled` is `put_back` as a scheduler's task; after an error or Ctrl-C the
    host is put back directly, for the scheduler may be what failed.
    """
    for running in bench.journal.running_trials():
        if running.case_id == bench.case:
            bench.journal.abandon(bench.case, running.number, "its process ended before the trial did")
    scheduled(bench)
    try:
        yield
    except BaseException:
        put_back(bench)
        raise
    scheduled(bench)
