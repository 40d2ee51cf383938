"""A soak on one host, with each round a task."""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.bench import bench_for, journal_at
from flows.reproduce import prepare, put_back, trial
from lab import trials
from lab.model import LoadPlan

ROUND_SECONDS = 600.0


@flow(name="soak", flow_run_name="soak-{host}", persist_result=False)
def soak(
    inventory: list[Path],
    host: str,
    minutes: float = 60.0,
    profile: str = "burst",
    seed: int = 0,
    data: Path = Path("lab-data"),
    case: str | None = None,
) -> str:
    """Read load in rounds of at most ten minutes, drivers as found, until the time is up or a stop.

    Returns what standing it means. Fails with HostStopped when the host did not, and with
    InfrastructureError when no round was valid.
    `case` is one that `lab.trials.open_soak` opened; without it a new one is.
    """
    journal = journal_at(data)
    load = LoadPlan(profile, min(ROUND_SECONDS, minutes * 60), seed)
    case = case or trials.open_soak(journal, host, load)
    with bench_for(journal, inventory, host, case, data) as bench:
        rounds = trials.soak(bench, load, minutes * 60, prepare=prepare, run=trial, put_back=put_back)
    create_markdown_artifact(trials.meaning(host, rounds), key="soak", description=f"soak of {host}")
    return trials.judge(host, rounds)
