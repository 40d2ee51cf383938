"""A load's report for a terminal."""

from __future__ import annotations

from lab.report import words
from lab.report.facts import Fact
from lab.report.load_run import Ended, LoadRun, command, commas, facts, lived, queues

COLUMNS = 60
LEVELS = " ▁▂▃▄▅▆▇█"


def load_text(run: LoadRun) -> str:
    """All but the headline: what was sent and answered, the server's queues, and how to run it again."""
    lines = [*facts(run, commas), *_queues(run), *_pictures(run)]
    if run.ended in (Ended.DELIVERED, Ended.DIED):
        lines.append(Fact("Again", command(run)))
    width = max(len(fact.label) for fact in lines)
    return "\n".join(f"  {fact.label:<{width}}  {words.visible(fact.value)}" for fact in lines) + "\n"


def _queues(run: LoadRun) -> list[Fact]:
    found = [queue for queue in queues(run.report) if queue.most_threads or queue.longest]
    if not found:
        none = (
            "all of its work queues were empty" if run.report.queues else f"not known: {run.queues_missing}"
        )
        return [Fact("Server", none)] if run.report.queues or run.queues_missing else []
    return [
        Fact(
            "Server",
            f"{q.queue}: active threads at most {q.most_active} of {q.most_threads}, "
            f"longest queue {q.longest} ({words.count(q.samples, 'look')})",
        )
        for q in found
    ]


def _pictures(run: LoadRun) -> list[Fact]:
    """READ/s and the server's threads in time, as one row of bars each."""
    report = run.report
    length = max([report.seconds, *(phase.start + phase.seconds for phase in report.phases)])
    if length <= 0 or len(report.phases) < 2:
        return []
    reads = [(p.start, p.start + p.seconds, p.answered / p.seconds) for p in lived(report) if p.seconds > 0]
    found = [Fact("READ/s", _bars(reads, length))]
    if report.queues:
        looks = sorted({sample.after for sample in report.queues})
        threads = [sum(s.active_threads for s in report.queues if s.after == after) for after in looks]
        ends = [*looks[1:], length]
        found.append(Fact("Threads", _bars(list(zip(looks, ends, map(float, threads), strict=True)), length)))
    return found


def _bars(steps: list[tuple[float, float, float]], length: float) -> str:
    """The highest of the steps (start, end, value) in each of COLUMNS stretches of `length` seconds."""
    columns = [0.0] * COLUMNS
    for start, end, value in steps:
        first = min(COLUMNS - 1, int(start / length * COLUMNS))
        last = min(COLUMNS, max(first + 1, round(end / length * COLUMNS)))
        for column in range(first, last):
            columns[column] = max(columns[column], value)
    most = max(columns)
    if most <= 0:
        return "none"
    bars = "".join(LEVELS[round(value / most * (len(LEVELS) - 1))] for value in columns)
    return f"{bars}  most {commas(round(most))}"
