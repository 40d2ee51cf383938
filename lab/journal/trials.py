"""Rows of trials: begun, running, and ended exactly once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, delete, func, insert, select, update

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
class Heartbeat:
    """Where a trial is, and all that is needed to go on from here when its process dies.

    `seconds` of load so far; `boot` the boot's identity; `position` the newest record of the event log
    before the load; `enabled` the third-party services that run; `stale` the first bytes of the dump that
    was there before, to know a new one from it.
    """

    seconds: float
    boot: str
    position: int
    enabled: frozenset[str]
    stale: bytes | None = None
    time: str = ""  # UTC, ISO 8601; the journal writes it


@dataclass(frozen=True)
class RunningTrial:
    """A trial that has begun and not ended: it runs, or the process that ran it died.

    `heartbeat` is None as long as its load has not begun.
    """

    case_id: str
    number: int
    host: str
    recipe: Recipe
    started: str  # UTC, ISO 8601
    heartbeat: Heartbeat | None = None


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
        beat = schema.heartbeat
        connection.execute(delete(beat).where(beat.c.case_id == case_id, beat.c.number == number))
        return
    _, ended, kind = state(connection, case_id, number)
    raise InfrastructureError(
        f"trial {number} of case {case_id} has already ended at {ended} ({kind})",
        help="Another process has ended or abandoned it; what it says stays.",
    )


def beat(connection: Connection, now: datetime, case_id: str, number: int, beat: Heartbeat) -> None:
    """Raises InfrastructureError when the trial has ended already, ConfigurationError when there is none."""
    _, ended, kind = state(connection, case_id, number)
    if ended is not None:
        raise InfrastructureError(f"trial {number} of case {case_id} has already ended at {ended} ({kind})")
    table = schema.heartbeat
    this = (table.c.case_id == case_id, table.c.number == number)
    values = {"time": stamp(now), "seconds": beat.seconds}
    if connection.execute(update(table).where(*this).values(values)).rowcount == 0:
        connection.execute(
            insert(table).values(
                case_id=case_id,
                number=number,
                boot=beat.boot,
                position=beat.position,
                enabled=codec.names.encode(beat.enabled),
                stale=beat.stale,
                **values,
            )
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
    trial, beat = schema.trial, schema.heartbeat
    rows = connection.execute(
        select(trial, beat.c.time, beat.c.seconds.label("stood"), beat.c.boot, beat.c.position)
        .add_columns(beat.c.enabled.label("on"), beat.c.stale)
        .outerjoin(beat, and_(beat.c.case_id == trial.c.case_id, beat.c.number == trial.c.number))
        .where(trial.c.ended.is_(None))
        .order_by(trial.c.started, trial.c.case_id, trial.c.number)
    )
    return [
        RunningTrial(
            r.case_id,
            r.number,
            r.host,
            codec.recipe.decode(r.recipe),
            r.started,
            None
            if r.time is None
            else Heartbeat(r.stood, r.boot, r.position, codec.names.decode(r.on), r.stale, r.time),
        )
        for r in rows
    ]


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
