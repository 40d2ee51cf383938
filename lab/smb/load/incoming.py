"""The bytes that come in: one buffer, from which whole frames are taken where they lie."""

from __future__ import annotations

import socket

from lab.smb.errors import Malformed
from lab.smb.load.waiting import DISCARD, MOST_GATHERED
from lab.smb.wire import FRAMING, HEADER_SIZE, LARGEST_FRAME

_ROOM = 512 * 1024
_FRAMES = 2 * MOST_GATHERED
_WORTH_MOVING = 8 * 1024


class Incoming:
    """`data[start:end]` is what has come and is not taken yet; it never holds more than `room` bytes.

    `largest` is the longest frame (without its 4 bytes of framing) that may come, `typical` the length of
    those that will mostly come, framing included.
    """

    def __init__(self, sock: socket.socket, *, largest: int, typical: int, rest: bytes = b"") -> None:
        self._socket = sock
        self._largest = min(largest, LARGEST_FRAME)
        self.room = max(min(_ROOM // typical, _FRAMES) * typical, 4 + self._largest, len(rest)) + typical
        self.data = bytearray(self.room)
        self.view = memoryview(self.data)
        self.start, self.end = 0, len(rest)
        self.view[: len(rest)] = rest
        self.dropping = 0
        """Bytes that are still to come and are not wanted. While there are any, nothing is kept."""

    def receive(self) -> int:
        """Take in what the socket has; the number of bytes, 0 at the end of the stream.

        Raises BlockingIOError when there is nothing, OSError when the connection is lost.
        """
        got = self._socket.recv_into(self.view[self.end :])
        self.end += got
        if self.dropping:
            dropped = min(self.dropping, got)
            self.start += dropped
            self.dropping -= dropped
        return got

    def receive_head(self, size: int) -> int:
        """The same for those bytes only that are missing to `size` bytes, or to the frame if it is longer.
        What is not wanted does not leave the kernel. Only where `DISCARD` is known."""
        if self.dropping:
            got = self._socket.recv_into(self.view, min(self.dropping, self.room), DISCARD)
            self.dropping -= got
            return got
        if self.end - self.start >= 4:
            size = max(size, 4 + FRAMING.unpack_from(self.data, self.start)[0])
        missing = max(1, size - (self.end - self.start))
        got = self._socket.recv_into(self.view[self.end : self.end + missing])
        self.end += got
        return got

    def drop(self, head: int, size: int) -> None:
        """Take `head` bytes, and the `size` bytes behind them. Those that have not come yet will not be
        kept; there are none behind them."""
        here = min(size, self.end - self.start - head)
        self.start += head + here
        self.dropping = size - here

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
