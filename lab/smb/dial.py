"""Connect to a server and agree with it on how to talk."""

from __future__ import annotations

import socket
import time

from lab.smb.connection import Connection
from lab.smb.errors import Malformed, NotOffered, Unreachable, reason
from lab.smb.keys import PreauthHash
from lab.smb.negotiate import SMB311, dialect_name, negotiate_request, parse_negotiate
from lab.smb.ntstatus import STATUS_NOT_SUPPORTED, status_name
from lab.smb.target import Security
from lab.smb.wire import Command


def open_connection(host: str, port: int, security: Security, *, seconds: float) -> Connection:
    """Connect and negotiate within `seconds`. Raises Unreachable, NotOffered, Malformed."""
    place = f"{host}:{port}"
    until = time.monotonic() + seconds
    try:
        sock = socket.create_connection((host, port), timeout=seconds)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        raise Unreachable(f"no SMB connection to {place}: {reason(error)}") from None
    except UnicodeError:  # an empty or endless part, as in 'srv1..example'
        raise Unreachable(f"no SMB connection to {place}: that is no host's name") from None
    connection = Connection(sock, place, seconds)
    connection.until = until
    try:
        _negotiate(connection, security)
    except BaseException:
        connection.close()
        raise
    connection.until = None
    return connection


def _negotiate(connection: Connection, security: Security) -> None:
    reply = connection.exchange(Command.NEGOTIATE, negotiate_request(security, connection.guid))
    if reply.status == STATUS_NOT_SUPPORTED:
        offered = ", ".join(map(dialect_name, security.dialects))
        raise NotOffered(f"{connection.place} speaks none of the dialects {offered}")
    if reply.status:
        raise Malformed(f"{connection.place} answered {status_name(reply.status)} to the choice of a dialect")
    connection.agreed = reply.read(parse_negotiate, security, connection.place)
    if connection.dialect == SMB311:
        connection.preauth = PreauthHash()
        for message in connection.last:
            connection.preauth.update(message)
