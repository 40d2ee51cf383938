"""What can go wrong on an SMB connection, each as one sentence without a secret."""

from __future__ import annotations

from lab.model import InfrastructureError


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
