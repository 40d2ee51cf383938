"""A case as Markdown, for a ticket or a pull request: the same words as the HTML page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from lab.model import Case
from lab.report.crash import CrashView
from lab.report.drivers import DriverCard
from lab.report.facts import Fact
from lab.report.page import Page, page
from lab.report.path import Path

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$&])")


def render_markdown(case: Case) -> str:
    """GitHub-flavoured Markdown. Text of dumps and guests is escaped; equal cases give equal text."""
    view = page(case)
    parts = (_verdict, _ladder, _trials, _crashes, _environment, _journal)
    lines = [line for part in parts for line in part(view)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def text(value: object) -> str:
    """Foreign text on one line, with every character that Markdown or HTML could act on escaped."""
    flat = " ".join(str(value).split())
    flat = _SPECIAL.sub(r"\\\1", flat)
    flat = re.sub(r"^([-+]|\d+[.)])(?=\s)", r"\\\1", flat)
    return re.sub(r"(?i)\b(https?|ftp|www)(?=[:.])", "\\1\u200b", flat)


def code(value: object) -> str:
    """A code span around foreign text, fenced by more backticks than it holds."""
    flat = " ".join(str(value).split())
    if not flat:
        return ""
    fence = "`" * (max((len(run) for run in re.findall("`+", flat)), default=0) + 1)
    pad = " " if "`" in flat else ""
    # A table's cells end at every pipe, even in a code span.
    return f"{fence}{pad}{flat}{pad}{fence}".replace("|", "\\|")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'|'.join(' --- ' for _ in head)}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def _facts(items: Iterable[Fact]) -> Iterator[str]:
    for item in items:
        yield f"- {text(item.label)}: {code(item.value) if item.code else text(item.value)}"
    yield ""


def _bullets(items: Iterable[str]) -> Iterator[str]:
    for item in items:
        yield f"- {text(item)}"
    yield ""


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
    yield from _bullets((*answer.proof, *((answer.against,) if answer.against else ()), *answer.because))
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
        yield from _bullets(answer.decide)


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
        marks = {"on": "●", "off": "○", "unknown": "·"}
        yield from _table(
            ("Driver", *(str(c.number) for c in view.matrix.columns)),
            [
                *(
                    (f"**{text(r.full)}**" if r.culprit else text(r.full), *(marks[c.state] for c in r.cells))
                    for r in view.matrix.rows
                ),
                ("Outcome", *(c.end.word for c in view.matrix.columns)),
            ],
        )
        yield f"● ran, ○ switched off. {text(view.matrix.rest)}".rstrip()
        yield ""
    if view.trials:
        yield from _table(
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
    yield from _table(("Parameter", "Value", "Meaning"), ((n, code(v), text(t)) for n, v, t in c.parameters))
    for e in c.evidence:
        said = f"; points to {text(', '.join(e.points_to))}" if e.points_to else ""
        said += f"; clears {text(', '.join(e.clears))}" if e.clears else ""
        yield f"- **{e.strength}**: {text(e.statement)} ({code(e.where)}{said})"
    yield ""
    if c.path:
        yield from _path(c.path)
    if c.frames:
        yield from _table(
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
    yield from _facts((*c.thread, *c.verifier, *c.dump))
    yield from _bullets(c.warnings)


def _path(way: Path) -> Iterator[str]:
    yield from _facts(way.facts)
    if way.instances:
        yield from _table(
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
        yield from _table(
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
