"""The bytes that come in: one buffer, from which whole frames are taken where they lie."""

from __future__ import annotations

import socket

from lab.smb.errors import Malformed
from lab.smb.wire import FRAMING, HEADER_SIZE, LARGEST_FRAME

_ROOM = 256 * 1024
_WORTH_MOVING = 8 * 1024


class Incoming:
    """`data[start:end]` is what has come and is not taken yet; it never holds more than `room` bytes.

    `largest` is the longest frame (without its 4 bytes of framing) that may come, `typical` the length of
    those that will mostly come, framing included.
    """

    def __init__(self, sock: socket.socket, *, largest: int, typical: int, rest: bytes = b"") -> None:
        self._socket = sock
        self._largest = min(largest, LARGEST_FRAME)
        self.room = max(_ROOM // typical * typical, 4 + self._largest, len(rest)) + typical
        self.data = bytearray(self.room)
        self.view = memoryview(self.data)
        self.start, self.end = 0, len(rest)
        self.view[: len(rest)] = rest

    def __len__(self) -> int:
        return self.end - self.start

    def receive(self, most: int | None = None) -> int:
        """Take in what the socket has, up to `most` bytes; their number, 0 at the end of the stream.

        Raises BlockingIOError when there is nothing, OSError when the connection is lost.
        """
        end = self.end if most is None else min(self.room, self.end + most)
        space = self.view[self.end :] if most is None else self.view[self.end : end]
        got = self._socket.recv_into(space)
        self.end += got
        return got

    def settle(self) -> None:
        """Make room for more: what is left moves to the front, when it is little or no room is behind it."""
        left = self.end - self.start
        if left == 0:
            self.start = self.end = 0
        elif self.start and (left <= _WORTH_MOVING or self.room - self.start < 4 + self._largest):
            self.data[:left] = self.data[self.start : self.end]
            self.start, self.end = 0, left

    def frame(self) -> memoryview | None:
        """The message of the next frame, which is taken; None when it has not come whole."""
        if self.end - self.start < 4:
            return None
        (length,) = FRAMING.unpack_from(self.data, self.start)
        if not HEADER_SIZE <= length <= self._largest:
            raise Malformed(f"a frame of {length} bytes; {HEADER_SIZE} to {self._largest} can be")
        first = self.start + 4
        if self.end - first < length:
            return None
        self.start = first + length
        return self.view[first : self.start]

    def rest(self) -> bytes:
        return bytes(self.view[self.start : self.end])
