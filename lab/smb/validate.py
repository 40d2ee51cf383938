"""Was the negotiation changed on its way? FSCTL_VALIDATE_NEGOTIATE_INFO (MS-SMB2 2.2.31.4, 3.2.5.5).

NEGOTIATE itself goes unprotected. 3.1.1 binds the session's keys to it (preauthentication integrity); for a
lower dialect the client asks once more, signed, what was offered and chosen.
"""

from __future__ import annotations

import struct

from lab.smb.errors import Malformed, Unreachable
from lab.smb.logon import Session
from lab.smb.messages import ioctl_request, parse_ioctl
from lab.smb.negotiate import SMB3, SMB311, capabilities, security_mode
from lab.smb.ntstatus import (
    STATUS_FILE_CLOSED,
    STATUS_INVALID_DEVICE_REQUEST,
    STATUS_NOT_SUPPORTED,
    status_name,
)
from lab.smb.target import Security
from lab.smb.wire import Command

VALIDATE_NEGOTIATE_INFO = 0x0014_0204
_FIELDS = struct.Struct("<I16sHH")  # capabilities, GUID, security mode; then how many dialects, or which one

_UNKNOWN_TO_IT = frozenset({STATUS_FILE_CLOSED, STATUS_INVALID_DEVICE_REQUEST, STATUS_NOT_SUPPORTED})
"""What servers older than 3.0 answer to an FSCTL that they do not know. It is signed like any answer here,
and every server that speaks 3.x knows it: nobody can have taken 3.x away then."""


def validate_negotiation(session: Session, tree_id: int, security: Security) -> None:
    """Ask the server whether it was offered what we offered, and chose what we were told.

    Raises Malformed when not. A server to which something else was offered closes the connection, which is
    Unreachable. Nothing is asked where there is nothing to lose: in 3.1.1, or when no 3.x was offered.
    """
    connection = session.connection
    if connection.dialect == SMB311 or max(security.dialects) < SMB3:
        return
    agreed = connection.agreed
    assert agreed is not None
    dialects = security.dialects
    offered = _FIELDS.pack(
        capabilities(security), connection.guid, security_mode(security), len(dialects)
    ) + struct.pack(f"<{len(dialects)}H", *dialects)
    try:
        reply = connection.exchange(
            Command.IOCTL,
            ioctl_request(VALIDATE_NEGOTIATE_INFO, offered, room=_FIELDS.size),
            session=session,
            tree_id=tree_id,
            sign=session.key,
        )
    except Unreachable as error:
        raise Unreachable(
            f"{error.message}, asked to confirm the negotiation: servers do so when it was changed on its way"
        ) from None
    if reply.status in _UNKNOWN_TO_IT and connection.dialect < SMB3:
        return
    if reply.status:
        raise Malformed(
            f"{connection.place} answered {status_name(reply.status)} when asked to confirm the negotiation"
        )
    answer = bytes(reply.read(parse_ioctl))
    chosen = _FIELDS.pack(agreed.capabilities, agreed.server_guid, agreed.security_mode, agreed.dialect)
    if answer != chosen:
        raise Malformed(f"the negotiation with {connection.place} was changed on its way")
