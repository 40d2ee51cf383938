"""Messages over TCP (MS-SMB2 2.1): four bytes of length before each."""

from __future__ import annotations

import socket
import time

from lab.smb.wire import FRAMING, Buffer, frame_length

_ROOM = 1 << 16


class Stream:
    """One connected socket. Every method that waits raises TimeoutError at its deadline (time.monotonic),
    loses nothing by that, and raises another OSError when the connection is lost."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.received = bytearray()
        """What has come in and is not a whole message yet, or not asked for."""

    def send(self, message: Buffer, deadline: float) -> None:
        self.socket.settimeout(_left(deadline))
        self.socket.sendall(FRAMING.pack(len(message)) + message)

    def next(self, deadline: float, most: int) -> memoryview:
        """The next message, of at most `most` bytes. Malformed when what comes is not one."""
        self._fill(4, deadline)
        length = frame_length(self.received[:4], most)
        if length > _ROOM and len(self.received) < 4 + length:
            return self._large(length, deadline)
        self._fill(4 + length, deadline)
        message = memoryview(self.received[4 : 4 + length])
        del self.received[: 4 + length]
        return message

    def _fill(self, size: int, deadline: float) -> None:
        while len(self.received) < size:
            self.socket.settimeout(_left(deadline))
            data = self.socket.recv(_ROOM)
            if not data:
                raise ConnectionError
            self.received += data

    def _large(self, length: int, deadline: float) -> memoryview:
        """A long message, straight into its place."""
        view = memoryview(bytearray(length))
        have = len(self.received) - 4
        view[:have] = self.received[4:]
        try:
            while have < length:
                self.socket.settimeout(_left(deadline))
                count = self.socket.recv_into(view[have:])
                if not count:
                    raise ConnectionError
                have += count
        except TimeoutError:
            self.received[4:] = view[:have]
            raise
        self.received.clear()
        return view


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
