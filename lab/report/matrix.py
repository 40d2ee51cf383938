"""Drivers × trials as a picture: one row a driver, one column a trial."""

from __future__ import annotations

from dataclasses import dataclass

from lab.model import Case, Trial
from lab.report import drivers, ladder, words

CELL = 30  # pixels
LABEL = 158  # width of the names' column
HEAD = 30  # height of the trial numbers' row
MANY = 14  # with more rows than this, rows that never change become one


@dataclass(frozen=True)
class Cell:
    """One driver in one trial. `state`: on, off or unknown; the centre in pixels."""

    x: int
    y: int
    state: str
    text: str


@dataclass(frozen=True)
class Row:
    label: str
    full: str
    y: int
    culprit: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Column:
    number: int
    x: int
    end: ladder.End
    verifier: str


@dataclass(frozen=True)
class Matrix:
    """The picture, in pixels. `rest` tells of drivers left out because they never changed."""

    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    width: int
    height: int
    verifier_y: int
    outcome_y: int
    rest: str
    summary: str
    finding: str  # what the picture says, in a sentence, or ""


def matrix(case: Case) -> Matrix | None:
    """The picture, or None when there is nothing to compare."""
    services = tuple(
        s for s in drivers.third_party_services(case) if any(_state(t, s) != "unknown" for t in case.trials)
    )
    if not services or not case.trials:
        return None
    culprits = drivers.culprit_names(case)
    shown, rest = services, ""
    if len(services) > MANY:
        shown = tuple(s for s in services if s.casefold() in culprits or _changes(case, s))
        left = len(services) - len(shown)
        rest = f"{words.count(left, 'more driver')} ran in every trial." if left else ""
    columns = tuple(
        Column(t.number, LABEL + i * CELL + CELL // 2, ladder.end(t), _short(t))
        for i, t in enumerate(case.trials)
    )
    rows = tuple(
        _row(case, s, HEAD + i * CELL, s.casefold() in culprits, columns) for i, s in enumerate(shown)
    )
    bottom = HEAD + len(rows) * CELL
    return Matrix(
        rows=rows,
        columns=columns,
        width=LABEL + len(columns) * CELL + 12,
        height=bottom + 2 * CELL + 8,
        verifier_y=bottom + 4,
        outcome_y=bottom + CELL + 4,
        rest=rest,
        summary=f"{words.count(len(rows), 'driver')} in {words.count(len(columns), 'trial')}; "
        "the table of trials below says the same in words.",
        finding=_finding(case, services),
    )


def _finding(case: Case, services: tuple[str, ...]) -> str:
    """Which drivers agree with every trial: on in each crash, off in each trial that stood."""
    ends = [(t, ladder.end(t).state) for t in case.trials]
    crashed = [t for t, state in ends if state == "crashed"]
    stood = [t for t, state in ends if state == "stood"]
    if not crashed:
        return ""
    always = [s for s in services if all(_state(t, s) == "on" for t in crashed)]
    fits = [s for s in always if all(_state(t, s) == "off" for t in stood)]
    if not stood:
        if not always:
            return "No driver ran in every trial that crashed."
        ran = words.count(len(always), "driver")
        return f"{ran[0].upper()}{ran[1:]} ran in every trial that crashed; no trial has stood yet."
    images = words.names([drivers.image(case, s) for s in fits])
    if not fits:
        return "No single driver was on in every trial that crashed and off in every trial that stood."
    were = "was the only one" if len(fits) == 1 else "were those"
    return f"{images} {were} on in every trial that crashed and off in every trial that stood."


def _state(trial: Trial, service: str) -> str:
    name = service.casefold()
    if any(s.casefold() == name for s in trial.enabled):
        return "on"
    return "off" if any(s.casefold() == name for s in trial.recipe.disabled) else "unknown"


def _changes(case: Case, service: str) -> bool:
    return any(_state(t, service) != "on" for t in case.trials)


def _short(trial: Trial) -> str:
    """The verifier's flags as a column can show them: "·" for off, "800", "810"."""
    return f"{trial.recipe.verifier.flags:x}" if trial.recipe.verifier.flags else "·"


def _row(case: Case, service: str, top: int, culprit: bool, columns: tuple[Column, ...]) -> Row:
    full = drivers.image(case, service)
    cells = tuple(
        Cell(
            column.x,
            top + CELL // 2,
            state := _state(trial, service),
            f"{full} in trial {trial.number}: {state}, {column.end.word.lower()}",
        )
        for trial, column in zip(case.trials, columns, strict=True)
    )
    label = full if len(full) <= 20 else full[:18] + "…"
    return Row(label, full, top, culprit, cells)
