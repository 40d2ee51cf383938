"""What an SSH channel has received."""

from __future__ import annotations

import threading
from collections import deque

from paramiko import SSHException
from paramiko.buffered_pipe import PipeTimeout


class Inbox:
    """In place of paramiko's BufferedPipe, which moves all that waits at each read: this keeps chunks.

    For one reader, which gets all that it asks for, and is woken when that is here: not by every packet.
    """

    def __init__(self, most: int) -> None:
        """`most` bytes may wait: a server that sends more than its window loses the connection."""
        self._most, self._waiting, self._wanted = most, 0, 0
        self._changed = threading.Condition()
        self._chunks: deque[memoryview] = deque()
        self._closed = False

    def feed(self, data: bytes) -> None:
        with self._changed:
            if self._waiting + len(data) > self._most:
                raise SSHException("more data than the window allows")
            self._chunks.append(memoryview(data))
            self._waiting += len(data)
            if self._waiting >= self._wanted:
                self._changed.notify()

    def read(self, size: int, timeout: float | None = None) -> bytes:
        """`size` bytes; fewer when no more will come. PipeTimeout after `timeout` seconds without any."""
        with self._changed:
            self._wanted = size
            while self._waiting < size and not self._closed:
                before = self._waiting
                if not self._changed.wait(timeout) and self._waiting == before:
                    raise PipeTimeout
            taken, missing = [], min(size, self._waiting)
            self._waiting -= missing
            while missing:
                chunk = self._chunks.popleft()
                if len(chunk) > missing:
                    self._chunks.appendleft(chunk[missing:])
                    chunk = chunk[:missing]
                taken.append(chunk)
                missing -= len(chunk)
            return b"".join(taken)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __len__(self) -> int:
        with self._changed:
            return self._waiting
