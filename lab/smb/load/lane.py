"""What an engine drives: one connection's part of a load."""

from __future__ import annotations

from typing import Protocol

from lab.smb.load.tally import Tally


class Lane(Protocol):
    """One connection's part of a load. Every method that sends or receives raises Unreachable when the
    connection is lost and Malformed for an answer that breaks the protocol; `alive` is then False."""

    tally: Tally
    alive: bool
    heard: float  # the clock when the server's last byte came
    batch: int  # how many requests are best released at once

    @property
    def in_flight(self) -> int:
        """Requests (of a compound: compounds) that are sent and not answered."""

    @property
    def owed(self) -> int:
        """`in_flight`, and whatever else the server has to answer."""

    @property
    def blocked(self) -> bool:
        """Whether released requests wait for room in the socket; `receive` sends them when there is some."""

    @property
    def gathering(self) -> bool:
        """Whether the socket wakes its reader only for several answers at once. After PATIENCE without
        a wake-up `receive(0)` is due: it takes what is there."""

    def fileno(self) -> int: ...

    def build(self) -> None:
        """Lay out and sign what comes next: for idle time, before a barrier's release."""

    def release(self, count: int) -> int:
        """Put up to `count` more requests on the wire, as far as credits go; the number put there."""

    def receive(self, seconds: float) -> int:
        """Take in what comes within that time (0: what is there); the number of final answers."""

    def echo(self) -> None:
        """Ask for a sign of life. Does nothing when there is no credit for it."""

    def finish(self) -> None:
        """Give socket and credits back, so that files can be closed and the session logged off.

        Unanswered requests are lost; a connection that still owes answers is closed."""
