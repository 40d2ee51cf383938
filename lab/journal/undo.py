"""How to take back what was changed on a host, written before the change is made."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from lab.journal import codec, schema
from lab.journal.times import stamp
from lab.model import ConfigurationError

JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]

_SECRET = re.compile(r"passw|secret|credential|token|api_?key", re.IGNORECASE)


@dataclass(frozen=True)
class Undo:
    """Run guest script `script` with `parameters` on `host` to take back `what` (one sentence)."""

    id: int
    host: str
    written: str  # UTC, ISO 8601
    what: str
    script: str
    parameters: Mapping[str, JSON]


def push(
    connection: Connection, now: datetime, host: str, what: str, script: str, parameters: Mapping[str, JSON]
) -> int:
    for name in parameters:
        if _SECRET.search(name):
            raise ConfigurationError(
                f"undo of '{what}' would write the secret '{name}' to the journal",
                help="Give the script a reference to the secret, not the secret.",
            )
    result = connection.execute(
        insert(schema.undo).values(
            host=host,
            written=stamp(now),
            what=codec.storable(what),
            script=script,
            parameters=codec.dump_json(dict(parameters)),
        )
    )
    (key,) = result.inserted_primary_key or (0,)
    return int(key)


def pending(connection: Connection, host: str | None) -> list[Undo]:
    """What is not yet taken back on `host` (None: on any host), newest first."""
    table = schema.undo
    query = select(table).where(table.c.done.is_(None)).order_by(table.c.id.desc())
    if host is not None:
        query = query.where(table.c.host == host)
    return [
        Undo(r.id, r.host, r.written, r.what, r.script, json.loads(r.parameters))
        for r in connection.execute(query)
    ]


def done(connection: Connection, now: datetime, undo_id: int) -> None:
    """Mark an entry as taken back; once more changes nothing. Raises ConfigurationError when unknown."""
    table = schema.undo
    if connection.execute(select(table.c.id).where(table.c.id == undo_id)).first() is None:
        raise ConfigurationError(f"the journal has no undo entry {undo_id}", help="See 'lab case show'.")
    connection.execute(
        update(table).where(table.c.id == undo_id, table.c.done.is_(None)).values(done=stamp(now))
    )
