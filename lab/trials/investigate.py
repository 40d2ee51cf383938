"""A case brought to its verdict on one host: ask the playbook, run the trial, ask again."""

from __future__ import annotations

from collections.abc import Callable

from lab.model import (
    Case,
    EntryKind,
    GuestError,
    InfrastructureError,
    InvalidReason,
    Recipe,
    Trial,
    Verdict,
)
from lab.playbook import Abort, Conclude, next_step
from lab.trials.bench import Bench
from lab.trials.prepare import prepare
from lab.trials.restore import restore
from lab.trials.run import run_trial


def put_back(bench: Bench) -> None:
    """Put the host back as it was found, and say so in the case's journal."""
    bench.trial = None
    if bench.journal.undo_pending(bench.host.name):
        bench.tell(EntryKind.ACTION, f"putting {bench.host.name} back as it was found")
    for what in restore(bench.host, bench.journal):
        bench.tell(EntryKind.ACTION, f"put back: {what}")


_put_back_now = put_back
"""After an error or Ctrl-C the host is put back directly: the scheduler may be what failed."""


def investigate(
    bench: Bench,
    *,
    prepare: Callable[[Bench], None] = prepare,
    run: Callable[[Bench, Recipe, str], Trial] = run_trial,
    put_back: Callable[[Bench], None] = put_back,
    after_trial: Callable[[Case], None] = lambda case: None,
) -> Verdict:
    """Trials until the playbook has its verdict; the host is put back however this ends.

    The callables are what a scheduler wraps as its tasks. Trials of this case that are still marked as
    running belong to a process that died (the caller holds the host's lease) and are closed first; what
    that process left changed on the host is put back first, so that "as found" stays true.

    Raises InfrastructureError or GuestError when trials keep being invalid: that is no verdict.
    """
    for running in bench.journal.running_trials():
        if running.case_id == bench.case:
            bench.journal.abandon(bench.case, running.number, "its process ended before the trial did")
    put_back(bench)
    try:
        prepare(bench)
        while True:
            case = bench.journal.case(bench.case)
            step = next_step(case)
            if isinstance(step, Conclude):
                bench.journal.set_verdict(bench.case, step.verdict)
                bench.tell(EntryKind.VERDICT, _sentence(case, step.verdict))
                break
            if isinstance(step, Abort):
                kind = GuestError if step.reason is InvalidReason.NOT_APPLIED else InfrastructureError
                raise kind(step.why)
            run(bench, step.recipe, f"{step.headline}: {step.why}")
            after_trial(bench.journal.case(bench.case))
        put_back(bench)
        return step.verdict
    except BaseException:
        _put_back_now(bench)
        raise


def _sentence(case: Case, verdict: Verdict) -> str:
    images = {d.service: d.image for d in case.drivers}
    names = ", ".join(images.get(c, c) for c in verdict.culprits) or "no driver named"
    return f"verdict: {verdict.kind}, {names} ({verdict.probability:.1%})"
