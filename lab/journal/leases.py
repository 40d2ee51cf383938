"""Leases: a host for one owner, until a time.

The fencing token grows with every lease of a host, so that an owner whose lease ran out while it
slept can be told from the next one. Times are the lab computers' clocks: with several of them, keep
the clocks within a few seconds and lease for minutes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from lab.journal import schema
from lab.journal.times import moment, stamp
from lab.model import ConfigurationError, InfrastructureError


@dataclass(frozen=True)
class Lease:
    """`host` belongs to `owner` until `expires` (UTC, ISO 8601)."""

    host: str
    owner: str
    token: int
    expires: str


def acquire(connection: Connection, now: datetime, host: str, owner: str, seconds: float) -> Lease:
    """Lease `host` for `seconds`. Raises InfrastructureError naming the holder while another lease runs.

    The same owner is refused too: two processes of one person are two users of the host.
    """
    if not owner:
        raise ConfigurationError("a lease needs an owner", help="Name who or what leases the host.")
    expires = _until(now, seconds)
    held = _held(connection, host) or _first(connection, host)
    if held.owner and moment(held.expires) > now:
        raise InfrastructureError(
            f"host {host} is leased by {held.owner} until {held.expires}",
            help="Wait until then, take another host, or let the holder release it.",
        )
    lease = Lease(host, owner, held.token + 1, expires)
    _write(connection, lease)
    return lease


def renew(connection: Connection, now: datetime, lease: Lease, seconds: float) -> Lease:
    """The same lease, longer. A lease that ran out is renewed as long as nobody else took the host.

    Raises InfrastructureError when the host is another's now: stop touching it.
    """
    held = _held(connection, lease.host)
    if held is None or held.token != lease.token or not held.owner:
        who = "released" if held is None or not held.owner else f"taken over by {held.owner}"
        raise InfrastructureError(
            f"the lease of host {lease.host} by {lease.owner} is lost: it was {who}",
            help="Start the step again; it will lease a host anew.",
        )
    renewed = Lease(lease.host, lease.owner, lease.token, _until(now, seconds))
    _write(connection, renewed)
    return renewed


def release(connection: Connection, now: datetime, lease: Lease) -> bool:
    """False when the lease was already lost; then nothing is changed."""
    held = _held(connection, lease.host)
    if held is None or held.token != lease.token or not held.owner:
        return False
    _write(connection, Lease(lease.host, "", lease.token, stamp(now)))
    return True


def current(connection: Connection, now: datetime) -> list[Lease]:
    """The leases that run, by host."""
    rows = connection.execute(select(schema.lease).order_by(schema.lease.c.host))
    leases = [Lease(r.host, r.owner, r.token, r.expires) for r in rows]
    return [lease for lease in leases if lease.owner and moment(lease.expires) > now]


def _until(now: datetime, seconds: float) -> str:
    if not 0 < seconds <= 30 * 24 * 3600:
        raise ConfigurationError(
            f"a lease of {seconds:g} s is not possible", help="Lease for seconds to days."
        )
    return stamp(now + timedelta(seconds=seconds))


def _held(connection: Connection, host: str) -> Lease | None:
    row = connection.execute(
        select(schema.lease).where(schema.lease.c.host == host).with_for_update()
    ).first()
    return None if row is None else Lease(row.host, row.owner, row.token, row.expires)


def _first(connection: Connection, host: str) -> Lease:
    """The row of a host that was never leased: released since ever."""
    try:
        with connection.begin_nested():
            connection.execute(insert(schema.lease).values(host=host, owner="", token=0, expires=""))
    except IntegrityError:  # another process was first; wait for it, and see what it wrote
        pass
    held = _held(connection, host)
    assert held is not None
    return held


def _write(connection: Connection, lease: Lease) -> None:
    connection.execute(
        update(schema.lease)
        .where(schema.lease.c.host == lease.host)
        .values(owner=lease.owner, token=lease.token, expires=lease.expires)
    )
