"""The picture of a load in time: READ/s and READs in flight by phase, the server's own queues beneath."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lab.model import LoadPhase, LoadReport, QueueSample
from lab.report import words
from lab.report.load_run import lived
from lab.report.survival import tick

MOST_CELLS = 240
"""Stretches of time that are told apart; a load of days has more phases than a page has room for."""

MOST_DOTS = 80
"""Looks at the server that are shown one by one; more are a line."""

HEIGHT = 100.0
WIDTH = 1000.0
"""The box that the bands' paths are drawn in. It is stretched to the page's width."""


@dataclass(frozen=True)
class Cell:
    """What happened in one stretch of time: one phase, or several that are too short to be told apart."""

    start: float
    end: float
    answered: float  # READs a second
    failed: float
    in_flight: int
    text: str


@dataclass(frozen=True)
class Area:
    """A filled outline in the box of WIDTH × HEIGHT, for SVG's `d`."""

    kind: str
    path: str


@dataclass(frozen=True)
class Dot:
    """One sample: percent of the width, percent of the height from the top."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Band:
    """One quantity over time. `peak` is its highest value, in words."""

    kind: str
    label: str
    peak: str
    areas: tuple[Area, ...] = ()
    line: str = ""
    dots: tuple[Dot, ...] = ()


@dataclass(frozen=True)
class Timeline:
    """Bands under one time axis. `ticks`, `marks` and `death` are percent of the width."""

    bands: tuple[Band, ...]
    ticks: tuple[tuple[float, str], ...]
    marks: tuple[tuple[float, float, str], ...]  # start, width, what a pointer over it is told
    death: float | None
    death_text: str


def timeline(report: LoadReport, most_cells: int = MOST_CELLS) -> Timeline | None:
    """The picture with so many stretches of time at most, or None when there is nothing to draw."""
    died = report.died_after if report.target_died else None
    cells = _cells(lived(report), most_cells)
    ends = [p.start + p.seconds for p in report.phases] + [sample.after for sample in report.queues]
    edge = max([report.seconds, *ends], default=0.0)
    if edge <= 0 or not cells:
        return None
    step = _tick_step(edge)
    bands = [
        _rate(cells, edge),
        _steps("in-flight", "In flight", [(c.start, c.end, c.in_flight) for c in cells], edge),
    ]
    if report.queues:
        bands += [
            _samples("threads", "Server: active threads", _summed(report.queues, "active_threads"), edge),
            _samples("queue", "Server: queue length", _summed(report.queues, "queue_length"), edge),
        ]
    return Timeline(
        tuple(bands),
        tuple((_share(i * step, edge), tick(i * step)) for i in range(int(edge / step) + 1)),
        tuple((_share(c.start, edge), _share(c.end - c.start, edge), c.text) for c in cells),
        None if died is None else _share(died, edge),
        "" if died is None else f"died {died:.2f} s",
    )


def _tick_step(edge: float) -> float:
    """A distance of ticks that people count in, so that there are at most seven."""
    scale = 10.0 ** math.floor(math.log10(edge))
    below_a_minute = [scale * factor for factor in (0.2, 0.5, 1.0, 2.0)] if edge < 120 else []
    nice = [*below_a_minute, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 4 * 3600, 8 * 3600, 86400]
    return next((step for step in nice if edge / step <= 6), 86400 * math.ceil(edge / 86400 / 6))


def _share(seconds: float, edge: float) -> float:
    return round(100 * seconds / edge, 3)


def _cells(phases: Sequence[LoadPhase], most: int) -> list[Cell]:
    if len(phases) <= most:
        return [_cell([phase]) for phase in phases if phase.seconds > 0]
    width = max(phase.start + phase.seconds for phase in phases) / most
    together: dict[int, list[LoadPhase]] = {}
    for phase in phases:
        together.setdefault(int(phase.start / width) if width > 0 else 0, []).append(phase)
    return [_cell(group) for group in together.values() if sum(phase.seconds for phase in group) > 0]


def _cell(group: Sequence[LoadPhase]) -> Cell:
    start, end = group[0].start, max(phase.start + phase.seconds for phase in group)
    seconds = sum(phase.seconds for phase in group)
    answered = sum(phase.answered for phase in group) / seconds
    failed = sum(phase.failed for phase in group) / seconds
    most = max(phase.in_flight for phase in group)
    name = words.line(group[0].name) if len(group) == 1 else f"{len(group)} phases"
    said = f"{start:.2f} to {end:.2f} s, {name}: {words.grouped(round(answered))} READ/s, {most} in flight"
    if failed:
        said += f", {words.grouped(round(failed))} failed/s"
    return Cell(start, end, answered, failed, most, said)


def _rate(cells: Sequence[Cell], edge: float) -> Band:
    most = max(cell.answered + cell.failed for cell in cells)
    areas = [Area("answered", _outline([(c.start, c.end, c.answered) for c in cells], edge, most))]
    if any(cell.failed for cell in cells):  # drawn over the answered ones, on the same scale
        areas.append(Area("failed", _outline([(c.start, c.end, c.failed) for c in cells], edge, most)))
    peak = max(cell.answered for cell in cells)
    return Band("rate", "READ/s", f"most {words.grouped(round(peak))}", tuple(areas))


def _steps(kind: str, label: str, steps: Sequence[tuple[float, float, float]], edge: float) -> Band:
    most = max(value for _, _, value in steps)
    return Band(kind, label, f"most {words.grouped(round(most))}", (Area(kind, _outline(steps, edge, most)),))


def _outline(steps: Sequence[tuple[float, float, float]], edge: float, most: float) -> str:
    """Steps (start, end, value) as closed paths that stand on the bottom."""
    said: list[str] = []
    open_until = -1.0  # where a path that is not yet closed has come to
    for start, end, value in steps:
        left, right, top = _x(start, edge), _x(end, edge), _y(value, most)
        if open_until >= 0 and (value <= 0 or left != open_until):
            said.append(f"V{HEIGHT:g}Z")
            open_until = -1.0
        if value > 0:
            said.append(f"V{top}H{right}" if open_until >= 0 else f"M{left} {HEIGHT:g}V{top}H{right}")
            open_until = right
    return "".join(said) + (f"V{HEIGHT:g}Z" if open_until >= 0 else "")


def _summed(samples: Sequence[QueueSample], field: str) -> list[tuple[float, int]]:
    """All queues together at each look, thinned to the highest of each stretch of time."""
    sums: dict[float, int] = {}
    for sample in samples:
        sums[sample.after] = sums.get(sample.after, 0) + getattr(sample, field)
    points = sorted(sums.items())
    if len(points) <= MOST_CELLS:
        return points
    width = points[-1][0] / MOST_CELLS
    highest: dict[int, tuple[float, int]] = {}
    for after, value in points:
        cell = int(after / width) if width > 0 else 0
        if cell not in highest or value > highest[cell][1]:
            highest[cell] = (after, value)
    return list(highest.values())


def _samples(kind: str, label: str, points: Sequence[tuple[float, int]], edge: float) -> Band:
    most = max(value for _, value in points)
    line = "".join(
        f"{'L' if number else 'M'}{_x(after, edge)} {_y(value, most)}"
        for number, (after, value) in enumerate(points)
    )
    dots = tuple(
        Dot(_share(after, edge), _y(value, most), f"{after:.1f} s: {words.grouped(value)}")
        for after, value in (points if len(points) <= MOST_DOTS else ())
    )
    return Band(kind, label, f"most {words.grouped(most)}", (), line, dots)


def _x(seconds: float, edge: float) -> float:
    return round(WIDTH * seconds / edge, 2)


def _y(value: float, most: float) -> float:
    """From the top; the highest value stays a little below it, so that its line is whole."""
    return round(HEIGHT - (HEIGHT - 4) * value / most, 2) if most > 0 and math.isfinite(value) else HEIGHT
