"""A host is left as it was found, however the work on it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lab.model import EntryKind, LabError
from lab.trials.bench import Bench
from lab.trials.halt import interrupts
from lab.trials.recover import end_those_left_behind
from lab.trials.restore import restore


def put_back(bench: Bench) -> None:
    """Put the host back as it was found, and say so in the case's journal."""
    bench.trial = None
    bench.ours()
    if bench.journal.undo_pending(bench.host.name):
        bench.tell(EntryKind.ACTION, f"putting {bench.host.name} back as it was found")
    for what in restore(bench.host, bench.journal):
        bench.tell(EntryKind.ACTION, f"put back: {what}")


def still_changed(host: str, why: str) -> str:
    """What is told of a host that could not be put back."""
    return f"{host} is still changed: {why}; 'lab host restore {host}' puts it back"


def revive(bench: Bench) -> None:
    """Reset a host whose boot has failed: to wait until it answers would take minutes, and be in vain."""
    bench.ours()
    bench.tell(EntryKind.ACTION, f"resetting {bench.host.name}, which did not boot")
    bench.machine.reset()


@contextmanager
def left_as_found(bench: Bench, scheduled: Callable[[Bench], None] = put_back) -> Iterator[None]:
    """What a dead process left behind is cleared first, what this block changes is undone at its end.

    Trials that it was running are ended first (see `recover`). `scheduled` is `put_back` as a scheduler's
    task; after an error or Ctrl-C the host is put back directly, for the scheduler may be what failed.
    """
    with interrupts() as deaf:
        end_those_left_behind(bench)
        scheduled(bench)
        try:
            yield
        except BaseException:
            deaf.set()
            try:
                put_back(bench)
            except LabError as failed:  # what went wrong first is what the user must hear
                bench.tell(EntryKind.WARNING, still_changed(bench.host.name, failed.message))
            raise
        deaf.set()
        scheduled(bench)
