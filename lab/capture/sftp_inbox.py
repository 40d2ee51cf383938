"""What an SSH channel has received."""

from __future__ import annotations

import threading
from collections import deque

from paramiko import SSHException
from paramiko.buffered_pipe import PipeTimeout


class Inbox:
    """In place of paramiko's BufferedPipe, which moves all that waits at each read: this keeps chunks."""

    def __init__(self, most: int) -> None:
        """`most` bytes may wait: a server that sends more than its window loses the connection."""
        self._most, self._waiting = most, 0
        self._changed = threading.Condition()
        self._chunks: deque[bytes] = deque()
        self._closed = False

    def feed(self, data: bytes) -> None:
        with self._changed:
            if self._waiting + len(data) > self._most:
                raise SSHException("more data than the window allows")
            self._chunks.append(data)
            self._waiting += len(data)
            self._changed.notify()

    def read(self, size: int, timeout: float | None = None) -> bytes:
        with self._changed:
            if not self._changed.wait_for(lambda: self._chunks or self._closed, timeout):
                raise PipeTimeout
            if not self._chunks:
                return b""
            chunk = self._chunks.popleft()
            if len(chunk) > size:
                self._chunks.appendleft(chunk[size:])
            self._waiting -= min(size, len(chunk))
            return chunk[:size]

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __len__(self) -> int:
        with self._changed:
            return self._waiting
