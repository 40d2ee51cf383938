"""Are the answers the server's? Checked for all of them, for one in so many, or not at all."""

from __future__ import annotations

from lab.smb.errors import Malformed
from lab.smb.load.answers import Shape
from lab.smb.load.tape import Address
from lab.smb.ntstatus import STATUS_NETWORK_SESSION_EXPIRED, STATUS_USER_SESSION_DELETED
from lab.smb.sealing import TRANSFORM_SIZE
from lab.smb.wire import Flags, Header

PEEK_FROM = 32 * 1024
"""Bytes of a sealed frame from which decrypting its headers only is cheaper than opening it, which tells also
whether it is authentic."""

_PEEKED = 84
_WITHOUT_KEY = frozenset({STATUS_USER_SESSION_DELETED, STATUS_NETWORK_SESSION_EXPIRED})
"""What the server cannot sign or seal."""


class Guard:
    """Checks the answers of one session as LoadPlan.verify_every says; `verified` counts those checked.

    That a final answer is signed, or sealed, where its request was is checked for each of them.
    """

    def __init__(self, address: Address, verify_every: int, place: str) -> None:
        self.signer, self.sealer, self.every = address.signer, address.sealer, verify_every
        self._session_id, self._place = address.session_id, place
        self._until = 1
        self.verified = 0

    @property
    def next_is_due(self) -> bool:
        """Whether the next answer will be checked."""
        return bool(self.signer and self.every) and self._until == 1

    def due(self) -> bool:
        """Whether the next answer is one of those to check; asked once an answer."""
        if not self.every:
            return False
        self._until -= 1
        if self._until:
            return False
        self._until = self.every
        return True

    def check_session(self, head: Header) -> None:
        """An answer must be for the session whose request it answers (MS-SMB2 2.2.1.2)."""
        if head.session_id != self._session_id:
            raise Malformed(f"{self._place} sent an answer for another session ({head.session_id:#x})")

    def check(self, message: memoryview, head: Header, *, sealed: bool) -> None:
        """A final answer must be protected as its request was (MS-SMB2 3.2.5.1.1, 3.2.5.1.3)."""
        if sealed or (head.status in _WITHOUT_KEY and not head.flags & Flags.SIGNED):
            return
        if self.sealer:
            raise Malformed(f"{self._place} answered an encrypted request in the clear")
        if self.signer is None:
            return
        if not head.flags & Flags.SIGNED:
            raise Malformed(f"{self._place} sent an unsigned answer")
        if self.due():
            if not self.signer.verify(message):
                raise self.forged()
            self.verified += 1

    def check_run(self, data: bytearray, start: int, shape: Shape, count: int) -> int:
        """The same for a run of `count` answers, signed all of them, that begins at `start`: how many of them
        come before the first whose signature is wrong."""
        if self.signer is None or not self.every:
            return count
        first = self._until - 1
        due = range(first, count, self.every)
        for index in due:
            begins, ends = shape.span(index)
            if not self.signer.verify_span(data, start + begins, start + ends):
                return index
            self.verified += 1
        self._until = first + len(due) * self.every - count + 1
        return count

    def open(self, frame: memoryview) -> bytes:
        """The message of a sealed frame; of a large one that is not to be checked, only its beginning."""
        if self.sealer is None:
            raise self._unasked()
        if len(frame) >= PEEK_FROM and not self.due():
            return self.sealer.peek(frame, _PEEKED)
        return self.open_whole(frame)

    def open_whole(self, frame: memoryview) -> bytes:
        """The whole message of a sealed frame, authenticated."""
        if self.sealer is None:
            raise self._unasked()
        plain = self.sealer.unseal(frame)
        self.verified += 1
        return plain

    def _unasked(self) -> Malformed:
        return Malformed(f"{self._place} sent an encrypted answer to an unencrypted request")

    def forged(self) -> Malformed:
        return Malformed(f"the signature of an answer of {self._place} is wrong")


def sealed_length(frame: memoryview) -> int:
    """Bytes of the message within a sealed frame."""
    return len(frame) - TRANSFORM_SIZE
