"""A soak: load on a host as it is, for a while, and what standing it means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lab.bisect import rate_bound
from lab.journal import Journal
from lab.model import (
    Crashed,
    EntryKind,
    InfrastructureError,
    LabError,
    LoadPlan,
    Recipe,
    Signature,
    Survived,
    Trial,
    VerifierPlan,
)
from lab.trials.as_found import left_as_found, put_back
from lab.trials.bench import Bench
from lab.trials.prepare import prepare
from lab.trials.run import run_trial

CONFIDENCE = 0.95


def open_soak(journal: Journal, host: str, load: LoadPlan) -> str:
    """A case for a soak, where no certain stop is looked for. Returns its id."""
    return journal.new_case(f"Soak of {host}", Signature(0, 0, "", ()), load).id


def soak(
    bench: Bench,
    load: LoadPlan,
    seconds: float,
    *,
    prepare: Callable[[Bench], None] = prepare,
    run: Callable[[Bench, Recipe, str], Trial] = run_trial,
    put_back: Callable[[Bench], None] = put_back,
) -> list[Trial]:
    """Rounds of `load`, drivers as found and verifier off, until `seconds` of load or a stop.

    A stop is captured and analysed like any trial's. The case's journal ends with what it means.
    """
    rounds: list[Trial] = []
    left = seconds
    with left_as_found(bench, put_back):
        prepare(bench)
        while left > 0 and not (rounds and isinstance(rounds[-1].outcome, Crashed)):
            plan = replace(load, seconds=min(load.seconds, left), seed=load.seed + len(rounds))
            recipe = Recipe(frozenset(), VerifierPlan(), plan, "soak")
            rounds.append(run(bench, recipe, f"Soak, round {len(rounds) + 1}: drivers as found"))
            left -= plan.seconds
        bench.trial = None
        bench.tell(EntryKind.FINDING, meaning(bench.host.name, rounds))
    return rounds


class HostStopped(LabError):
    """A soak ended in a stop. Not an error of the lab: it is what the soak was for."""

    help = "'lab case list' names the case; 'lab case report ID' shows what was found."


def judge(host: str, rounds: list[Trial]) -> str:
    """What the soak means. Raises HostStopped for a stop, InfrastructureError when no round was valid."""
    text = meaning(host, rounds)
    if any(isinstance(t.outcome, Crashed) for t in rounds):
        raise HostStopped(text)
    if not any(isinstance(t.outcome, Survived) for t in rounds):
        raise InfrastructureError(text, help="The case's journal says why each round was invalid.")
    return text


def meaning(host: str, rounds: list[Trial]) -> str:
    """What the rounds of a soak say, in one sentence."""
    stood = sum(t.outcome.after for t in rounds if isinstance(t.outcome, Survived))
    if any(isinstance(t.outcome, Crashed) for t in rounds):
        last = rounds[-1].outcome
        assert isinstance(last, Crashed)
        return f"{host} stopped with {last.bugcheck.title} after {stood + last.after:.1f} s of load"
    if not stood:
        return f"no round of the soak of {host} was valid, so it says nothing"
    rate = rate_bound(stood, CONFIDENCE) * 3600
    return (
        f"{host} stood {stood:.0f} s of load; with 95 % confidence it stops less than "
        f"{rate:.2g} times an hour under this load"
    )
