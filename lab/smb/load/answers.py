"""Runs of READ answers, looked at many at a time.

An answer that brings all bytes that were asked for has every field but its message id and its credits in
common with all others. So a run of them is one `unpack` with a struct for the whole run, and each field's
column is compared in one go; the payload is never touched. What does not fit is left to the careful reader.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from lab.smb.wire import FRAMING, HEADER_SIZE, PROTOCOL, Buffer, Command, Flags

ANSWER_SIZE = 84
"""Bytes of a READ's answer before its payload: framing, header, and the fixed part of its body."""

LONGEST_RUN = 32

# What a row takes from an answer: its header up to the message id, that, the session id, the body's first
# half. From a frame's first answer it takes the framing, too, as the beginning of the header.
_HEAD = 24
_ROW = "{head}sQ8xQ16xQ8x{payload}x"
_COLUMNS = 4
_FIRST_ROW = struct.Struct("<" + _ROW.format(head=FRAMING.size + _HEAD, payload=0))
_BEGINNING = struct.pack("<4sH", PROTOCOL, HEADER_SIZE)  # then the credit charge, which may be any
_SUCCESS = struct.pack("<IH", 0, Command.READ)  # then the credits


class Run(NamedTuple):
    """Successful whole answers, one after another."""

    message_ids: tuple[int, ...]
    credits: int


class Shape(Protocol):
    """What frames of successful answers look like."""

    def run(self, data: Buffer, start: int, end: int) -> Run | None:
        """The answers of such frames that begin at `start` and lie wholly before `end`; None when the first
        frame is not one."""

    def size_of(self, count: int) -> int:
        """Bytes of a run of `count` answers."""

    def span(self, index: int) -> tuple[int, int]:
        """From a run's start: where the message of its answer number `index` begins and ends."""


class Expected:
    """A frame with the answer to one READ of `size` bytes, signed or not."""

    def __init__(self, size: int, session_id: int, *, signed: bool) -> None:
        self.size = size
        self.stride = ANSWER_SIZE + size
        self._framing = FRAMING.pack(self.stride - FRAMING.size)
        self._ending, self._session, self._body = _ending(signed), session_id, _body(size)

    def size_of(self, count: int) -> int:
        return count * self.stride

    def span(self, index: int) -> tuple[int, int]:
        return index * self.stride + FRAMING.size, (index + 1) * self.stride

    def run(self, data: Buffer, start: int, end: int) -> Run | None:
        count = min((end - start) // self.stride, LONGEST_RUN)
        if count == 0:
            return None
        fields = _single_rows(count, self.size).unpack_from(data, start)
        first = fields[0]
        if (
            fields[0::_COLUMNS].count(first) == count
            and fields[2::_COLUMNS].count(self._session) == count
            and fields[3::_COLUMNS].count(self._body) == count
            and self._usual(first)
        ):
            return Run(fields[1::_COLUMNS], _credits(first) * count)
        return self._fitting(fields)

    def single(self, message: Buffer, length: int) -> Run | None:
        """The same for one message of `length` bytes without its framing, of which `message` is the start."""
        start = FRAMING.pack(length) + bytes(message[: ANSWER_SIZE - FRAMING.size])
        return self._fitting(_FIRST_ROW.unpack(start)) if len(start) == ANSWER_SIZE else None

    def _usual(self, head: bytes) -> bool:
        return head.startswith(self._framing) and _succeeded(head, self._ending)

    def _fitting(self, fields: tuple[Any, ...]) -> Run | None:
        """As many answers as fit, up to the first that does not."""
        ids: list[int] = []
        credits = 0
        for head, message_id, session, body in zip(*[iter(fields)] * _COLUMNS, strict=True):
            if not self._usual(head) or session != self._session or body != self._body:
                break
            ids.append(message_id)
            credits += _credits(head)
        return Run(tuple(ids), credits) if ids else None


class ExpectedCompound:
    """A frame with the answers to `count` READs, at least two, each but the last one padded to 8 bytes.

    Each may bring its credits, or the last one those of all (so does Samba, as it says Windows does).
    """

    def __init__(self, count: int, size: int, session_id: int, *, signed: bool) -> None:
        self.count = count
        answer = ANSWER_SIZE - FRAMING.size + size
        self._size, self._part = size, answer + -answer % 8
        self.length = self._part * (count - 1) + answer
        """Bytes of a frame without its framing."""
        self.stride = FRAMING.size + self.length
        self._framing = FRAMING.pack(self.length)
        self._ending, self._last_ending = _ending(signed, self._part), _ending(signed)
        self._session, self._body = session_id, _body(size)

    def size_of(self, count: int) -> int:
        return count // self.count * self.stride

    def span(self, index: int) -> tuple[int, int]:
        frame, part = divmod(index, self.count)
        first, start = frame * self.stride + FRAMING.size, part * self._part
        return first + start, first + min(start + self._part, self.length)

    def run(self, data: Buffer, start: int, end: int) -> Run | None:
        frames = min((end - start) // self.stride, max(1, LONGEST_RUN // self.count))
        if frames == 0 or data[start : start + FRAMING.size] != self._framing:
            return None
        fields = _compound_rows(frames, self.count, self._size, self._part).unpack_from(data, start)
        run = self._matching(fields, frames)
        return self._fitting(fields, frames) if run is None and frames > 1 else run

    def whole(self, message: bytes) -> Run | None:
        """The same for a frame's message of `length` bytes."""
        return self.run(self._framing + message, 0, self.stride)

    def _matching(self, fields: tuple[Any, ...], frames: int) -> Run | None:
        """The answers of frames that all are alike; None when one is not as it should be."""
        count, heads = self.count, fields[0::_COLUMNS]
        first, middle, last = heads[0], heads[count - 2], heads[count - 1]  # of two, the middle is the first
        if (
            heads[0::count].count(first) == frames
            and heads.count(middle) == frames * max(1, count - 2)
            and heads[count - 1 :: count].count(last) == frames
            and fields[2::_COLUMNS].count(self._session) == frames * count
            and fields[3::_COLUMNS].count(self._body) == frames * count
            and first.startswith(self._framing)
            and _succeeded(first, self._ending)
            and _succeeded(middle, self._ending)
            and _succeeded(last, self._last_ending)
        ):
            credits = _credits(first) + (count - 2) * _credits(middle) + _credits(last)
            return Run(fields[1::_COLUMNS], credits * frames)
        return None

    def _fitting(self, fields: tuple[Any, ...], frames: int) -> Run | None:
        """The answers of as many frames as fit, up to the first that does not."""
        ids: list[int] = []
        credits, wide = 0, _COLUMNS * self.count
        for start in range(0, frames * wide, wide):
            run = self._matching(fields[start : start + wide], 1)
            if run is None:
                break
            ids += run.message_ids
            credits += run.credits
        return Run(tuple(ids), credits) if ids else None


@lru_cache(maxsize=256)
def _single_rows(count: int, size: int) -> struct.Struct:
    return struct.Struct("<" + _ROW.format(head=FRAMING.size + _HEAD, payload=size) * count)


@lru_cache(maxsize=256)
def _compound_rows(frames: int, count: int, size: int, part: int) -> struct.Struct:
    padded = size + part - (ANSWER_SIZE - FRAMING.size + size)
    first = _ROW.format(head=FRAMING.size + _HEAD, payload=padded)
    middle, last = _ROW.format(head=_HEAD, payload=padded), _ROW.format(head=_HEAD, payload=size)
    return struct.Struct("<" + (first + middle * (count - 2) + last) * frames)


def _ending(signed: bool, following: int = 0) -> bytes:
    """The end of a row's head: flags, and where the next answer is."""
    return struct.pack("<II", Flags.TO_CLIENT | (Flags.SIGNED if signed else 0), following)


def _body(size: int) -> int:
    """Structure size, offset and length of the data."""
    return 17 | (ANSWER_SIZE - FRAMING.size) << 16 | size << 32


def _succeeded(head: bytes, ending: bytes) -> bool:
    """Whether a row's head is that of a successful answer to a READ."""
    return head[-24:-18] == _BEGINNING and head[-16:-10] == _SUCCESS and head.endswith(ending)


def _credits(head: bytes) -> int:
    return int.from_bytes(head[-10:-8], "little")
