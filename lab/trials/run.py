"""One trial: apply, restart, read back, load, watch, capture, analyse."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from lab.capture import header_of
from lab.journal import Heartbeat
from lab.model import (
    Boot,
    Case,
    EntryKind,
    GuestError,
    InfrastructureError,
    Invalid,
    InvalidReason,
    LabError,
    LoadPlan,
    LoadReport,
    NotApplied,
    Outcome,
    Recipe,
    Survived,
    TimedOut,
    Trial,
)
from lab.smb import run_load
from lab.trials.aftermath import DUMP, after_the_stop, still_up
from lab.trials.apply import DidNotBoot, apply
from lab.trials.bench import Bench
from lab.trials.halt import Halted, interruption
from lab.trials.outside import Outside
from lab.trials.pulse import Pulse
from lab.trials.target import within_caps


@dataclass
class _Progress:
    """How far a trial is, for the case that it is interrupted."""

    number: int
    enabled: frozenset[str] = frozenset()
    load: LoadReport | None = None
    boot: Boot | None = None
    pulse: Pulse | None = None
    stopped: bool = False  # the host has, and which stop it was is being read


def run_trial(bench: Bench, recipe: Recipe, why: str = "") -> Trial:
    """Carry a recipe out and journal how it ended. `why` is the playbook's reason, for the story.

    Trouble on the way is an `Invalid` outcome, never a result; only errors of the user's input and
    interrupts leave this function, and then the trial is journalled as interrupted: cut short, where its
    load had begun and the host still stands. Where the host has stopped it is left open, if the case goes on
    later: the next run on this host finds out which stop it was (see `recover`).
    """
    bench.ours()
    case = bench.journal.case(bench.case)
    at = _Progress(bench.journal.begin_trial(bench.case, bench.host.name, recipe))
    bench.trial = at.number
    bench.tell(EntryKind.STEP, why or recipe.purpose)
    started, t0 = datetime.now(UTC).isoformat(timespec="seconds"), bench.clock.now()
    outcome: Outcome
    try:
        at.enabled = apply(bench, case, recipe)
        outcome = _load_and_watch(bench, case, recipe, at)
    except DidNotBoot as error:
        outcome = Invalid(InvalidReason.NOT_BOOTED, error.message)
    except NotApplied as error:
        outcome = Invalid(InvalidReason.NOT_APPLIED, error.message, stuck=tuple(error.services))
    except GuestError as error:
        outcome = Invalid(InvalidReason.NOT_APPLIED, error.message)
    except (InfrastructureError, TimedOut) as error:
        outcome = Invalid(InvalidReason.INFRASTRUCTURE, error.message)
    except BaseException as error:
        if at.stopped and _goes_on(bench, error):
            bench.tell(
                EntryKind.WARNING, "interrupted before its stop was read; the next run on this host does"
            )
            raise
        outcome = _interrupted(bench, at, error)
        seconds = bench.clock.now() - t0
        bench.journal.end_trial(bench.case, at.number, outcome, at.enabled, at.load, seconds)
        raise
    seconds = bench.clock.now() - t0
    bench.journal.end_trial(bench.case, at.number, outcome, at.enabled, at.load, seconds)
    _tell(bench, outcome)
    bench.trial = None
    return Trial(at.number, bench.host.name, recipe, at.enabled, outcome, started, seconds, at.load)


def _goes_on(bench: Bench, error: BaseException) -> bool:
    return isinstance(error, KeyboardInterrupt) or (isinstance(error, Halted) and bench.halt.goes_on)


def _interrupted(bench: Bench, at: _Progress, error: BaseException) -> Outcome:
    why = interruption(error)
    if isinstance(error, LabError):
        return Invalid(InvalidReason.INTERRUPTED, why)
    stood = at.pulse.seconds if at.pulse is not None and at.load is None else 0.0
    with suppress(LabError):  # a host that does not say has not stood
        if stood > 0 and at.boot is not None and still_up(bench, at.boot):
            return Survived(stood, cut_short=why)
    return Invalid(InvalidReason.INTERRUPTED, why)


def _tell(bench: Bench, outcome: Outcome) -> None:
    if isinstance(outcome, Survived):
        cut = f"; cut short: {outcome.cut_short}" if outcome.cut_short else ""
        bench.tell(EntryKind.FINDING, f"stood {outcome.after:.0f} s of load{cut}")
    elif isinstance(outcome, Invalid):
        bench.tell(EntryKind.WARNING, f"invalid, {outcome.reason}: {outcome.why}")


def _load_and_watch(bench: Bench, case: Case, recipe: Recipe, at: _Progress) -> Outcome:
    at.boot = boot = bench.guest.boot()
    position = bench.guest.log_position()
    outside = Outside(bench)
    with bench.dumps() as source:
        stale = header_of(source, DUMP)
    plan = within_caps(bench.host, recipe.load)
    bench.halt.load_begins()
    at.pulse = Pulse(bench, at.number, Heartbeat(0.0, boot.identity, position, at.enabled, stale))
    bench.loaded = boot.identity
    bench.tell(
        EntryKind.ACTION, f"read load '{plan.profile}', {plan.seconds:g} s, {plan.connections} connections"
    )
    try:
        at.load = load = _load(bench, plan, boot, at.pulse)
    except (InfrastructureError, TimedOut):
        if still_up(bench, boot):
            raise
        bench.tell(EntryKind.FINDING, "the host stopped answering before a READ was answered")
        at.stopped = True
        return after_the_stop(bench, case, boot, position, stale, 0.0, outside)
    rate = load.reads_answered / load.seconds if load.seconds else 0.0
    bench.tell(EntryKind.FINDING, f"{load.reads_answered} READs answered ({rate:.0f}/s)")
    if not load.target_died and still_up(bench, boot):
        if load.undelivered:
            return Invalid(InvalidReason.LOAD_NOT_DELIVERED, load.undelivered)
        return Survived(load.seconds, cut_short=bench.halt.cut if load.seconds < plan.seconds else "")
    after = load.died_after if load.died_after is not None else load.seconds
    bench.tell(EntryKind.FINDING, f"the host stopped answering {after:.1f} s into the load")
    at.stopped = True
    at.pulse.stopped(after)
    return after_the_stop(bench, case, boot, position, stale, after, outside)


def _load(bench: Bench, plan: LoadPlan, boot: Boot, pulse: Pulse) -> LoadReport:
    """The load, with the server's own queues beside it."""
    shell = bench.shell_beside_load(boot)
    try:
        return run_load(
            bench.target,
            plan,
            clock=bench.clock,
            on_progress=pulse,
            stop=bench.halt.load,
            queues=shell.queues,
            restarted=shell.restarted,
        )
    finally:
        shell.close()
