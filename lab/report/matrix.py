"""Drivers × trials as a picture: one row a driver, one column a trial."""

from __future__ import annotations

from dataclasses import dataclass

from lab.model import Case, Invalid, Trial
from lab.report import agreement, drivers, ladder, words
from lab.report.survival import time_under_load

WIDE, NARROW = 30, 9  # pixels of a column, at most and at least
ROOM = 620  # pixels that the columns share on a wide page; more of them scroll
ROW = 27  # pixels of a driver's row
BAR = 30  # pixels of the longest load's bar
NUMBERS, ENDS, VERIFIER = 26, 28, 24  # heights of the rows above the drivers
MANY = 16  # rows of single drivers at most; the rest share one row


@dataclass(frozen=True)
class Cell:
    """One driver in one trial. `state`: on, off, unknown; or part, of the others, whose `share` was on."""

    x: int
    y: int
    state: str
    text: str
    share: float = 0.0
    short: str = ""


@dataclass(frozen=True)
class Row:
    label: str
    full: str
    y: int
    culprit: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Column:
    """`bar` is the height in pixels that stands for the time under load, `seconds` that time in words."""

    number: int
    x: int
    end: ladder.End
    verifier: str
    bar: int
    seconds: str
    numbered: bool  # there is room for its number


@dataclass(frozen=True)
class Matrix:
    """The picture, in pixels. `rest` tells of drivers left out because they never changed."""

    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    width: int
    height: int
    cell: int  # width of a column
    ends_y: int
    bars_y: int  # where the bars stand
    verifier_y: int
    rows_y: int
    verified: bool  # some trial had Driver Verifier on
    others: bool  # the last row stands for several drivers
    longest: str
    rest: str
    summary: str
    finding: str  # what the picture says, in a sentence, or ""


def matrix(case: Case) -> Matrix | None:
    """The picture, or None when there is nothing to compare."""
    services = tuple(
        s for s in drivers.third_party_services(case) if any(state(t, s) != "unknown" for t in case.trials)
    )
    if not services or not case.trials:
        return None
    named = drivers.culprit_names(case)
    shown, rest = services, ""
    if len(services) > MANY:
        shown = tuple(s for s in services if s.casefold() in named or _changes(case, s))
        left = len(services) - len(shown)
        if left:
            rest = f"{words.count(left, 'more driver')} {'was' if left == 1 else 'were'} never switched off."
    shown, others = agreement.leading(case, shown, MANY)
    columns = _columns(case)
    verified = any(not t.recipe.verifier.off for t in case.trials)
    top = NUMBERS + ENDS + BAR + 8 + (VERIFIER if verified else 0)
    rows = [_row(case, s, top + i * ROW, s.casefold() in named, columns) for i, s in enumerate(shown)]
    if others:
        rows.append(_others(case, others, top + len(rows) * ROW, columns))
    cell = _cell(len(columns))
    return Matrix(
        rows=tuple(rows),
        columns=columns,
        width=len(columns) * cell + 8,
        height=top + len(rows) * ROW + 4,
        cell=cell,
        ends_y=NUMBERS + ENDS // 2,
        bars_y=NUMBERS + ENDS + BAR + 2,
        verifier_y=NUMBERS + ENDS + BAR + 8,
        rows_y=top,
        verified=verified,
        others=bool(others),
        longest=_coarse(max(time_under_load(t) for t in case.trials)),
        rest=rest,
        summary=f"{words.count(len(shown) + len(others), 'driver')} in {words.count(len(columns), 'trial')}; "
        "the table of trials below says the same in words.",
        finding=agreement.finding(case, services),
    )


def state(trial: Trial, service: str) -> str:
    """on, off, or unknown: the trial says nothing of this driver."""
    name = service.casefold()
    if any(s.casefold() == name for s in trial.enabled):
        return "on"
    return "off" if any(s.casefold() == name for s in trial.recipe.disabled) else "unknown"


def _changes(case: Case, service: str) -> bool:
    return any(state(t, service) == "off" for t in case.trials)


def _cell(count: int) -> int:
    return max(NARROW, min(WIDE, ROOM // count))


def _columns(case: Case) -> tuple[Column, ...]:
    cell = _cell(len(case.trials))
    every = 1 if cell >= 20 else 5 if cell >= 6 else 10
    longest = max(time_under_load(t) for t in case.trials) or 1.0
    return tuple(
        Column(
            t.number,
            i * cell + cell // 2 + 4,
            ladder.end(t),
            _short(t),
            max(2, round(BAR * time_under_load(t) / longest)) if time_under_load(t) > 0 else 0,
            words.seconds(time_under_load(t)),
            every == 1 or t.number % every == 0 or i == 0,
        )
        for i, t in enumerate(case.trials)
    )


def _coarse(seconds: float) -> str:
    return words.seconds(60 * round(seconds / 60) if seconds > 600 else seconds)


def _short(trial: Trial) -> str:
    """The verifier's flags as a column can show them: "·" for off, "800", "810"."""
    return f"{trial.recipe.verifier.flags:x}" if trial.recipe.verifier.flags else "·"


def _row(case: Case, service: str, top: int, culprit: bool, columns: tuple[Column, ...]) -> Row:
    full = drivers.image(case, service)
    cells = tuple(
        Cell(
            column.x,
            top + ROW // 2,
            seen := state(trial, service),
            f"{full} in trial {trial.number}: {seen}, {column.end.word.lower()}",
        )
        for trial, column in zip(case.trials, columns, strict=True)
    )
    label = full if len(full) <= 20 else full[:18] + "…"
    return Row(label, full, top, culprit, cells)


def _others(case: Case, services: tuple[str, ...], top: int, columns: tuple[Column, ...]) -> Row:
    cells = []
    for trial, column in zip(case.trials, columns, strict=True):
        if not trial.enabled and isinstance(trial.outcome, Invalid):
            text = f"which of the {len(services)} other drivers ran in trial {trial.number} is not known"
            cells.append(Cell(column.x, top + ROW // 2, "unknown", text))
            continue
        ran = sum(state(trial, s) == "on" for s in services)
        text = f"{ran} of the {len(services)} other drivers ran in trial {trial.number}"
        share = ran / len(services)
        cells.append(Cell(column.x, top + ROW // 2, "part", text, share, f"{ran}/{len(services)}"))
    label = words.count(len(services), "other driver")
    return Row(label, label, top, False, tuple(cells))
