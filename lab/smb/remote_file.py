"""An open file on a share: random access, and streams, with many READs in flight."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from lab.smb.errors import Malformed, of_status
from lab.smb.messages import (
    close_request,
    parse_read,
    parse_write,
    read_request,
    write_request,
)
from lab.smb.ntstatus import STATUS_END_OF_FILE
from lab.smb.wire import CREDIT_BYTES, Command, charge_of

if TYPE_CHECKING:
    from lab.smb.outstanding import Reply
    from lab.smb.share import Share

CHUNK = 512 << 10
"""Bytes of one READ or WRITE at most, where a request may take several credits. On loopback half as fast
again as 1 MiB: what one answer brings stays in the processor's cache."""

WINDOW = 4 << 20
"""Bytes asked for and not yet received, at most."""


class _Asked(NamedTuple):
    """A READ in flight."""

    message_id: int
    offset: int
    size: int


class RemoteFile:
    """Random access to a file of a `Share`. Made by `Share.open` and `Share.create`.

    Not for two threads at once, nor for two uses of its share at once: a `stream` is walked to its end,
    or closed, before anything else is asked of the share.
    """

    def __init__(self, share: Share, file_id: bytes, length: int, modified: datetime, what: str) -> None:
        self._share, self.file_id, self._what = share, file_id, what
        self.length = length
        """Bytes at the time of opening."""
        self.modified = modified
        """Time of last write at the time of opening, UTC."""

    def __enter__(self) -> RemoteFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def read_at(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`; fewer only at the end of the file."""
        return b"".join(self.stream(offset, size))

    def stream(self, offset: int, size: int) -> Iterator[memoryview]:
        """The same in pieces, in order, while the next ones are on their way."""
        connection = self._share.connection
        asked: deque[_Asked] = deque()
        at, end = offset, offset + size
        try:
            while asked or at < end:
                while at < end and self._may_ask(asked, at):
                    asked.append(self._ask(at, min(end - at, self._chunk())))
                    at += asked[-1].size
                first = asked.popleft()
                data = self._data(connection.wait(first.message_id), first.size)
                if not data:
                    return
                yield data
                if len(data) < first.size:  # the end of the file, or a server that gives less: ask again
                    asked.appendleft(self._ask(first.offset + len(data), first.size - len(data)))
        finally:
            for each in asked:
                connection.drop(each.message_id)

    def write_at(self, offset: int, data: bytes) -> None:
        """Write all of `data`."""
        step = min(self._share.connection.max_write, CHUNK)
        view, at = memoryview(data), 0
        while at < len(view):
            piece = view[at : at + min(step, self._share.connection.credits.balance * CREDIT_BYTES or step)]
            body = write_request(self.file_id, offset + at, piece)
            reply = self._share.exchange(
                Command.WRITE, body, f"writing {self._what}", charge=charge_of(len(piece))
            )
            written = reply.read(parse_write)
            if not 0 < written <= len(piece):
                raise Malformed(f"{self._share.target.place} wrote {written} of {len(piece)} bytes")
            at += written

    def close(self) -> None:
        """Close the handle; never raises."""
        if self._share.alive:
            with suppress(Exception):
                self._share.exchange(Command.CLOSE, close_request(self.file_id), self._what)

    def _chunk(self) -> int:
        """Bytes that the next READ may ask for; at least what one credit pays for."""
        connection = self._share.connection
        return max(CREDIT_BYTES, min(CHUNK, connection.max_read, connection.credits.balance * CREDIT_BYTES))

    def _may_ask(self, asked: deque[_Asked], at: int) -> bool:
        """Whether one more READ fits the window and the credits. One is always in flight."""
        return not asked or (at - asked[0].offset < WINDOW and self._share.connection.credits.balance > 0)

    def _ask(self, offset: int, size: int) -> _Asked:
        message_id = self._share.connection.submit(
            Command.READ,
            read_request(self.file_id, offset, size),
            session=self._share.session,
            tree_id=self._share.tree_id,
            charge=charge_of(size),
        )
        return _Asked(message_id, offset, size)

    def _data(self, reply: Reply, asked: int) -> memoryview:
        """The bytes of an answer; none at the end of the file."""
        if reply.status == STATUS_END_OF_FILE:
            return memoryview(b"")
        if reply.status:
            target = self._share.target
            raise of_status(reply.status, target.place, target.user, f"reading {self._what}")
        return reply.read(parse_read, asked)
