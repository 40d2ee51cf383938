"""Trials whose process died: censored at their last heartbeat, or the crash since then captured."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from lab.journal import Heartbeat, RunningTrial
from lab.model import (
    Boot,
    EntryKind,
    Invalid,
    InvalidReason,
    LabError,
    Outcome,
    PowerState,
    Survived,
)
from lab.trials.aftermath import after_the_stop
from lab.trials.bench import Bench

GONE = "its process ended before the trial did"


def end_those_left_behind(bench: Bench) -> None:
    """End every trial of this host that is still marked as running: as the caller holds the host's lease,
    the process that ran it is no more.

    To be called before anything is changed on the host: what it says now is what became of the trial. The
    same boot as under its load: it stood until the last heartbeat. Another one, and a bugcheck in its log
    since: that is captured, and counts as a crash at the last heartbeat. Else the trial says nothing.
    The bench knows afterwards which boot they had loaded.
    """
    for running in bench.journal.running_trials():
        if running.host == bench.host.name:
            if running.heartbeat is not None:
                bench.loaded = running.heartbeat.boot
            _end(replace(bench, case=running.case_id, trial=running.number), running)


def _end(bench: Bench, running: RunningTrial) -> None:
    beat = running.heartbeat
    if beat is None:
        bench.journal.abandon(running.case_id, running.number, GONE)
        return
    try:
        outcome = _what_became(bench, beat)
    except LabError as error:
        why = f"{GONE}, and what became of the host is not known: {error.message}"
        outcome = Invalid(InvalidReason.INTERRUPTED, why)
    seconds = datetime.fromisoformat(beat.time) - datetime.fromisoformat(running.started)
    bench.journal.end_trial(
        running.case_id, running.number, outcome, beat.enabled, None, max(0.0, seconds.total_seconds())
    )
    text = f"trial {running.number} was left behind by a process that ended: {_said(outcome)}"
    bench.tell(EntryKind.WARNING if isinstance(outcome, Invalid) else EntryKind.FINDING, text)


def _what_became(bench: Bench, beat: Heartbeat) -> Outcome:
    if bench.machine.power_state() is PowerState.OFF:
        bench.machine.power_on()
    if bench.guest.wait_until_reachable().identity == beat.boot:
        if beat.seconds > 0:
            return Survived(beat.seconds, cut_short=GONE)
        return Invalid(InvalidReason.INTERRUPTED, f"{GONE}, and before a READ was answered")
    if not bench.guest.bugchecks(beat.position):
        why = f"{GONE}; the host was started anew since, without a bugcheck in its log"
        return Invalid(InvalidReason.INTERRUPTED, why)
    case = bench.journal.case(bench.case)
    return after_the_stop(bench, case, _boot(beat.boot), beat.position, beat.stale, beat.seconds, None)


def _boot(identity: str) -> Boot:
    """A boot of which only the identity is known."""
    return Boot(identity, identity.partition("/")[2], "", "", 0, "", "", 0, 0)


def _said(outcome: Outcome) -> str:
    if isinstance(outcome, Invalid):
        return f"it says nothing: {outcome.why}"
    if isinstance(outcome, Survived):
        return f"it stood {outcome.after:.0f} s of load until then"
    return f"it ended in {outcome.bugcheck.title}, {outcome.after:.0f} s into its load"
