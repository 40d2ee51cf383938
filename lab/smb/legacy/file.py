"""An open file on a share."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

from lab.model import InfrastructureError
from lab.smb.errors import Unreachable
from lab.smb.legacy.flight import Flights
from lab.smb.legacy.translate import translated

if TYPE_CHECKING:
    from lab.smb.legacy.session import Share

CHUNK = 64 * 1024
"""Bytes of one READ or WRITE: the most that costs one credit (MS-SMB2 3.2.4.1.5)."""

DEPTH = 16
"""READs in flight of one `read_at`."""


class RemoteFile:
    """Random access to a file of a `Share`. Made by `Share.open` and `Share.create`."""

    def __init__(self, share: Share, handle: Any, what: str) -> None:
        self._share, self.handle, self._what = share, handle, what

    def __enter__(self) -> RemoteFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    @property
    def length(self) -> int:
        """Bytes at the time of opening."""
        return int(self.handle.end_of_file)

    @property
    def modified(self) -> datetime:
        """Time of last write at the time of opening, UTC without a zone."""
        when: datetime = self.handle.last_write_time
        return when

    def read_at(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`; fewer only at the end of the file. Several READs are in flight."""
        flights = self._share.flights()
        step = min(CHUNK, int(self.handle.connection.max_read_size))
        todo = [(at, min(step, offset + size - at)) for at in range(offset, offset + size, step)]
        todo.reverse()
        pieces: dict[int, bytes] = {}
        while todo or len(flights):
            try:
                while todo and len(flights) < DEPTH and flights.credits > 0:
                    at, length = todo.pop()
                    flights.send_read(self.handle, at, length, want=2)
            except Exception as error:
                raise translated(error, self._share.target, self._what) from None
            self._collect(flights, pieces)
        return _joined(pieces, offset)

    def _collect(self, flights: Flights, pieces: dict[int, bytes]) -> None:
        for landing in flights.collect(0.2):
            if landing.status not in ("", "STATUS_END_OF_FILE"):
                raise InfrastructureError(
                    f"{self._share.target.place} answered {landing.status} to reading {self._what}"
                )
            pieces[landing.flight.offset] = landing.data
        if len(flights) and not self._share.alive:
            raise Unreachable(
                f"the connection to {self._share.target.place} was lost while reading {self._what}"
            )
        if len(flights) and time.monotonic() - flights.heard > self._share.seconds:
            raise Unreachable(
                f"{self._share.target.place} has not answered for {self._share.seconds:g} s "
                f"while reading {self._what}"
            )

    def write_at(self, offset: int, data: bytes) -> None:
        """Write all of `data`, 64 KiB at a time."""
        step = min(CHUNK, int(self.handle.connection.max_write_size))
        for at in range(0, len(data), step):
            message, parse = self.handle.write(data[at : at + step], offset + at, send=False)
            self._share.exchange(message, parse, what=f"writing {self._what}")

    def close(self) -> None:
        """Close the handle; never raises."""
        if self._share.alive:
            with suppress(Exception):
                self._share.exchange(*self.handle.close(send=False), what=self._what)


def _joined(pieces: dict[int, bytes], offset: int) -> bytes:
    """The pieces from `offset` on, up to the first gap (a short READ is the end of the file)."""
    out = bytearray()
    while piece := pieces.get(offset + len(out)):
        out += piece
    return bytes(out)
