"""From a case to its verdict on one host: ask the playbook, run the trial, ask again."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE

from flows.bench import bench_for, journal_at, leased
from lab.journal import Journal
from lab.model import (
    Case,
    Crashed,
    EntryKind,
    GuestError,
    InfrastructureError,
    InvalidReason,
    Recipe,
    Survived,
    Trial,
    Verdict,
)
from lab.playbook import Abort, Conclude, next_step
from lab.report.markdown import render_markdown
from lab.trials import Bench, prepare, restore, run_trial


@task(
    name="prepare",
    task_run_name="prepare-{host}",
    retries=1,
    retry_delay_seconds=5,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def prepare_host(bench: Bench, host: str) -> None:
    prepare(bench)


@task(name="trial", task_run_name="trial: {why}", cache_policy=NO_CACHE, persist_result=False)
def trial(bench: Bench, recipe: Recipe, why: str) -> Trial:
    """One trial. Not retried here: the playbook decides what an invalid trial is worth."""
    return run_trial(bench, recipe, why)


@task(
    name="restore",
    task_run_name="restore-{host}",
    retries=2,
    retry_delay_seconds=5,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def restore_host(bench: Bench, host: str) -> None:
    for what in restore(bench.host, bench.journal):
        bench.tell(EntryKind.ACTION, f"put back: {what}")


@flow(name="reproduce", flow_run_name="reproduce-{case}", validate_parameters=True, persist_result=False)
def reproduce(case: str, inventory: list[Path], host: str, data: Path) -> Verdict:
    """Bring a case to its verdict on one expendable host of the inventory.

    `data` is the folder of journal and vault. The host is leased for as long as this runs, and put
    back as it was found however this ends.
    """
    journal = journal_at(data)
    with leased(journal, inventory, host), bench_for(journal, inventory, host, case, data) as bench:
        _abandon_dead_trials(journal, case)
        try:
            prepare_host(bench, host)
            verdict = _until_verdict(bench)
        finally:
            bench.trial = None
            bench.tell(EntryKind.ACTION, f"putting {host} back as it was found")
            restore_host(bench, host)
    known = journal.case(case)
    create_markdown_artifact(render_markdown(known), key=_key(case), description="case report")
    return verdict


def _abandon_dead_trials(journal: Journal, case: str) -> None:
    """We hold the host's lease, so a trial still marked as running belongs to a process that died."""
    for running in journal.running_trials():
        if running.case_id == case:
            journal.abandon(case, running.number, "its process ended before the trial did")


def _until_verdict(bench: Bench) -> Verdict:
    progress = create_progress_artifact(0.0, description="trials of this case")
    while True:
        case = bench.journal.case(bench.case)
        step = next_step(case)
        if isinstance(step, Conclude):
            bench.journal.set_verdict(bench.case, step.verdict)
            bench.tell(EntryKind.VERDICT, sentence(case, step.verdict))
            update_progress_artifact(progress, 100.0)  # type: ignore[arg-type]
            return step.verdict
        if isinstance(step, Abort):
            kind = GuestError if step.reason is InvalidReason.NOT_APPLIED else InfrastructureError
            raise kind(step.why)
        number = len(case.trials) + 1
        trial(bench, step.recipe, f"{step.headline}: {step.why}")
        update_progress_artifact(progress, min(95.0, 100.0 * number / (number + 2)))  # type: ignore[arg-type]
        _table(bench.journal, bench.case)


def sentence(case: Case, verdict: Verdict) -> str:
    """The verdict in one line."""
    images = {d.service: d.image for d in case.drivers}
    names = ", ".join(images.get(c, c) for c in verdict.culprits) or "none named"
    return f"verdict: {verdict.kind}: {names} ({verdict.probability:.1%})"


def _table(journal: Journal, case: str) -> None:
    rows = [
        {
            "trial": t.number,
            "purpose": t.recipe.purpose,
            "verifier": f"0x{t.recipe.verifier.flags:X}",
            "off": ", ".join(sorted(t.recipe.disabled)),
            "outcome": t.outcome.kind,
            "seconds": round(t.outcome.after, 1) if isinstance(t.outcome, Crashed | Survived) else None,
        }
        for t in journal.case(case).trials
    ]
    create_table_artifact(rows, key=f"{_key(case)}-trials", description="trials so far")


def _key(case: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in case.lower())
