"""A read load as it was asked for and as it went, in words: what the terminal and the page both say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from lab.model import LoadPhase, LoadPlan, LoadReport
from lab.report import words
from lab.report.facts import Fact


class Ended(StrEnum):
    """How a load ended. A target that died was reached, whatever else is missing."""

    DELIVERED = "delivered"
    DIED = "died"
    UNDELIVERED = "undelivered"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class LoadRun:
    """One load on one host. `summary` and `exercises` are its profile's own sentences.

    `started` is ISO 8601 in UTC. `queues_missing` says why the server's own counters are not known.
    """

    host: str
    plan: LoadPlan
    report: LoadReport
    summary: str = ""
    exercises: str = ""
    options: str = ""  # of `lab load`, beside those that the plan gives: " --signing if-asked"
    started: str = ""
    interrupted: bool = False
    restarted: bool = False  # another boot answers than before, though the load saw no death
    queues_missing: str = ""

    @property
    def ended(self) -> Ended:
        if self.report.target_died or self.restarted:
            return Ended.DIED
        if self.interrupted:
            return Ended.INTERRUPTED
        return Ended.UNDELIVERED if self.report.undelivered else Ended.DELIVERED

    @property
    def rate(self) -> float:
        """READs answered a second, over the whole load with its idle phases."""
        return self.report.reads_answered / self.report.seconds if self.report.seconds > 0 else 0.0


Number = Callable[[int], str]


def commas(number: int) -> str:
    """31,744: for a terminal, whose letters are all of one width."""
    return f"{number:,}"


def headline(run: LoadRun, number: Number = words.grouped) -> str:
    """How the load ended, as one sentence without a full stop. Instants are to 10 ms."""
    report, answered = run.report, number(run.report.reads_answered)
    reads = "READ" if report.reads_answered == 1 else "READs"
    if run.ended is Ended.DIED and not report.target_died:
        return f"The target was started anew during the load of {answered} {reads}"
    if run.ended is Ended.DIED:
        return f"The target died {report.died_after or 0.0:.2f} s into the load, after {answered} {reads}"
    if run.ended is Ended.INTERRUPTED:
        return f"Interrupted {words.seconds(report.seconds)} into a load of {words.seconds(run.plan.seconds)}"
    if run.ended is Ended.UNDELIVERED:
        return f"Not delivered: {words.line(report.undelivered)}"
    return f"Delivered: {answered} {reads} answered in {words.seconds(report.seconds)}"


def command(run: LoadRun) -> str:
    """The command that gives this very load again: same seed, same offsets."""
    plan = run.plan
    said = [f"lab load {run.host} --profile {plan.profile} --seconds {plan.seconds:g}"]
    said.append(f"--connections {plan.connections}")
    for option, value in (
        ("in-flight", plan.in_flight),
        ("idle", plan.idle_seconds),
        ("size", plan.size),
        ("rate", plan.rate),
    ):
        if value is not None:
            said.append(f"--{option} {value:g}" if isinstance(value, float) else f"--{option} {value}")
    said += [f"--verify {policy(plan.verify_every)}", f"--seed {plan.seed}"]
    return " ".join(said if plan.keep_files else [*said, "--remove-files"]) + run.options


def policy(verify_every: int) -> str:
    """A plan's `verify_every` as the command line has it."""
    return {0: "set-up", 1: "all"}.get(verify_every, str(verify_every))


def facts(run: LoadRun, number: Number = words.grouped) -> tuple[Fact, ...]:
    """What was sent, what came back, and how; what did not happen is left out where that is the good case."""
    report = run.report
    balance = [f"{number(report.reads_answered)} answered"]
    balance += [f"{number(failures)} failed"] if (failures := sum(n for _, n in report.failed)) else []
    balance += [f"{number(report.lost)} lost without an answer"] if report.lost else []
    amount = words.size(report.bytes_read)
    speed = words.size(round(report.bytes_read / report.seconds)) if report.seconds > 0 else "0 bytes"
    found = [
        Fact("READs", f"{number(report.reads_sent)} sent: {', '.join(balance)}"),
        Fact("Rate", _rate(run, number)),
        Fact("Read", f"{amount}, {speed}/s"),
        *(Fact("Failed", f"{number(count)} × {words.line(status)}") for status, count in report.failed),
        Fact("Latency", _latency(report)),
        Fact("Pending", number(report.pending)) if report.pending else None,
        Fact("Short", f"{number(report.short)} READs answered with fewer bytes") if report.short else None,
        Fact("Credit stalls", number(report.credit_stalls)) if report.credit_stalls else None,
        Fact("Reconnects", number(report.reconnects)) if report.reconnects else None,
        Fact("Beside", _operations(report, number)) if report.operations else None,
        Fact("Verified", _verified(run, number)),
        Fact("Transport", words.line(report.transport)) if report.transport else None,
    ]
    return tuple(fact for fact in found if fact is not None)


def lived(report: LoadReport) -> tuple[LoadPhase, ...]:
    """The phases until the last answer of a target that died: its last one is as long as it lived."""
    died = report.died_after
    if not report.target_died or died is None:
        return report.phases
    return tuple(replace(p, seconds=min(p.seconds, died - p.start)) for p in report.phases if p.start < died)


def _rate(run: LoadRun, number: Number) -> str:
    said = f"{number(round(run.rate))} READ/s over {words.seconds(run.report.seconds)}"
    busiest = max((p.answered / p.seconds for p in lived(run.report) if p.seconds > 0), default=0.0)
    return f"{said}, {number(round(busiest))} in the busiest phase" if busiest > 1.05 * run.rate else said


def _latency(report: LoadReport) -> str:
    p50, p95, p99 = map(milliseconds, report.latency_ms)
    if not any(report.latency_ms):
        return "not known"
    return f"half within {p50}, 95\u00a0% within {p95}, 99\u00a0% within {p99}"


def milliseconds(value: float) -> str:
    """0.81 ms, 20 ms; the space does not break."""
    return f"{value:.2f}\u00a0ms" if value < 10 else f"{value:.0f}\u00a0ms"


def _operations(report: LoadReport, number: Number) -> str:
    return ", ".join(f"{number(count)} × {words.line(name)}" for name, count in report.operations)


def _verified(run: LoadRun, number: Number) -> str:
    if not run.report.verified and run.report.transport.endswith("unsigned"):
        return "nothing: the answers are not signed"
    return f"{number(run.report.verified)} ({verification(run.plan.verify_every)})"


def verification(every: int) -> str:
    """The policy in words."""
    return {0: "answers of the set-up only", 1: "all answers"}.get(every, f"one answer in {every}")


@dataclass(frozen=True)
class QueueView:
    """One of the server's work queues over the load."""

    queue: str
    samples: int
    most_active: int
    most_threads: int  # active and available together
    longest: int


def queues(report: LoadReport) -> tuple[QueueView, ...]:
    """The server's queues, those that did most first."""
    names = dict.fromkeys(sample.queue for sample in report.queues)
    found = []
    for name in names:
        samples = [sample for sample in report.queues if sample.queue == name]
        found.append(
            QueueView(
                words.line(name) or "(no name)",
                len(samples),
                max(s.active_threads for s in samples),
                max(s.active_threads + s.available_threads for s in samples),
                max(s.queue_length for s in samples),
            )
        )
    return tuple(sorted(found, key=lambda q: (-q.most_active, -q.longest, -q.most_threads)))
