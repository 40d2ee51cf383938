"""A case brought to its verdict on several hosts side by side, with each trial a task."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from prefect import flow
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from flows.bench import bench_for, journal_at, nobody_else_on
from flows.reproduce import key, put_back, rows, step, trial
from lab import trials
from lab.model import Case, ConfigurationError, Verdict
from lab.playbook import SEARCH, View
from lab.report.markdown import render_markdown
from lab.trials import Bench


@step("examine", retries=1)
def examine(bench: Bench) -> None:
    trials.examine(bench)


@flow(name="bisect", flow_run_name="bisect-{case}", persist_result=False)
def bisect(
    case: str,
    inventory: list[Path],
    hosts: list[str],
    data: Path,
    budget: float = 1440.0,
    symbols: tuple[str, ...] = (),
) -> Verdict:
    """Search the driver, or the pair, of a case on all `hosts` at once.

    `budget` are machine-minutes for all trials of the search, those of earlier runs too. Hosts are leased
    for as long as this runs, and put back as they were found however it ends. `data` is the folder of
    journal and vault, `symbols` are specifications as of `lab triage --symbols`. Raises InfrastructureError
    when the case is searched on other hosts already.
    """
    if not hosts:
        raise ConfigurationError(
            "no host is named to bisect on", help="Name expendable hosts of the inventory."
        )
    journal = journal_at(data)
    nobody_else_on(journal, case, hosts)
    progress = create_progress_artifact(0.0, description=f"case {case}: budget")

    def after_trial(known: Case) -> None:
        spent = sum(t.seconds for t in known.trials if t.recipe.purpose in SEARCH.values())
        update_progress_artifact(progress, min(100.0, 100.0 * spent / (60.0 * budget)))  # type: ignore[arg-type]
        create_table_artifact(rows(known), key=f"{key(case)}-trials", description="trials so far")

    with ExitStack() as leases:
        benches = [
            leases.enter_context(bench_for(journal, inventory, host, case, data, symbols)) for host in hosts
        ]
        verdict = trials.campaign(
            benches,
            trials.Threads(time.monotonic),
            budget=60.0 * budget,
            tasks=trials.Tasks(examine, trial, put_back),
            after_trial=after_trial,
        )
    update_progress_artifact(progress, 100.0)  # type: ignore[arg-type]
    known = journal.case(case)
    report = render_markdown(known, search=View(known))
    create_markdown_artifact(report, key=key(case), description="case report")
    return verdict
