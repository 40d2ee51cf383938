"""What the null server can do in place of an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from nullsmb_wire import Answer, Request

if TYPE_CHECKING:
    from nullsmb_connection import Connection


@dataclass
class Sent:
    """An answer; `change` has the last word over its frame."""

    answer: Answer
    change: Callable[[bytes], bytes] | None = None


@dataclass
class Raw:
    """Bytes as they are, framing included."""

    data: bytes


@dataclass
class Late:
    seconds: float
    effects: Callable[[], list[Effect]]


@dataclass
class Ended:
    """`how`: close, reset, silence (answers nothing more, still reads), deaf (reads nothing more)."""

    how: str


Effect = Sent | Raw | Late | Ended


@dataclass
class Deed:
    """What an action works on."""

    answer: Answer
    request: Request
    connection: Connection
    rng: Random

    def grant(self, credits: int) -> None:
        """Other credits than the ledger had in mind."""
        self.connection.window.promised += credits - self.answer.credits
        self.answer.credits = credits
