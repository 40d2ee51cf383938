"""Where a load or a fetch goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


class Secret(Protocol):
    """A secret that is shown only when asked for by name."""

    def reveal(self) -> str: ...


@dataclass(frozen=True)
class SmbTarget:
    """An SMB2 server of the inventory. Its representation never holds the password.

    `user` is "name" or "DOMAIN\\name". `data_share` is read by the load and holds its data file;
    `admin_share` is the share whose root is %SystemRoot% (ADMIN$ on a Windows server).
    """

    host: str
    port: int
    user: str
    password: Secret | str = field(repr=False)
    data_share: str
    admin_share: str

    @property
    def place(self) -> str:
        """`host:port`, for messages."""
        return f"{self.host}:{self.port}"


def revealed(password: Secret | str) -> str:
    """The password's text. Never put it into a message or a log."""
    return password if isinstance(password, str) else password.reveal()
