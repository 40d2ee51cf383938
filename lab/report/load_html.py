"""A read load as one HTML file that needs nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from lab import __version__
from lab.model import LoadPhase
from lab.report import load_run, words
from lab.report.cleaned import cleaned
from lab.report.facts import Fact
from lab.report.html import environment
from lab.report.load_run import Ended, LoadRun, QueueView, milliseconds
from lab.report.load_timeline import Timeline, timeline

PHASES_SHOWN = 200
"""Rows of the table; a load of days has more, and the picture shows them all."""

SAYS_NOTHING = "A load that did not reach the server as planned says nothing about the server."


@dataclass(frozen=True)
class PhaseRow:
    name: str
    start: str
    seconds: str
    sent: str
    answered: str
    failed: str
    rate: str
    in_flight: str


@dataclass(frozen=True)
class LoadPage:
    """What the template lays out. `kind` is the hero's: "stood", "driver" (a death), or "open"."""

    kind: str
    host: str
    profile: str
    when: str
    headline: str
    lede: str
    warning: str
    exercises: str
    stats: tuple[Fact, ...]
    facts: tuple[Fact, ...]
    timeline: Timeline | None
    queues: tuple[QueueView, ...]
    queues_missing: str
    phases: tuple[PhaseRow, ...]
    phases_left: int
    command: str


def render_load_html(run: LoadRun) -> str:
    """The page. Equal loads give equal text; everything is escaped, as in `render_html`."""
    return environment().get_template("load.html").render(page=page(run), version=__version__)


def page(run: LoadRun) -> LoadPage:
    """A load turned into all that its page shows. No text in it can deceive (`words.visible`)."""
    run = cleaned(run)
    report, plan = run.report, run.plan
    missed = run.ended is Ended.UNDELIVERED
    p50, _, p99 = report.latency_ms
    kinds = {Ended.DIED: "driver", Ended.DELIVERED: "stood"}
    stats = (
        Fact("Answered", f"{words.grouped(round(run.rate))} READ/s"),
        Fact("Latency", f"half within {milliseconds(p50)}, 99\u00a0% within {milliseconds(p99)}"),
        Fact("Connections", str(plan.connections)),
        *((Fact("Transport", report.transport),) if report.transport else ()),
    )
    return LoadPage(
        kind=kinds.get(run.ended, "open"),
        host=run.host,
        profile=plan.profile,
        when=words.moment(run.started),
        headline="The load was not delivered" if missed else load_run.headline(run),
        lede=words.sentence(run.summary),
        warning=f"{words.sentence(words.line(report.undelivered))} {SAYS_NOTHING}" if missed else "",
        exercises=words.sentence(run.exercises),
        stats=stats,
        facts=load_run.facts(run),
        timeline=timeline(report),
        queues=load_run.queues(report),
        queues_missing=words.sentence(run.queues_missing),
        phases=tuple(_row(phase) for phase in report.phases[:PHASES_SHOWN]),
        phases_left=max(0, len(report.phases) - PHASES_SHOWN),
        command=load_run.command(run),
    )


def _row(phase: LoadPhase) -> PhaseRow:
    rate = phase.answered / phase.seconds if phase.seconds > 0 else 0.0
    counts = (phase.sent, phase.answered, phase.failed, round(rate), phase.in_flight)
    sent, answered, failed, per_second, in_flight = map(words.grouped, counts)
    return PhaseRow(
        words.line(phase.name),
        f"{phase.start:.2f} s",
        f"{phase.seconds:.2f} s",
        sent,
        answered,
        failed,
        per_second,
        in_flight,
    )
