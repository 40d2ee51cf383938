"""The trials as steps of a story: what was set, how it ended, what it taught."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lab.model import Case, Crashed, EntryKind, Invalid, Relation, Survived, Trial
from lab.report import drivers, words


@dataclass(frozen=True)
class End:
    """How a trial ended. `state` chooses icon and colour: crashed, other, stood, invalid."""

    state: str
    word: str
    detail: str
    note: str = ""


@dataclass(frozen=True)
class Lesson:
    """Something learned in a trial. `kind`: finding, warning or evidence."""

    kind: str
    text: str


@dataclass(frozen=True)
class Step:
    """One rung: a trial with its setting in words."""

    number: int
    rung: str
    title: str
    verifier: str
    verified: int  # drivers under verifier
    off: str
    load: str
    end: End
    lessons: tuple[Lesson, ...]
    confirms: bool
    started: str
    crash: str  # anchor of the crash below, or ""


_SIBLING = "another face of the same defect"


def end(trial: Trial) -> End:
    outcome = trial.outcome
    if isinstance(outcome, Survived):
        return End("stood", "Stood", f"{words.seconds(outcome.after)} of load")
    if isinstance(outcome, Invalid):
        return End("invalid", "Says nothing", f"({outcome.reason.value})", outcome.why)
    after = f"after {words.seconds(outcome.after)} of load"
    lost = "" if outcome.dump else f"No dump: {outcome.no_dump_because or 'the reason is not known'}."
    if outcome.relation is Relation.OURS:
        return End("other", "Stopped by the lab", after, f"{outcome.bugcheck.title}. {lost}".strip())
    if outcome.relation is Relation.OTHER:
        return End("other", "Crashed differently", after, f"{outcome.bugcheck.title}. {lost}".strip())
    said = outcome.bugcheck.title + (f", {_SIBLING}" if outcome.relation is Relation.SIBLING else "")
    return End("crashed", "Crashed", after, f"{said}. {lost}".strip())


def off(case: Case, trial: Trial) -> str:
    """Which third-party drivers were off, in the shorter of two ways to say it."""
    disabled = sorted(drivers.image(case, s) for s in trial.recipe.disabled)
    enabled = sorted(drivers.image(case, s) for s in trial.enabled)
    if not disabled:
        return "All drivers as found"
    if len(enabled) <= 3 and len(enabled) < len(disabled):
        return (
            f"Only {words.names(enabled)} on" if enabled else f"All {len(disabled)} third-party drivers off"
        )
    if len(disabled) <= 3:
        return f"Off: {words.names(disabled)}"
    return f"{len(disabled)} of {len({*disabled, *enabled})} drivers off"


def rung(case: Case, trial: Trial) -> str:
    """The rung of the ladder a trial stands on."""
    flags = trial.recipe.verifier.flags
    if case.verdict and trial.number in case.verdict.confirmed_by:
        return "Confirm"
    if flags & 0x10:
        return "I/O verification"
    if flags & 0x800:
        return "Miscellaneous checks"
    if flags:
        return "Driver Verifier"
    return "Bisect" if trial.recipe.disabled else "Reproduce"


def steps(case: Case, anchors: dict[str, str]) -> tuple[Step, ...]:
    """The trials in order. `anchors` maps a dump's SHA-256 to the id of its section."""
    return tuple(_step(case, trial, anchors) for trial in case.trials)


def _step(case: Case, trial: Trial, anchors: dict[str, str]) -> Step:
    plan = trial.recipe.verifier
    outcome = trial.outcome
    ended, learned = end(trial), lessons(case, trial)
    if any(ended.note and ended.note in lesson.text for lesson in learned):
        ended = replace(ended, note="")
    load = trial.recipe.load
    return Step(
        number=trial.number,
        rung=rung(case, trial),
        title=trial.recipe.purpose or _title(trial),
        verifier=words.verifier(plan.flags),
        verified=len(plan.drivers),
        off=off(case, trial),
        load=f"{load.profile} load, up to {words.seconds(load.seconds)}",
        end=ended,
        lessons=learned,
        confirms=bool(case.verdict and trial.number in case.verdict.confirmed_by),
        started=words.moment(trial.started),
        crash=anchors.get(outcome.dump, "") if isinstance(outcome, Crashed) else "",
    )


def _title(trial: Trial) -> str:
    if not trial.recipe.verifier.off:
        return f"Look closer: {words.verifier(trial.recipe.verifier.flags)}"
    return "Does it crash with fewer drivers?" if trial.recipe.disabled else "Does the crash come back?"


def lessons(case: Case, trial: Trial) -> tuple[Lesson, ...]:
    """What the journal noted for the trial; without such notes, what the crash's evidence says."""
    noted = tuple(
        Lesson(e.kind.value, e.text)
        for e in case.entries
        if e.trial == trial.number and e.kind in (EntryKind.FINDING, EntryKind.WARNING)
    )
    if any(n.kind == EntryKind.FINDING for n in noted) or not isinstance(trial.outcome, Crashed):
        return noted
    triage = case.crashes.get(trial.outcome.dump)
    said = tuple(Lesson("evidence", e.statement) for e in triage.evidence) if triage else ()
    return noted + said
