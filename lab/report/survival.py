"""How long the host stood under load, with the suspects on and with them off."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lab.model import Case, Crashed, Invalid, Relation, Survived, Trial
from lab.report import culprits, drivers, words

MANY = 14
"""With more runs than this the picture shows curves, and the single runs on demand."""


@dataclass(frozen=True)
class Run:
    """One trial's time under load. `share` is that time as percent of the picture's width."""

    trial: int
    after: float
    crashed: bool
    share: float
    text: str
    alone: bool = False


@dataclass(frozen=True)
class Mark:
    """A place in the picture in percent of its width and height, and what is there."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Curve:
    """The share of runs that still stand after a time, as the outline of an area in a box of 1000 by 100."""

    area: str
    end: Mark  # where the longest run ended; how many still stood, in percent
    stood: tuple[Mark, ...]  # runs that had not crashed when their load ended
    note: str


@dataclass(frozen=True)
class Group:
    """Trials that had something in common. `mean` is the mean time to crash, None without a crash."""

    label: str
    note: str
    runs: tuple[Run, ...]
    mean: float | None
    mean_share: float
    exposure: float  # seconds under load, all runs together
    caused: bool  # the verdict lets the crash be expected in them
    curve: Curve

    @property
    def crashes(self) -> int:
        return sum(r.crashed for r in self.runs)


@dataclass(frozen=True)
class Survival:
    """The picture: groups under one time axis, `ticks` as (percent, text)."""

    groups: tuple[Group, ...]
    ticks: tuple[tuple[float, str], ...]
    chance: str  # one sentence on how likely the survivals are by luck, or ""
    many: bool  # too many runs for a line each: curves first


def counts(trial: Trial) -> bool:
    """True if the trial says something of drivers: it stood, or it crashed as the case expects."""
    if isinstance(trial.outcome, Crashed):
        return trial.outcome.relation in (Relation.SAME, Relation.SIBLING)
    return isinstance(trial.outcome, Survived)


def time_under_load(trial: Trial) -> float:
    return 0.0 if isinstance(trial.outcome, Invalid) else trial.outcome.after


def has(trial: Trial, services: tuple[str, ...]) -> bool:
    """True if any of `services` really ran in the trial."""
    return bool(culprits.on(trial, services))


def alone(case: Case, trial: Trial, services: tuple[str, ...]) -> bool:
    """True if, of all third-party drivers, only `services` and those that cannot be switched off ran."""
    wanted = {s.casefold() for s in services}
    others = {s for s in trial.enabled if s.casefold() not in wanted}
    switchable = [s for s in others if not ((d := drivers.find(case, s)) and d.pinned)]
    return has(trial, services) and not switchable


def mean_time_to_crash(trials: list[Trial]) -> float | None:
    """Mean seconds under load of those that crashed."""
    times = [time_under_load(t) for t in trials if isinstance(t.outcome, Crashed)]
    return sum(times) / len(times) if times else None


def split(case: Case) -> tuple[list[Trial], list[Trial]]:
    """Trials that count: those in which the verdict lets the crash be expected, and the others.

    Without culprits all are in the first list.
    """
    trials = [t for t in case.trials if counts(t)]
    verdict = case.verdict
    if verdict is None or not culprits.named(verdict):
        return trials, []
    with_them = [t for t in trials if culprits.armed(verdict, t)]
    return with_them, [t for t in trials if not culprits.armed(verdict, t)]


def survival(case: Case) -> Survival | None:
    """The picture, or None when no trial says anything."""
    with_them, without = split(case)
    trials = with_them + without
    longest = max((time_under_load(t) for t in trials), default=0.0)
    if longest <= 0:
        return None
    step = _step(longest)
    edge = step * math.ceil(longest / step * 1.02)
    named = case.verdict.culprits if case.verdict else ()
    parts = tuple(zip(_labels(case) if without else ("All trials", ""), (with_them, without), strict=True))
    groups = tuple(
        _group(case, label, part, edge, named, caused=part is with_them) for label, part in parts if part
    )
    ticks = tuple((round(100 * i * step / edge, 2), tick(i * step)) for i in range(round(edge / step) + 1))
    return Survival(groups, ticks, _chance(with_them, without, _left_out(case)), len(trials) > MANY)


def _labels(case: Case) -> tuple[str, str]:
    """What the two groups of trials are called."""
    assert case.verdict is not None
    images = [drivers.image(case, s) for s in case.verdict.culprits]
    if case.verdict.kind in culprits.TOGETHER:
        them = words.names(images)
        return f"With {them} on", f"With {'one or both' if len(images) == 2 else 'one or more'} of them off"
    if len(images) == 1:
        return f"With {images[0]}", f"Without {images[0]}"
    return f"With {words.names(images, 'or')}", f"Without {words.names(images, 'or')}"


def _group(
    case: Case, label: str, trials: list[Trial], edge: float, named: tuple[str, ...], *, caused: bool
) -> Group:
    runs = []
    for trial in trials:
        after = time_under_load(trial)
        ended = isinstance(trial.outcome, Crashed)
        text = f"{'crashed after' if ended else 'stood'} {words.seconds(after)}"
        only = bool(named) and alone(case, trial, named)
        runs.append(Run(trial.number, after, ended, round(100 * after / edge, 2), text, only))
    mean = mean_time_to_crash(trials)
    number = sum(r.crashed for r in runs)
    note = f"{words.count(number, 'crash', 'crashes')} in {words.count(len(runs), 'trial')}"
    if mean is not None:
        note += f", after {words.seconds(mean)} on average"
    exposure = sum(r.after for r in runs)
    curve = _curve(runs)
    return Group(
        label, note, tuple(runs), mean, round(100 * (mean or 0.0) / edge, 2), exposure, caused, curve
    )


def _curve(runs: list[Run]) -> Curve:
    """The Kaplan-Meier estimate: a run that was still standing when its load ended counts until then."""
    left, standing, line = len(runs), 1.0, ["M0 0"]
    stood, half = [], ""
    ordered = sorted(runs, key=lambda r: (r.after, not r.crashed))
    for run in ordered:
        if run.crashed:
            standing *= 1 - 1 / left
            line.append(f"H{10 * run.share:g}V{100 * (1 - standing):.4g}")
            if not half and standing <= 0.5:
                half = f"Half have crashed after {words.seconds(run.after)}."
        else:
            text = f"Trial {run.trial} {run.text}"
            stood.append(Mark(run.share, round(100 * (1 - standing), 2), text))
        left -= 1
    last = ordered[-1]
    line.append(f"H{10 * last.share:g}V100H0Z")
    share = "all stand" if standing == 1 else "none stand" if standing == 0 else f"{standing:.0%} stand"
    end = Mark(last.share, round(100 * (1 - standing), 2), share.replace("%", " %"))
    return Curve("".join(line), end, tuple(stood), half)


def tick(value: float) -> str:
    """What an axis of seconds says there."""
    return f"{value:g} s" if value < 120 else words.seconds(value)


_MINUTES = tuple(60.0 * m for m in (1, 2, 5, 10, 15, 30, 60, 120, 240, 480, 1440))
"""Distances of ticks in seconds, where people count in minutes."""


def _step(longest: float) -> float:
    """A round distance of ticks that makes three to eight of them."""
    if longest > 240:
        return next((step for step in _MINUTES if longest / step <= 6), 86400.0 * math.ceil(longest / 518400))
    scale = 10.0 ** math.floor(math.log10(longest))
    for factor in (0.1, 0.2, 0.25, 0.5, 1.0, 2.0):
        if longest / (scale * factor) <= 6:
            return scale * factor
    return scale * 2


def _left_out(case: Case) -> str:
    """The second group's setting, as a phrase for "at the same rate"."""
    verdict = case.verdict
    if verdict is None or len(verdict.culprits) < 2:
        return "without it"
    return "with one of them off" if verdict.kind in culprits.TOGETHER else "without them"


def _chance(with_them: list[Trial], without: list[Trial], setting: str) -> str:
    """How likely luck alone explains the survivals, if crashes come at a constant rate."""
    crashes = sum(isinstance(t.outcome, Crashed) for t in with_them)
    stood = sum(time_under_load(t) for t in without)
    if not crashes or not stood or any(isinstance(t.outcome, Crashed) for t in without):
        return ""
    rate = crashes / sum(time_under_load(t) for t in with_them)
    luck = math.exp(-rate * stood)
    odds = (
        f"about once in {words.grouped(_round(1 / luck))} times"
        if luck > 1e-6
        else "less than once in a million times"
    )
    return (
        f"If crashes came at the same rate {setting}, {words.seconds(stood)} of load would pass without one "
        f"{odds} (constant rate, estimated from {words.count(crashes, 'crash', 'crashes')})."
    )


def _round(value: float) -> int:
    """Two significant digits: more would pretend to know."""
    unit: int = 10 ** max(0, math.floor(math.log10(value)) - 1)
    return round(value / unit) * unit
