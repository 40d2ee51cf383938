"""Runs of READ answers, looked at many at a time.

An answer that brings all bytes that were asked for has every field but its message id and its credits in
common with all others. So a run of them is one `unpack` with a struct for the whole run, and each field's
column is compared in one go; the payload is never touched. What does not fit is left to the careful reader.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import NamedTuple

from lab.smb.wire import FRAMING, PROTOCOL, Buffer, Command, Flags

ANSWER_SIZE = 84
"""Bytes of a READ's answer before its payload: framing, header, and the fixed part of its body."""

LONGEST_RUN = 32

_ROW = "Q4xQQQ32xQ8x"  # framing, protocol; status, command, credits; flags, next; message id; body
_MESSAGE = struct.Struct("<4s4xQQQ32xQ8x")
_DATA_OFFSET = 80
_CREDITS_SHIFT = 48
_STATUS_AND_COMMAND = (1 << _CREDITS_SHIFT) - 1


@lru_cache(maxsize=256)
def _rows(count: int, size: int) -> struct.Struct:
    return struct.Struct("<" + f"{_ROW}{size}x" * count)


class Run(NamedTuple):
    """Successful whole answers, one after another."""

    message_ids: tuple[int, ...]
    credits: int


class Expected:
    """What a successful answer to a READ of `size` bytes looks like, signed or not."""

    def __init__(self, size: int, *, signed: bool) -> None:
        self.size = size
        self.stride = ANSWER_SIZE + size
        self._head = int.from_bytes(FRAMING.pack(self.stride - 4) + PROTOCOL, "little")
        self._command = int(Command.READ) << 32
        self._flags = int(Flags.TO_CLIENT | (Flags.SIGNED if signed else 0))
        self._body = 17 | _DATA_OFFSET << 16 | size << 32

    def run(self, data: Buffer, start: int, end: int) -> Run | None:
        """The answers that begin at `start` and lie wholly before `end`; None when the first is not one."""
        count = min((end - start) // self.stride, LONGEST_RUN)
        if count == 0:
            return None
        fields = _rows(count, self.size).unpack_from(data, start)
        first = fields[1]
        if (
            fields[0::5].count(self._head) == count
            and fields[1::5].count(first) == count
            and fields[2::5].count(self._flags) == count
            and fields[4::5].count(self._body) == count
            and first & _STATUS_AND_COMMAND == self._command
        ):
            return Run(fields[3::5], (first >> _CREDITS_SHIFT) * count)
        return self._fitting(fields)

    def single(self, message: Buffer, length: int) -> Run | None:
        """The same for one message of `length` bytes without its framing, of which `message` is the start."""
        if length != self.stride - 4 or len(message) < _MESSAGE.size:
            return None
        protocol, reply, flags, message_id, body = _MESSAGE.unpack_from(message)
        if (
            protocol != PROTOCOL
            or body != self._body
            or flags != self._flags
            or reply & _STATUS_AND_COMMAND != self._command
        ):
            return None
        return Run((message_id,), reply >> _CREDITS_SHIFT)

    def _fitting(self, fields: tuple[int, ...]) -> Run | None:
        """As many answers as fit, up to the first that does not."""
        ids: list[int] = []
        credits = 0
        for head, reply, flags, message_id, body in zip(*[iter(fields)] * 5, strict=True):
            if (
                head != self._head
                or flags != self._flags
                or body != self._body
                or reply & _STATUS_AND_COMMAND != self._command
            ):
                break
            ids.append(message_id)
            credits += reply >> _CREDITS_SHIFT
        return Run(tuple(ids), credits) if ids else None
