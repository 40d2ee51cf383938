"""Rows of trials: begun, running, and ended exactly once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select, update

from lab.journal import codec, schema
from lab.journal.times import moment, stamp
from lab.model import (
    ConfigurationError,
    InfrastructureError,
    Invalid,
    InvalidReason,
    LoadReport,
    Outcome,
    Recipe,
    Trial,
)


@dataclass(frozen=True)
class RunningTrial:
    """A trial that has begun and not ended: it runs, or the process that ran it died."""

    case_id: str
    number: int
    host: str
    recipe: Recipe
    started: str  # UTC, ISO 8601


def begin(connection: Connection, now: datetime, case_id: str, host: str, recipe: Recipe) -> int:
    """The caller holds the case's row. Returns the trial's number, counting from 1."""
    trial = schema.trial
    last = connection.execute(select(func.max(trial.c.number)).where(trial.c.case_id == case_id)).scalar()
    number = int(last or 0) + 1
    connection.execute(
        insert(trial).values(
            case_id=case_id,
            number=number,
            host=host,
            started=stamp(now),
            recipe=codec.recipe.encode(recipe),
        )
    )
    return number


def end(
    connection: Connection,
    now: datetime,
    case_id: str,
    number: int,
    outcome: Outcome,
    enabled: frozenset[str],
    load: LoadReport | None,
    seconds: float,
) -> None:
    """Raises InfrastructureError when the trial has ended already, ConfigurationError when there is none."""
    trial = schema.trial
    changed = connection.execute(
        update(trial)
        .where(trial.c.case_id == case_id, trial.c.number == number, trial.c.ended.is_(None))
        .values(
            ended=stamp(now),
            kind=outcome.kind,
            outcome=codec.outcome.encode(outcome),
            enabled=codec.names.encode(enabled),
            load=None if load is None else codec.load_report.encode(load),
            seconds=seconds,
        )
    )
    if changed.rowcount == 1:
        return
    _, ended, kind = state(connection, case_id, number)
    raise InfrastructureError(
        f"trial {number} of case {case_id} has already ended at {ended} ({kind})",
        help="Another process has ended or abandoned it; what it says stays.",
    )


def abandon(connection: Connection, now: datetime, case_id: str, number: int, why: str) -> None:
    """End a trial whose process died; it says nothing of any driver."""
    started, _, _ = state(connection, case_id, number)
    seconds = max(0.0, (now - moment(started)).total_seconds())
    outcome = Invalid(InvalidReason.INTERRUPTED, why)
    end(connection, now, case_id, number, outcome, frozenset(), None, seconds)


def ended_trials(connection: Connection, case_id: str) -> tuple[Trial, ...]:
    trial = schema.trial
    rows = connection.execute(
        select(trial).where(trial.c.case_id == case_id, trial.c.ended.is_not(None)).order_by(trial.c.number)
    )
    return tuple(
        Trial(
            number=r.number,
            host=r.host,
            recipe=codec.recipe.decode(r.recipe),
            enabled=codec.names.decode(r.enabled),
            outcome=codec.outcome.decode(r.outcome),
            started=r.started,
            seconds=r.seconds,
            load=codec.optional(codec.load_report.decode, r.load),
        )
        for r in rows
    )


def running(connection: Connection) -> list[RunningTrial]:
    """Oldest first."""
    trial = schema.trial
    rows = connection.execute(
        select(trial)
        .where(trial.c.ended.is_(None))
        .order_by(trial.c.started, trial.c.case_id, trial.c.number)
    )
    return [RunningTrial(r.case_id, r.number, r.host, codec.recipe.decode(r.recipe), r.started) for r in rows]


def state(connection: Connection, case_id: str, number: int) -> tuple[str, str | None, str | None]:
    """When a trial started, when it ended, and the kind of its outcome. Raises ConfigurationError."""
    trial = schema.trial
    row = connection.execute(
        select(trial.c.started, trial.c.ended, trial.c.kind).where(
            trial.c.case_id == case_id, trial.c.number == number
        )
    ).first()
    if row is None:
        raise ConfigurationError(f"case {case_id} has no trial {number}", help="See 'lab case show'.")
    return row.started, row.ended, row.kind
