"""From a case to its verdict on one host, with each trial a task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from prefect import Task, flow, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

from flows.bench import bench_for, journal_at
from lab import trials
from lab.model import (
    Case,
    Crashed,
    CredentialsRefused,
    InfrastructureError,
    Recipe,
    Survived,
    Trial,
    Verdict,
)
from lab.playbook import View
from lab.report.markdown import render_markdown
from lab.trials import Bench

USUAL_TRIALS = 8
"""Trials that a case usually takes: the scale of the progress bar."""


def may_pass(task: object, run: object, state: State[object]) -> bool:
    """Whether a failed step is tried again: not when it took a time-out to fail, when the account could be
    locked, or when only a person can change something."""
    error = state.data
    return isinstance(error, InfrastructureError) and not isinstance(error, CredentialsRefused)


def step(name: str, *, retries: int) -> Callable[[Callable[[Bench], None]], Task[[Bench], None]]:
    """Make a task of what is done to a host, tried again so often where that may help."""
    return task(
        name=name,
        retries=retries,
        retry_delay_seconds=5,
        retry_condition_fn=may_pass,
        cache_policy=NO_CACHE,
        persist_result=False,
    )


@step("prepare", retries=1)
def prepare(bench: Bench) -> None:
    trials.prepare(bench)


@task(name="trial", task_run_name="trial: {why}", cache_policy=NO_CACHE, persist_result=False)
def trial(bench: Bench, recipe: Recipe, why: str) -> Trial:
    """One trial. Not retried here: the playbook decides what an invalid trial is worth."""
    return trials.run_trial(bench, recipe, why)


@step("put back", retries=2)
def put_back(bench: Bench) -> None:
    trials.put_back(bench)


@flow(name="reproduce", flow_run_name="reproduce-{case}", persist_result=False)
def reproduce(
    case: str, inventory: list[Path], host: str, data: Path, symbols: tuple[str, ...] = ()
) -> Verdict:
    """Bring a case to its verdict on one expendable host of the inventory.

    `data` is the folder of journal and vault. The host is leased for as long as this runs, and put
    back as it was found however this ends. `symbols` are specifications as of `lab triage --symbols`.
    """
    journal = journal_at(data)
    progress = create_progress_artifact(0.0, description=f"case {case}")

    def after_trial(known: Case) -> None:
        done = len(known.trials)
        update_progress_artifact(progress, 100.0 * done / max(USUAL_TRIALS, done + 1))  # type: ignore[arg-type]
        create_table_artifact(rows(known), key=f"{key(case)}-trials", description="trials so far")

    with bench_for(journal, inventory, host, case, data, symbols) as bench:
        verdict = trials.investigate(
            bench, prepare=prepare, run=trial, put_back=put_back, after_trial=after_trial
        )
    update_progress_artifact(progress, 100.0)  # type: ignore[arg-type]
    known = journal.case(case)
    report = render_markdown(known, search=View(known))
    create_markdown_artifact(report, key=key(case), description="case report")
    return verdict


def rows(case: Case) -> list[dict[str, object]]:
    return [
        {
            "trial": t.number,
            "purpose": t.recipe.purpose,
            "verifier": f"0x{t.recipe.verifier.flags:X}",
            "off": ", ".join(sorted(t.recipe.disabled)),
            "outcome": t.outcome.kind,
            "seconds": round(t.outcome.after, 1) if isinstance(t.outcome, Crashed | Survived) else None,
        }
        for t in case.trials
    ]


def key(case: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in case.lower())
