"""The trials as steps of a story: what was set, how it ended, what it taught."""

from __future__ import annotations

import re
from collections.abc import Mapping
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
    why: str
    verifier: str
    verified: int  # drivers under verifier
    off: str
    load: str
    end: End
    lessons: tuple[Lesson, ...]
    confirms: bool
    started: str
    crash: str  # anchor of the crash below, or ""


@dataclass(frozen=True)
class Stretch:
    """Steps in a row. `summary` is "" for a step shown by itself, else what the folded ones were."""

    steps: tuple[Step, ...]
    summary: str = ""
    counts: str = ""


BISECT = "Bisect"
"""The rung of trials that search."""

FOLDED = 4
"""Steps of one search in a row that are folded into one line."""

_ECHO = re.compile(
    r"\d+ READs? answered|the host stopped answering|STOP: |stood \d|invalid, |no dump: ", re.I
)
"""Findings of the journal that a step shows by its end, or the table of trials by its numbers."""

_SIBLING = "another face of the same defect"


def end(trial: Trial) -> End:
    outcome = trial.outcome
    if isinstance(outcome, Survived):
        stood = f"{words.seconds(outcome.after)} of load"
        if outcome.cut_short:
            return End("stood", "Stood", f"{stood}, cut short", words.sentence(outcome.cut_short))
        return End("stood", "Stood", stood)
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
    """Which third-party drivers were off, or were to be off, in the shorter of two ways to say it."""
    on = trial.enabled
    if isinstance(trial.outcome, Invalid) and not on:  # nobody has looked
        on = frozenset(d.service for d in case.drivers if d.in_question) - trial.recipe.disabled
    disabled = sorted(drivers.image(case, s) for s in trial.recipe.disabled)
    enabled = sorted(drivers.image(case, s) for s in on)
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
    confirmed = case.verdict is not None and trial.number in case.verdict.confirmed_by
    if confirmed or trial.recipe.purpose.startswith("confirm"):
        return "Confirm"
    if flags & 0x10:
        return "I/O verification"
    if flags & 0x800:
        return "Miscellaneous checks"
    if flags:
        return "Driver Verifier"
    return BISECT if trial.recipe.disabled else "Reproduce"


def title(case: Case, trial: Trial) -> str:
    """What the trial was for: the headline of the journal's step, else the recipe's own words."""
    headline, _ = _announced(case, trial)
    if headline:
        return headline
    purpose = trial.recipe.purpose
    if " " in purpose and not purpose.startswith("confirm: "):
        return purpose
    if not trial.recipe.verifier.off:
        return f"Look closer with {words.verifier(trial.recipe.verifier.flags)}"
    return "See if it crashes with fewer drivers" if trial.recipe.disabled else "Reproduce the crash"


def _announced(case: Case, trial: Trial) -> tuple[str, str]:
    """Headline and reason of the journal's step entry for the trial ("headline: reason"), or empty."""
    steps = (e.text for e in case.entries if e.trial == trial.number and e.kind is EntryKind.STEP)
    headline, _, why = next(steps, "").partition(": ")
    if headline == trial.recipe.purpose:
        return "", ""
    return headline.rstrip("."), words.sentence(why)


def steps(case: Case, anchors: Mapping[str, str]) -> tuple[Step, ...]:
    """The trials in order. `anchors` maps a dump's SHA-256 to the id of its section."""
    seen = _rules(case, case.customer)
    cleared: set[str] = set()
    found = []
    again = False
    for trial in case.trials:
        learned = lessons(case, trial, frozenset(seen), frozenset(cleared))
        if not learned and _reproduced(trial):
            learned = (
                Lesson("evidence", "It crashes again." if again else "The crash comes back in the lab."),
            )
        found.append(_step(case, trial, anchors, learned))
        again = again or _reproduced(trial)
        if isinstance(trial.outcome, Crashed):
            seen |= _rules(case, trial.outcome.dump)
            cleared |= _cleared(trial)
    return tuple(found)


def stretches(found: tuple[Step, ...]) -> tuple[Stretch, ...]:
    """The steps, with long rows of the search's trials folded."""
    rows: list[list[Step]] = []
    for step in found:
        if rows and step.rung == rows[-1][-1].rung == BISECT:
            rows[-1].append(step)
        else:
            rows.append([step])
    told = []
    for row in rows:
        if len(row) < FOLDED:
            told += [Stretch((step,)) for step in row]
            continue
        ends = [step.end.state for step in row]
        counts = [f"{ends.count('crashed')} crashed", f"{ends.count('stood')} stood"]
        rest = len(row) - ends.count("crashed") - ends.count("stood")
        counts += [f"{rest} said less"] if rest else []
        summary = f"Trials {row[0].number} to {row[-1].number}: with ever different sets of drivers"
        told.append(Stretch(tuple(row), summary, ", ".join(counts)))
    return tuple(told)


def _rules(case: Case, sha: str) -> set[str]:
    triage = case.crashes.get(sha)
    return {e.rule for e in triage.evidence} if triage else set()


def _reproduced(trial: Trial) -> bool:
    """The crash the case is about, or another face of it."""
    return isinstance(trial.outcome, Crashed) and trial.outcome.relation in (Relation.SAME, Relation.SIBLING)


def _cleared(trial: Trial) -> frozenset[str]:
    """Services the crash came without."""
    return trial.recipe.disabled - trial.enabled if _reproduced(trial) else frozenset()


def _step(case: Case, trial: Trial, anchors: Mapping[str, str], learned: tuple[Lesson, ...]) -> Step:
    plan = trial.recipe.verifier
    outcome = trial.outcome
    ended = end(trial)
    if any(ended.note and ended.note in lesson.text for lesson in learned):
        ended = replace(ended, note="")
    load = trial.recipe.load
    return Step(
        number=trial.number,
        rung=rung(case, trial),
        title=title(case, trial),
        why=_announced(case, trial)[1],
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


def lessons(
    case: Case, trial: Trial, seen: frozenset[str] = frozenset(), cleared: frozenset[str] = frozenset()
) -> tuple[Lesson, ...]:
    """What the trial taught: the journal's notes, the dump's new evidence, what follows for the drivers.

    `seen` are rules of evidence that earlier dumps have shown, `cleared` services that earlier
    crashes came without.
    """
    outcome = trial.outcome
    triage = case.crashes.get(outcome.dump) if isinstance(outcome, Crashed) else None
    evidence = triage.evidence if triage else ()
    said = {e.statement for e in evidence}
    found = [
        Lesson(e.kind.value, words.sentence(e.text))
        for e in case.entries
        if e.trial == trial.number
        and e.kind in (EntryKind.FINDING, EntryKind.WARNING)
        and not _ECHO.match(e.text)
        and e.text not in said
    ]
    if not any(lesson.kind == EntryKind.FINDING for lesson in found):
        found += [Lesson("evidence", e.statement) for e in evidence if e.rule not in seen]
        found += _about_drivers(case, trial, cleared)
    return tuple(found)


def _about_drivers(case: Case, trial: Trial, cleared: frozenset[str]) -> list[Lesson]:
    """What the outcome means for the drivers that were off."""
    off = trial.recipe.disabled - trial.enabled - cleared
    images = sorted(drivers.image(case, s) for s in off)
    if not images:
        return []
    few = len(images) <= 3
    if isinstance(trial.outcome, Survived):
        if trial.outcome.cut_short:
            return []  # too little, maybe, for a sentence of its own
        among = words.names(images, "or") if few else f"among the {len(images)} suspects that were off"
        return [Lesson("evidence", f"No crash: the cause may be {among}.")]
    if _cleared(trial):
        these = words.names(images) if few else f"{len(images)} more drivers"
        return [Lesson("evidence", f"The crash comes without {these}.")]
    return []
