"""Waiting on one socket: for enough bytes, for room to send, for the end of the patience."""

from __future__ import annotations

import select
import socket
import sys

PATIENCE = 0.002
"""Seconds that answers may be kept waiting for more of them to come."""

MOST_GATHERED = 32
"""Answers gathered before one wake-up: more bring little."""

_LARGEST = 512 * 1024
_CALM = 64  # receives after which more is tried again

if sys.platform != "linux":  # elsewhere the option is missing, or its value is not obeyed
    _LOW_WATER = 0
else:
    _LOW_WATER = socket.SO_RCVLOWAT

DISCARD = socket.MSG_TRUNC if sys.platform == "linux" else 0
"""The flag of `recv` with which Linux drops bytes of a TCP stream without copying them; 0 elsewhere."""


class LowWater:
    """How many bytes must have come before the socket wakes its reader (SO_RCVLOWAT): many answers at once.

    Answers can be smaller than the expected ones (errors, the end of the file), so it is never above half of
    what is outstanding, falls when all that was to come was less, and takes its time to rise again.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.level = 1
        """Bytes that the socket waits for now."""
        self._socket = sock
        self._aim = 1
        self._calm = 0
        self._missed = False
        self._usable = bool(_LOW_WATER)

    def aim(self, outstanding: int, expected: int) -> None:
        """Set it for `outstanding` answers of `expected` bytes each."""
        level = min(outstanding // 2, MOST_GATHERED) * expected if outstanding > 3 else 1
        if level > self._aim:
            level = self._aim
        if level != self.level:
            self._set(level)

    def came(self, size: int, outstanding: int) -> None:
        """`size` bytes were received in one go, and so many answers are still to come.

        When none is, it was in vain that more bytes were waited for.
        """
        if not outstanding and (self._missed or size < self.level):
            self._aim = max(1, size // 2)
            self._calm = _CALM
        elif self._calm:
            self._calm -= 1
        elif self._aim <= size:
            self._aim = min(2 * size, _LARGEST)
        self._missed = False

    def missed(self) -> None:
        """So many bytes did not come within PATIENCE: wake for any byte this time."""
        self._missed = True
        self.lower()

    def lower(self) -> None:
        """Wake for any byte, until the next `aim`."""
        if self.level != 1:
            self._set(1)

    def _set(self, level: int) -> None:
        if not self._usable:
            return
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _LOW_WATER, level)
            self.level = level
        except OSError:
            self._usable = False


class Wait:
    """Waits until one socket is readable, or may be written to."""

    def __init__(self, sock: socket.socket) -> None:
        self._number = sock.fileno()
        self._poll: dict[bool, select.poll] | None = None
        if hasattr(select, "poll"):
            self._poll = {False: select.poll(), True: select.poll()}
            self._poll[False].register(self._number, select.POLLIN)
            self._poll[True].register(self._number, select.POLLIN | select.POLLOUT)

    def __call__(self, seconds: float, write: bool = False) -> bool:
        """False when nothing happened in time. Errors and the end of the stream are something to read."""
        if self._poll:
            return bool(self._poll[write].poll(max(0.0, seconds) * 1000))
        one = [self._number]
        ready = select.select(one, one if write else [], [], max(0.0, seconds))
        return any(ready)
