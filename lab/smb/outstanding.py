"""Requests whose answers are still to come (Connection.OutstandingRequests, MS-SMB2 3.2.1.2)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from lab.smb.credits import Credits
from lab.smb.errors import Malformed
from lab.smb.ntstatus import (
    STATUS_NETWORK_SESSION_EXPIRED,
    STATUS_PENDING,
    STATUS_USER_SESSION_DELETED,
    status_name,
)
from lab.smb.sealing import Sealer
from lab.smb.signing import Signer
from lab.smb.wire import UNSOLICITED, Flags, Header, parse_header

_MAY_BE_UNSIGNED = frozenset({STATUS_PENDING, STATUS_USER_SESSION_DELETED, STATUS_NETWORK_SESSION_EXPIRED})

P = ParamSpec("P")
T = TypeVar("T")


class Protection(Protocol):
    """What of a session a connection needs to know: how its messages go out, and must come in.

    `sealer` comes before `signer`: an encrypted message is not signed.
    """

    id: int

    @property
    def signer(self) -> Signer | None: ...
    @property
    def sealer(self) -> Sealer | None: ...


@dataclass(frozen=True)
class Reply:
    """A final answer of `place`: its header, and the whole message from its header on."""

    header: Header
    message: memoryview
    place: str = "the server"

    @property
    def status(self) -> int:
        return self.header.status

    def read(self, parse: Callable[Concatenate[memoryview, P], T], /, *args: P.args, **values: P.kwargs) -> T:
        """What `parse` finds in the message. Raises Malformed, which names the server."""
        try:
            return parse(self.message, *args, **values)
        except Malformed as error:
            raise error.at(self.place) from None


@dataclass(slots=True)
class Waiting:
    """A request in flight, and how its answer must be protected."""

    command: int
    signer: Signer | None
    sealed_for: Protection | None
    async_id: int = 0
    dropped: bool = False


class Outstanding:
    """The requests of one connection; every answer must be to one of them, and protected as it was."""

    def __init__(self, place: str, credits: Credits) -> None:
        self._place, self._credits = place, credits
        self._waiting: dict[int, Waiting] = {}
        self._arrived: dict[int, Reply] = {}
        self.breaks: deque[bytes] = deque(maxlen=1024)
        """Notifications that nobody asked for: oplock and lease breaks."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, message_id: int, request: Waiting) -> None:
        self._waiting[message_id] = request

    def get(self, message_id: int) -> Waiting | None:
        return self._waiting.get(message_id)

    def drop(self, message_id: int) -> None:
        """Let the answer to a request go unread."""
        if self._arrived.pop(message_id, None) is None and message_id in self._waiting:
            self._waiting[message_id].dropped = True

    def answer_of(self, message_id: int) -> Reply | None:
        """Take the final answer to a request, if it has come."""
        return self._arrived.pop(message_id, None)

    def answers(self) -> list[Reply]:
        """Take all final answers that have come."""
        found = list(self._arrived.values())
        self._arrived.clear()
        return found

    def take(self, message: memoryview, opened: Protection | None) -> Reply | None:
        """Account for one message; `opened` is the session that it was encrypted for.

        Returns it when it is a final answer. Raises Malformed for one that answers nothing or is not
        protected as it must be.
        """
        head = parse_header(message)
        if not head.flags & Flags.TO_CLIENT:
            raise Malformed(f"{self._place} sent a request, not an answer")
        if head.message_id == UNSOLICITED:
            self.breaks.append(bytes(message[:256]))
            return None
        waiting = self._waiting.get(head.message_id)
        if waiting is None or head.command != waiting.command:
            raise Malformed(f"{self._place} answered a request that was not made ({head.message_id})")
        self._check(message, head, waiting, opened)
        self._credits.grant(head.credits)
        if head.status == STATUS_PENDING and head.flags & Flags.ASYNC:
            if waiting.async_id:
                raise Malformed(f"{self._place} put one request off twice ({head.message_id})")
            waiting.async_id = head.async_id
            return None
        del self._waiting[head.message_id]
        reply = Reply(head, message, self._place)
        if not waiting.dropped:
            self._arrived[head.message_id] = reply
        return reply

    def _check(self, message: memoryview, head: Header, waiting: Waiting, opened: Protection | None) -> None:
        """An answer must be protected as its request was (MS-SMB2 3.2.5.1.1, 3.2.5.1.3)."""
        if head.status in _MAY_BE_UNSIGNED and not head.flags & Flags.SIGNED:
            return
        if waiting.sealed_for is not None:
            if opened is not waiting.sealed_for:
                raise Malformed(f"{self._place} answered an encrypted request in the clear")
        elif waiting.signer is not None and opened is None:
            if not head.flags & Flags.SIGNED:
                raise Malformed(f"{self._place} sent an unsigned answer ({status_name(head.status)})")
            if not waiting.signer.verify(message):
                raise Malformed(f"the signature of an answer of {self._place} is wrong")
