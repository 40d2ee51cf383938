"""What can go wrong on an SMB connection, each as one sentence without a secret."""

from __future__ import annotations

import os

from lab.model import CredentialsRefused, InfrastructureError, LabError
from lab.smb.ntstatus import status_name


class Unreachable(InfrastructureError):
    """No SMB connection: refused, reset, closed or silent. The only kind worth trying again."""

    help = "See whether the host is up and its SMB port is open, or run 'lab host check NAME'."


class AccessDenied(InfrastructureError):
    """Logged on, but not allowed."""

    help = "Give the account access to that share; ADMIN$ needs an administrator of the guest."


class NotThere(InfrastructureError):
    """A share or a file that does not exist."""

    help = "Correct the share names of this host in the inventory, or create the share."


class Busy(InfrastructureError):
    """A file that another process of the guest holds for itself (STATUS_SHARING_VIOLATION)."""

    help = "Wait until the guest has finished writing that file."


class ShareFull(InfrastructureError):
    """No space left for what is written to a share."""

    help = "Free some space on the disk of that share."


class NotOffered(InfrastructureError):
    """The server cannot do what the inventory insists on: a dialect, signing, or encryption."""

    help = "Change 'dialects', 'signing' or 'encryption' of this host's smb settings, or the server's."


class Malformed(InfrastructureError):
    """An answer that breaks the protocol: a defect of the server, or someone in between."""

    help = "See that the address is that of an SMB2 server and that nothing on the way changes its messages."

    def at(self, place: str) -> Malformed:
        """The same, naming the server where the sentence does not."""
        return self if place in self.message else type(self)(f"{place}: {self.message}")


_REFUSED = frozenset(
    {
        "STATUS_LOGON_FAILURE",
        "STATUS_WRONG_PASSWORD",
        "STATUS_NO_SUCH_USER",
        "STATUS_PASSWORD_EXPIRED",
        "STATUS_ACCOUNT_RESTRICTION",
        "STATUS_ACCOUNT_DISABLED",
        "STATUS_ACCOUNT_EXPIRED",
        "STATUS_ACCOUNT_LOCKED_OUT",
        "STATUS_PASSWORD_MUST_CHANGE",
        "STATUS_INVALID_LOGON_HOURS",
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
_FULL = frozenset({"STATUS_DISK_FULL", "STATUS_QUOTA_EXCEEDED"})


def of_status(status: int, place: str, user: str, what: str) -> LabError:
    """The error that an NTSTATUS of `place` means for `what`, as "file 'a' of share 'b'"."""
    name = status_name(status)
    if name in _REFUSED:
        return CredentialsRefused(f"credentials refused for user '{user}' at {place} ({name})")
    if name == "STATUS_ACCESS_DENIED":
        return AccessDenied(f"access denied for user '{user}' to {what} on {place}")
    if name in _MISSING:
        return NotThere(f"{what} does not exist on {place}")
    if name == "STATUS_SHARING_VIOLATION":
        return Busy(f"{what} is in use on {place}")
    if name in _FULL:
        return ShareFull(f"{place} has no space left for {what} ({name})")
    if name in _GONE:
        return Unreachable(f"{place} dropped the session during {what} ({name})")
    return InfrastructureError(f"{place} answered {name} to {what}")


def reason(error: OSError) -> str:
    """The plain cause of a lost or refused connection."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if error.errno:
        return os.strerror(error.errno).lower() if error.errno > 0 else "the name is not known"
    return "the connection was closed"
