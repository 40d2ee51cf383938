"""A case brought to its verdict on one host: ask the playbook, run the trial, ask again."""

from __future__ import annotations

from collections.abc import Callable

from lab.model import (
    Case,
    EntryKind,
    GuestError,
    InfrastructureError,
    Invalid,
    InvalidReason,
    Recipe,
    Trial,
    Verdict,
    VerdictKind,
)
from lab.playbook import Abort, Conclude, next_step
from lab.report import words
from lab.trials.as_found import left_as_found, put_back, revive
from lab.trials.bench import Bench
from lab.trials.prepare import prepare
from lab.trials.run import run_trial


def investigate(
    bench: Bench,
    *,
    prepare: Callable[[Bench], None] = prepare,
    run: Callable[[Bench, Recipe, str], Trial] = run_trial,
    put_back: Callable[[Bench], None] = put_back,
    after_trial: Callable[[Case], None] = lambda case: None,
) -> Verdict:
    """Trials until the playbook has its verdict; the host is left as found however this ends.

    The callables are what a scheduler wraps as its tasks. The caller holds the host's lease.
    Raises InfrastructureError or GuestError when trials keep being invalid: that is no verdict.
    """
    with left_as_found(bench, put_back):
        prepare(bench)
        since = len(bench.journal.case(bench.case).trials)
        while True:
            case = bench.journal.case(bench.case)
            step = next_step(case, since=since)
            if isinstance(step, Conclude):
                break
            if isinstance(step, Abort):
                kind = GuestError if step.reason is InvalidReason.NOT_APPLIED else InfrastructureError
                raise kind(step.why)
            trial = run(bench, step.recipe, f"{step.headline}: {step.why}")
            if isinstance(trial.outcome, Invalid) and trial.outcome.reason is InvalidReason.NOT_BOOTED:
                revive(bench)
                put_back(bench)  # with all drivers on it boots
                prepare(bench)
            after_trial(bench.journal.case(bench.case))
        bench.journal.set_verdict(bench.case, step.verdict)
        bench.tell(EntryKind.VERDICT, sentence(case, step.verdict))
    return step.verdict


def sentence(case: Case, verdict: Verdict) -> str:
    """A verdict in one line of the case's story. A probability is that of what is named."""
    images = {d.service: d.image for d in case.drivers}
    names = ", ".join(f"{images.get(c, c)} (service {c})" for c in verdict.culprits) or "no driver named"
    sure = verdict.culprits or verdict.kind is VerdictKind.SYSTEM
    return f"verdict: {verdict.kind}, {names}" + (f" ({words.percent(verdict.probability)})" if sure else "")
