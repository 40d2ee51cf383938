"""A case as Markdown, for a ticket or a pull request: the same words as the HTML page."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lab.model import Case
from lab.report.crash import CrashView
from lab.report.drivers import DriverCard
from lab.report.markup import bullets, code, facts, table, text
from lab.report.matrix import Matrix
from lab.report.page import Page, page
from lab.report.path import Path
from lab.report.posterior import Search

__all__ = ["code", "render_markdown", "text"]


WIDEST = 30
"""Trials that have a column each: more of them make a table that nobody reads in a ticket."""


def render_markdown(case: Case, *, search: Search | None = None) -> str:
    """GitHub-flavoured Markdown. Text of dumps and guests is escaped; equal cases give equal text.

    `search` is as for `page`.
    """
    view = page(case, search=search)
    parts = (_verdict, _search, _ladder, _trials, _crashes, _environment, _journal)
    lines = [line for part in parts for line in part(view)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def _driver(d: DriverCard) -> str:
    what = f"{d.role} {d.place}".strip()
    parts = (d.company, f"version {d.version}" if d.version else "", what)
    pinned = f"; never switched off: {d.pinned}" if d.pinned else ""
    return f"**{text(d.image)}**: {text(', '.join(p for p in parts if p))}{text(pinned)}"


def _verdict(view: Page) -> Iterator[str]:
    answer = view.answer
    yield f"# {text(answer.sentence)}"
    yield ""
    where = f" on {text(view.hosts)}" if view.hosts else ""
    yield f"{text(view.title)} (case {text(view.case_id)}, opened {text(view.opened)}{where})"
    yield ""
    yield f"**How sure:** {answer.percent}, {answer.sure}." if answer.percent else answer.sure
    yield ""
    yield from bullets((*answer.proof, *((answer.against,) if answer.against else ()), *answer.because))
    for d in answer.culprits:
        yield f"- {_driver(d)}"
    yield ""
    if answer.untested:
        yield "Never switched off, so not cleared:"
        yield ""
        for u in answer.untested:
            yield f"- {_driver(u.card)}{'' if u.card.pinned else text(f'; {u.why}')}"
            for sentence in u.named:
                yield f"  - {text(sentence)}"
        yield ""
    if answer.plain:
        yield f"> {answer.plain}"
        yield ""
    if answer.actions:
        yield "## What to do next"
        yield ""
        for i, action in enumerate(answer.actions, 1):
            yield f"{i}. **{text(action.title)}.** {text(action.text)} {code(action.code)}".rstrip()
        yield ""
    if answer.decide:
        yield "## What would decide it"
        yield ""
        yield from bullets(answer.decide)


def _search(view: Page) -> Iterator[str]:
    found = view.posterior
    if found is None:
        return
    yield "## Who it could be"
    yield ""
    yield text(found.finding)
    yield ""
    for track in found.tracks:
        yield f"- {text(track.label)}: {track.now}{text(f'; {track.note}' if track.note else '')}"
    yield ""
    if found.lottery:
        yield found.lottery
        yield ""
    if view.calibration:
        yield view.calibration.sentence
        yield ""


def _ladder(view: Page) -> Iterator[str]:
    if not view.steps:
        return
    yield "## How it was found"
    yield ""
    for lesson in view.opening:
        yield f"- **Observe.** {text(lesson.text)}"
    for step in view.steps:
        settings = "; ".join((step.verifier, step.off, step.load))
        why = f" {text(step.why)}" if step.why else ""
        yield f"- **Trial {step.number}, {text(step.rung)}.** {text(step.title)}.{why} {text(settings)}."
        note = f" {text(step.end.note)}" if step.end.note else ""
        yield f"  {step.end.word} {text(step.end.detail)}.{note}"
        for lesson in step.lessons:
            yield f"  - {'Warning: ' if lesson.kind == 'warning' else ''}{text(lesson.text)}"
    yield ""
    if view.survival and view.survival.chance:
        yield text(view.survival.chance)
        yield ""


def _trials(view: Page) -> Iterator[str]:
    if view.matrix:
        yield "## Drivers and trials"
        yield ""
        if view.matrix.finding:
            yield text(view.matrix.finding)
            yield ""
        if len(view.matrix.columns) > WIDEST:
            yield f"{text(view.matrix.summary)}"
            yield ""
        else:
            yield from _matrix(view.matrix)
    if view.trials:
        yield from table(
            (
                "Trial",
                "Outcome",
                "Verifier",
                "Drivers",
                "Reads",
                "per s",
                "Data",
                "Latency ms",
                "Failed",
                "Took",
            ),
            (
                (
                    str(r.number),
                    text(f"{r.end.word} {r.end.detail}"),
                    text(r.setting),
                    text(r.off),
                    r.reads,
                    r.rate,
                    r.data,
                    r.latency,
                    text(r.failed),
                    r.took,
                )
                for r in view.trials
            ),
        )


def _matrix(picture: Matrix) -> Iterator[str]:
    marks = {"on": "●", "off": "○", "unknown": "·"}
    yield from table(
        ("Driver", *(str(c.number) for c in picture.columns)),
        [
            *(
                (
                    f"**{text(r.full)}**" if r.culprit else text(r.full),
                    *(c.short or marks[c.state] for c in r.cells),
                )
                for r in picture.rows
            ),
            ("Outcome", *(c.end.word for c in picture.columns)),
        ],
    )
    yield f"● ran, ○ switched off. {text(picture.rest)}".rstrip()
    yield ""


def _crashes(view: Page) -> Iterator[str]:
    if not view.crashes:
        return
    yield "## Crashes"
    yield ""
    for c in view.crashes:
        yield from _crash(c)


def _crash(c: CrashView) -> Iterator[str]:
    yield f"### {text(c.title)}: {text(c.bugcheck)} ({c.code})"
    yield ""
    count = f" Kernel APC disable count {c.count}: {c.count_text}." if c.count else ""
    yield f"{text(c.meaning)}{count} This is {text(c.relation)}.".strip()
    yield ""
    yield from table(("Parameter", "Value", "Meaning"), ((n, code(v), text(t)) for n, v, t in c.parameters))
    for e in c.evidence:
        said = f"; points to {text(', '.join(e.points_to))}" if e.points_to else ""
        said += f"; clears {text(', '.join(e.clears))}" if e.clears else ""
        yield f"- **{e.strength}**: {text(e.statement)} ({code(e.where)}{said})"
    yield ""
    if c.path:
        yield from _path(c.path)
    if c.frames:
        yield from table(
            ("#", "Child-SP", "RetAddr", "Call Site", "Note"),
            (
                (
                    f.index,
                    code(f.child_sp),
                    code(f.return_address),
                    code(f.symbol),
                    text(f"{f.note} {f.doubt}"),
                )
                for f in c.frames
            ),
        )
    if c.regions:
        yield f"Critical-region log: {text(c.regions.sentence)}"
        yield ""
        for caller in c.regions.callers:
            yield f"- {text(caller.image)}: {caller.enters} enter, {caller.leaves} leave; {caller.balance}"
        yield ""
    for s in c.suspects:
        yield f"- Suspect {text(s.image)}, {s.percent}: {text(s.because)}"
    yield ""
    for note in c.notes:
        yield f"- Could not be said: {text(note)}"
    yield ""
    yield from facts((*c.thread, *c.verifier, *c.dump))
    yield from bullets(c.warnings)


def _path(way: Path) -> Iterator[str]:
    yield from facts(way.facts)
    if way.instances:
        yield from table(
            ("Altitude", "Driver", "Group", "Instance", "FLT\\_INSTANCE", "Origin", f"Handles {way.request}"),
            (
                (
                    text(i.altitude),
                    f"**{text(i.image)}**" if i.culprit else text(i.image),
                    i.group,
                    text(i.name),
                    code(i.address),
                    text(i.origin),
                    i.handles,
                )
                for i in way.instances
            ),
        )


def _environment(view: Page) -> Iterator[str]:
    if not view.third_party and not view.likeness:
        return
    yield "## Environment"
    yield ""
    if view.likeness:
        yield from table(
            ("Seen in", "Bugcheck", "Thread began at", "Which is"),
            ((text(row.who), row.bugcheck, code(row.start), text(row.relation)) for row in view.likeness),
        )
    if view.missing:
        yield f"In the customer’s dump, but not on the lab host: {text(', '.join(view.missing))}."
        yield ""
    for d in view.third_party:
        yield f"- {_driver(d)}"
    yield ""
    if view.in_box:
        yield f"{len(view.in_box)} drivers of Windows are not listed here."
        yield ""


def _journal(view: Page) -> Iterator[str]:
    if not view.journal:
        return
    yield "## Journal"
    yield ""
    for line in view.journal:
        trial = f", trial {line.trial}" if line.trial is not None else ""
        yield f"{line.number}. {text(line.time)} {line.kind}{trial}: {text(line.text)}"
    yield ""
