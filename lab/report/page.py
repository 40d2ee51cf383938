"""A case turned into everything the page shows, as plain values. Pure: equal cases give equal pages."""

from __future__ import annotations

from dataclasses import dataclass

from lab.model import Case, Entry, EntryKind, Origin, Signature, Trial, compare
from lab.report import (
    advice,
    calibration,
    crash,
    drivers,
    ladder,
    matrix,
    posterior,
    survival,
    verdict,
    words,
)
from lab.report.cleaned import cleaned
from lab.report.facts import Fact
from lab.report.load_timeline import Timeline, timeline

CELLS_OF_A_TRIAL = 60
"""Stretches of time in the picture of a trial's load: a case has many trials."""


@dataclass(frozen=True)
class TrialRow:
    """One line of the table of trials."""

    number: int
    setting: str
    off: str
    off_names: tuple[str, ...]
    on_names: tuple[str, ...]
    end: ladder.End
    reads: str
    rate: str
    data: str
    latency: str
    failed: str
    took: str
    timeline: Timeline | None
    host: str
    started: str


@dataclass(frozen=True)
class Likeness:
    """A crash beside the expected one."""

    who: str
    bugcheck: str
    start: str
    functions: tuple[str, ...]
    relation: str
    state: str  # same, sibling, other, ours or expected


@dataclass(frozen=True)
class JournalLine:
    number: int
    time: str
    kind: str
    text: str
    trial: int | None


@dataclass(frozen=True)
class Page:
    """What templates and Markdown lay out."""

    title: str
    case_id: str
    opened: str
    hosts: str
    answer: verdict.Answer
    stats: tuple[Fact, ...]
    survival: survival.Survival | None
    posterior: posterior.Posterior | None
    calibration: calibration.Calibration | None
    opening: tuple[ladder.Lesson, ...]
    steps: tuple[ladder.Step, ...]
    stretches: tuple[ladder.Stretch, ...]
    matrix: matrix.Matrix | None
    trials: tuple[TrialRow, ...]
    crashes: tuple[crash.CrashView, ...]
    likeness: tuple[Likeness, ...]
    third_party: tuple[drivers.DriverCard, ...]
    in_box: tuple[drivers.DriverCard, ...]
    missing: tuple[str, ...]
    journal: tuple[JournalLine, ...]


def page(case: Case, title: str | None = None, search: posterior.Search | None = None) -> Page:
    """The page of a case; `title` replaces the case's own. No text in it can deceive (`words.visible`).

    `search` is what the engine was asked and what it saw; without it the page does not tell how the
    suspicion narrowed.
    """
    narrowed = posterior.posterior(case, search)
    anchors = crash.anchors(case)
    steps = ladder.steps(case, anchors)
    cards = tuple(drivers.card(case, d) for d in case.drivers)
    third = sorted(
        (c for c in cards if c.origin != Origin.IN_BOX), key=lambda c: (not c.culprit, c.image.casefold())
    )
    in_box = sorted((c for c in cards if c.origin == Origin.IN_BOX), key=lambda c: c.image.casefold())
    shown = Page(
        title=title or case.title or f"Case {case.id}",
        case_id=case.id,
        opened=words.moment(case.opened),
        hosts=words.names(sorted({t.host for t in case.trials})),
        answer=verdict.answer(case),
        stats=_stats(case),
        survival=survival.survival(case),
        posterior=narrowed,
        calibration=calibration.calibration() if narrowed else None,
        opening=_opening(case),
        steps=steps,
        stretches=ladder.stretches(steps),
        matrix=matrix.matrix(case),
        trials=tuple(_row(case, t) for t in case.trials),
        crashes=crash.crashes(case),
        likeness=_likeness(case),
        third_party=tuple(third),
        in_box=tuple(in_box),
        missing=advice.missing_on_host(case),
        journal=tuple(_line(e) for e in case.entries),
    )
    return cleaned(shown)


def _stats(case: Case) -> tuple[Fact, ...]:
    if not case.trials:
        return ()
    ends = [ladder.end(t).state for t in case.trials]
    loaded = sum(survival.time_under_load(t) for t in case.trials)
    whole = sum(t.seconds for t in case.trials)
    parts = [f"{ends.count('crashed')} crashed", f"{ends.count('stood')} stood"]
    parts += [f"{ends.count('other')} stopped otherwise"] if "other" in ends else []
    parts += [f"{ends.count('invalid')} said nothing"] if "invalid" in ends else []
    return (
        Fact("Trials", f"{len(case.trials)}: {', '.join(parts)}"),
        Fact("Under load", words.seconds(loaded)),
        Fact("Time in the lab", words.seconds(whole)),
        Fact("Dumps read", str(len(case.crashes))),
    )


def _opening(case: Case) -> tuple[ladder.Lesson, ...]:
    """What was known before the first trial."""
    found = []
    for entry in case.entries:
        if entry.trial is not None or entry.kind is EntryKind.VERDICT:
            break
        if entry.kind is not EntryKind.ACTION:
            found.append(ladder.Lesson(entry.kind.value, words.sentence(entry.text)))
    return tuple(found)


def _row(case: Case, trial: Trial) -> TrialRow:
    load = trial.load
    reads = rate = data = latency = failed = "–"
    if load is not None:
        reads = words.grouped(load.reads_answered)
        rate = words.grouped(round(load.reads_answered / load.seconds)) if load.seconds > 0 else "–"
        data = words.size(load.bytes_read)
        latency = " / ".join(f"{value:.3g}" for value in load.latency_ms)
        unanswered = load.reads_sent - load.reads_answered - sum(number for _, number in load.failed)
        kinds = [f"{name} × {number}" for name, number in load.failed]
        kinds += [f"{unanswered} unanswered"] if unanswered else []
        failed = ", ".join(kinds) or "none"
    return TrialRow(
        number=trial.number,
        setting=words.verifier(trial.recipe.verifier.flags),
        off=ladder.off(case, trial),
        off_names=tuple(sorted(drivers.image(case, s) for s in trial.recipe.disabled)),
        on_names=tuple(sorted(drivers.image(case, s) for s in trial.enabled)),
        end=ladder.end(trial),
        reads=reads,
        rate=rate,
        data=data,
        latency=latency,
        failed=failed,
        took=words.seconds(trial.seconds),
        timeline=None if load is None else timeline(load, CELLS_OF_A_TRIAL),
        host=trial.host,
        started=words.moment(trial.started),
    )


def _likeness(case: Case) -> tuple[Likeness, ...]:
    """The expected crash, and below it each different face that was seen, with who showed it."""
    if not case.crashes:
        return ()
    found = [_like("Expected", case.expected, "what the case is about", "expected")]
    seen: dict[Signature, list[str]] = {}
    for view, sha in zip(crash.crashes(case), crash.anchors(case), strict=True):
        seen.setdefault(case.crashes[sha].signature, []).append(view.title)
    for signature, titles in seen.items():
        relation = compare(case.expected, signature)
        found.append(_like(words.names(titles), signature, crash.RELATIONS[relation], relation.value))
    return tuple(found)


def _like(who: str, signature: Signature, relation: str, state: str) -> Likeness:
    code = f"0x{signature.code:X}" + (f" / 0x{signature.sub_code:X}" if signature.sub_code else "")
    return Likeness(who, code, signature.thread_start, signature.functions, relation, state)


def _line(entry: Entry) -> JournalLine:
    return JournalLine(entry.number, words.moment(entry.time), entry.kind.value, entry.text, entry.trial)
