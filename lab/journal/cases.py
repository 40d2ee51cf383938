"""Rows of cases, crashes and entries, inside a transaction that the caller holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select, update

from lab.journal import codec, ids, schema
from lab.journal.times import stamp
from lab.journal.trials import ended_trials
from lab.model import (
    Case,
    ConfigurationError,
    Driver,
    Entry,
    EntryKind,
    LoadPlan,
    Signature,
    Triage,
    Verdict,
)


@dataclass(frozen=True)
class CaseSummary:
    """A case in one line of a list. `trials` counts the ended ones, `running` the others."""

    id: str
    title: str
    opened: str  # UTC, ISO 8601
    expected: Signature
    verdict: Verdict | None
    trials: int
    running: int
    crashes: int


def new_case(
    connection: Connection,
    now: datetime,
    title: str,
    expected: Signature,
    load: LoadPlan,
    customer: Triage | None,
    customer_sha: str,
) -> str:
    taken = frozenset(connection.execute(select(schema.case.c.id)).scalars())
    case_id = ids.new_id(now, expected.code, taken)
    connection.execute(
        insert(schema.case).values(
            id=case_id,
            title=codec.storable(title),
            opened=stamp(now),
            code=f"0x{expected.code:x}",
            expected=codec.signature.encode(expected),
            load=codec.load_plan.encode(load),
            customer=customer_sha,
            drivers=codec.drivers.encode(()),
        )
    )
    if customer is not None:
        add_crash(connection, now, case_id, customer_sha, customer)
    return case_id


def find(connection: Connection, wanted: str) -> str:
    """The full id of the case `wanted` (see `ids.resolve`). Raises ConfigurationError."""
    rows = connection.execute(select(schema.case.c.id).order_by(schema.case.c.opened))
    return ids.resolve(wanted, list(rows.scalars()))


def claim(connection: Connection, case_id: str) -> None:
    """Hold the case's row until the transaction ends, so that its numbers count up without gaps.

    SQLite holds the whole file anyway. Raises ConfigurationError when there is no such case.
    """
    row = connection.execute(select(schema.case.c.id).where(schema.case.c.id == case_id).with_for_update())
    if row.first() is None:
        raise ConfigurationError(
            f"there is no case '{case_id}' in the journal", help="List the cases with 'lab case list'."
        )


def load_case(connection: Connection, case_id: str) -> Case:
    row = connection.execute(select(schema.case).where(schema.case.c.id == case_id)).one()
    crash = schema.crash
    crashes = connection.execute(
        select(crash.c.sha, crash.c.triage)
        .where(crash.c.case_id == case_id)
        .order_by(crash.c.added, crash.c.sha)
    )
    return Case(
        id=row.id,
        title=row.title,
        opened=row.opened,
        expected=codec.signature.decode(row.expected),
        load=codec.load_plan.decode(row.load),
        drivers=codec.drivers.decode(row.drivers),
        trials=ended_trials(connection, case_id),
        crashes={c.sha: codec.triage.decode(c.triage) for c in crashes},
        customer=row.customer,
        verdict=codec.optional(codec.verdict.decode, row.verdict),
        entries=tuple(entries(connection, case_id, after=0)),
    )


def summaries(connection: Connection) -> list[CaseSummary]:
    """All cases, newest first."""
    trial, crash = schema.trial, schema.crash
    trials = {
        r.case_id: (r.ended, r.begun - r.ended)
        for r in connection.execute(
            select(
                trial.c.case_id, func.count().label("begun"), func.count(trial.c.ended).label("ended")
            ).group_by(trial.c.case_id)
        )
    }
    counted = select(crash.c.case_id, func.count().label("seen")).group_by(crash.c.case_id)
    crashes = {r.case_id: r.seen for r in connection.execute(counted)}
    rows = connection.execute(select(schema.case).order_by(schema.case.c.opened.desc(), schema.case.c.id))
    return [
        CaseSummary(
            id=r.id,
            title=r.title,
            opened=r.opened,
            expected=codec.signature.decode(r.expected),
            verdict=codec.optional(codec.verdict.decode, r.verdict),
            trials=trials.get(r.id, (0, 0))[0],
            running=trials.get(r.id, (0, 0))[1],
            crashes=crashes.get(r.id, 0),
        )
        for r in rows
    ]


def set_drivers(connection: Connection, case_id: str, drivers: tuple[Driver, ...]) -> None:
    claim(connection, case_id)
    values = {"drivers": codec.drivers.encode(drivers)}
    connection.execute(update(schema.case).where(schema.case.c.id == case_id).values(values))


def set_load(connection: Connection, case_id: str, load: LoadPlan) -> None:
    claim(connection, case_id)
    values = {"load": codec.load_plan.encode(load)}
    connection.execute(update(schema.case).where(schema.case.c.id == case_id).values(values))


def set_verdict(connection: Connection, case_id: str, verdict: Verdict) -> None:
    claim(connection, case_id)
    values = {"verdict": codec.verdict.encode(verdict)}
    connection.execute(update(schema.case).where(schema.case.c.id == case_id).values(values))


def add_crash(connection: Connection, now: datetime, case_id: str, sha: str, triage: Triage) -> bool:
    """False when the case has this dump already: the first reading of a dump stays."""
    claim(connection, case_id)
    crash = schema.crash
    known = connection.execute(select(crash.c.sha).where(crash.c.case_id == case_id, crash.c.sha == sha))
    if known.first() is not None:
        return False
    connection.execute(
        insert(crash).values(
            case_id=case_id,
            sha=sha,
            added=stamp(now),
            code=f"0x{triage.bugcheck.code:x}",
            triage=codec.triage.encode(triage),
        )
    )
    return True


def add_entry(
    connection: Connection, now: datetime, case_id: str, kind: EntryKind, text: str, trial: int | None
) -> Entry:
    claim(connection, case_id)
    last = connection.execute(
        select(func.max(schema.entry.c.number)).where(schema.entry.c.case_id == case_id)
    ).scalar()
    entry = Entry((last or 0) + 1, stamp(now), kind, codec.storable(text), trial)
    connection.execute(
        insert(schema.entry).values(
            case_id=case_id,
            number=entry.number,
            time=entry.time,
            kind=kind.value,
            text=entry.text,
            trial=trial,
        )
    )
    return entry


def entries(connection: Connection, case_id: str, after: int) -> list[Entry]:
    table = schema.entry
    rows = connection.execute(
        select(table).where(table.c.case_id == case_id, table.c.number > after).order_by(table.c.number)
    )
    return [Entry(r.number, r.time, EntryKind(r.kind), r.text, r.trial) for r in rows]
