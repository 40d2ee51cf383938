"""A soak: load on a host as it is, for a while, and what standing it out means."""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.bench import bench_for, journal_at, leased
from flows.reproduce import prepare, put_back, trial
from lab.bisect import rate_bound
from lab.model import Crashed, EntryKind, LoadPlan, Recipe, Signature, Survived, Trial, VerifierPlan


@flow(name="soak", flow_run_name="soak-{host}", persist_result=False)
def soak(
    inventory: list[Path],
    host: str,
    minutes: float = 60.0,
    profile: str = "burst",
    seed: int = 0,
    data: Path = Path("lab-data"),
) -> list[Trial]:
    """Read load in rounds of at most ten minutes, drivers as found, until the time is up or a stop.

    A stop is captured, analysed and ends the soak; the case it opened holds everything.
    """
    journal = journal_at(data)
    rounds: list[Trial] = []
    with leased(journal, inventory, host):
        plan = LoadPlan(profile=profile, seconds=min(600.0, minutes * 60), seed=seed)
        case = journal.new_case(
            f"Soak of {host}", Signature(0, 0, "", ()), plan, customer=None, customer_sha=""
        )
        with bench_for(journal, inventory, host, case.id, data) as bench:
            put_back(bench)
            try:
                prepare(bench)
                left = minutes * 60
                while left > 0 and not (rounds and isinstance(rounds[-1].outcome, Crashed)):
                    load = LoadPlan(profile, min(600.0, left), seed + len(rounds), plan.connections)
                    recipe = Recipe(frozenset(), VerifierPlan(), load, "soak")
                    rounds.append(trial(bench, recipe, f"soak, round {len(rounds) + 1}"))
                    left -= load.seconds
            finally:
                put_back(bench)
    stood = sum(t.outcome.after for t in rounds if isinstance(t.outcome, Survived))
    stops = sum(isinstance(t.outcome, Crashed) for t in rounds)
    text = (
        f"{host}: {stops} stop after {stood:.0f} s of load"
        if stops
        else f"{host}: {stood:.0f} s of load without a stop; with 95 % confidence fewer than "
        f"{rate_bound(stood, 0.95) * 3600:.2g} stops per hour of this load"
        if stood
        else f"{host}: no valid round"
    )
    journal.note(case.id, EntryKind.FINDING, text)
    create_markdown_artifact(text, key="soak", description=f"soak of {host}")
    return rounds
