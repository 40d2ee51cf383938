"""Provisioned hosts: written as intended before anything is made, ended when nothing is left of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from lab.journal import codec, schema
from lab.journal.times import moment, stamp
from lab.model import ConfigurationError, InfrastructureError


@dataclass(frozen=True)
class Provision:
    """`host` of `pool`, provisioned by `owner`. Times are UTC, ISO 8601.

    Without `ready` it is being made, or was half-made by a process that died; with it, it was handed out.
    """

    id: int
    host: str
    pool: str
    how: str  # one sentence: what is made, or done to it
    owner: str
    intended: str
    ready: str | None


def lab_id(connection: Connection) -> str:
    return str(connection.execute(select(schema.lab.c.id)).scalars().one())


def begin(connection: Connection, now: datetime, host: str, pool: str, how: str, owner: str) -> int:
    """Raises InfrastructureError when the host has an entry that has not ended."""
    table = schema.provision
    found = next((each for each in pending(connection) if each.host.casefold() == host.casefold()), None)
    if found is not None:
        what = "handed out" if found.ready else "half-made"
        raise InfrastructureError(
            f"host {found.host} is {what} already, by {found.owner} at {found.ready or found.intended}",
            help=f"Hand it back by 'lab provision return {found.host}'."
            if found.ready
            else "Let 'lab machine reap' take it back.",
        )
    values = {"host": host, "pool": pool, "how": codec.storable(how), "owner": codec.storable(owner)}
    result = connection.execute(insert(table).values(intended=stamp(now), **values))
    (key,) = result.inserted_primary_key or (0,)
    return int(key)


def pending(connection: Connection) -> list[Provision]:
    """Those that have not ended, oldest first."""
    table = schema.provision
    rows = connection.execute(select(table).where(table.c.ended.is_(None)).order_by(table.c.id))
    return [Provision(r.id, r.host, r.pool, r.how, r.owner, r.intended, r.ready) for r in rows]


def ready(connection: Connection, now: datetime, key: int) -> None:
    _mark(connection, key, ready=stamp(now))


def end(connection: Connection, now: datetime, key: int) -> None:
    """Once more changes nothing."""
    _mark(connection, key, ended=stamp(now))


def seconds(connection: Connection, pool: str) -> list[float]:
    """How long the pool's hosts took until they were ready, oldest first."""
    table = schema.provision
    query = select(table).where(table.c.pool == pool, table.c.ready.is_not(None)).order_by(table.c.id)
    return [(moment(r.ready) - moment(r.intended)).total_seconds() for r in connection.execute(query)]


def _mark(connection: Connection, key: int, **times: str) -> None:
    table = schema.provision
    if connection.execute(select(table.c.id).where(table.c.id == key)).first() is None:
        raise ConfigurationError(
            f"the journal has no provisioned host {key}", help="See 'lab provision list'."
        )
    connection.execute(update(table).where(table.c.id == key, table.c.ended.is_(None)).values(**times))
