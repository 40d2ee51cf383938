"""A soak on one host, with each round a task."""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.bench import bench_for, journal_at, leased
from flows.reproduce import prepare, put_back, trial
from lab import trials
from lab.model import LoadPlan, Signature, Trial

ROUND_SECONDS = 600.0


@flow(name="soak", flow_run_name="soak-{host}", persist_result=False)
def soak(
    inventory: list[Path],
    host: str,
    minutes: float = 60.0,
    profile: str = "burst",
    seed: int = 0,
    data: Path = Path("lab-data"),
) -> list[Trial]:
    """Read load in rounds of at most ten minutes, drivers as found, until the time is up or a stop."""
    journal = journal_at(data)
    load = LoadPlan(profile, min(ROUND_SECONDS, minutes * 60), seed)
    with leased(journal, inventory, host):
        case = journal.new_case(f"Soak of {host}", Signature(0, 0, "", ()), load)
        with bench_for(journal, inventory, host, case.id, data) as bench:
            rounds = trials.soak(bench, load, minutes * 60, prepare=prepare, run=trial, put_back=put_back)
    create_markdown_artifact(trials.meaning(host, rounds), key="soak", description=f"soak of {host}")
    return rounds
