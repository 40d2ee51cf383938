"""Errors of smbprotocol as ours."""

from __future__ import annotations

import os
import re

from lab.model import CredentialsRefused, InfrastructureError, LabError
from lab.smb.errors import AccessDenied, Busy, NotThere, Unreachable
from lab.smb.legacy import wire
from lab.smb.target import SmbTarget

_REFUSED = frozenset(
    {
        "STATUS_LOGON_FAILURE",
        "STATUS_WRONG_PASSWORD",
        "STATUS_PASSWORD_EXPIRED",
        "STATUS_ACCOUNT_RESTRICTION",
        "STATUS_ACCOUNT_DISABLED",
        "STATUS_ACCOUNT_LOCKED_OUT",
        "STATUS_PASSWORD_MUST_CHANGE",
        "STATUS_LOGON_TYPE_NOT_GRANTED",
    }
)
_MISSING = frozenset(
    {
        "STATUS_BAD_NETWORK_NAME",
        "STATUS_OBJECT_NAME_NOT_FOUND",
        "STATUS_OBJECT_PATH_NOT_FOUND",
        "STATUS_NO_SUCH_FILE",
        "STATUS_NOT_FOUND",
    }
)
_GONE = frozenset(
    {
        "STATUS_NETWORK_NAME_DELETED",
        "STATUS_USER_SESSION_DELETED",
        "STATUS_NETWORK_SESSION_EXPIRED",
        "STATUS_CONNECTION_DISCONNECTED",
        "STATUS_CONNECTION_RESET",
    }
)


def translated(error: BaseException, target: SmbTarget, what: str) -> LabError:
    """`error` of smbprotocol or of a socket as one of ours; `what` names the thing that was tried."""
    if isinstance(error, LabError):
        return error
    if isinstance(error, wire.ResponseError):
        return _of_status(wire.status_name(int(error.status)), target, what)
    if isinstance(error, wire.AuthenticationError):
        return CredentialsRefused(f"credentials refused for user '{target.user}' at {target.place}")
    if isinstance(error, wire.SMBException) and "guest" in str(error):
        return CredentialsRefused(
            f"{target.place} took user '{target.user}' for a guest, which cannot sign its messages"
        )
    return Unreachable(f"no SMB connection to {target.place} for {what}: {reason(error)}")


def _of_status(name: str, target: SmbTarget, what: str) -> LabError:
    if name in _REFUSED:
        return CredentialsRefused(f"credentials refused for user '{target.user}' at {target.place} ({name})")
    if name == "STATUS_ACCESS_DENIED":
        return AccessDenied(f"access denied for user '{target.user}' to {what} on {target.place}")
    if name in _MISSING:
        return NotThere(f"{what} does not exist on {target.place}")
    if name == "STATUS_SHARING_VIOLATION":
        return Busy(f"{what} is in use on {target.place}")
    if name in _GONE:
        return Unreachable(f"{target.place} dropped the session during {what} ({name})")
    return InfrastructureError(f"{target.place} answered {name} to {what}")


def reason(error: BaseException) -> str:
    """The plain cause of a lost or refused connection, without smbprotocol's own wording."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, TimeoutError):
            return "no answer in time"
        if isinstance(seen, OSError) and seen.errno:
            return os.strerror(seen.errno).lower() if seen.errno > 0 else "the name is not known"
        seen = seen.__cause__
    if re.search("timeout|timed out", str(error), re.IGNORECASE):
        return "no answer in time"
    if isinstance(error, wire.SMBException | OSError):
        return "the connection was closed"
    return "the answer was not SMB2"
