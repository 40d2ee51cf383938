"""READs answered by the batch: requests alike but for id, offset, credits and file get a tape of answers.

The first READ of a shape goes through the whole server. Later ones are compared with it byte by byte, with
the varying fields blanked, by strided slices over all frames that arrived together.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable
from dataclasses import dataclass

from nullsmb_keys import Signer
from nullsmb_wire import FROM_SERVER, HEADER, MAGIC, READ, SIGNED

MAX_TAPE = 1 << 20
MAX_BATCH = 256
_CREDITS, _ID, _SIGNATURE, _OFFSET, _FILE = 4 + 14, 4 + 24, 4 + 48, 4 + 64 + 8, 4 + 64 + 16
_ZEROS = bytes(MAX_BATCH)


@dataclass
class Window:
    """The message ids that a client may use: from `low` on, `granted` of them (3.3.1.1)."""

    low: int = 0
    high: int = 1
    most: int = 8192
    promised: int = 0
    """Credits of answers that are not sent yet."""

    @property
    def room(self) -> int:
        return max(0, self.most - (self.high - self.low) - self.promised)


class Lane:
    """Plain READs of one length on one tree of one session."""

    def __init__(self, frame: bytes, payload: bytes, charge: int, signer: Signer | None) -> None:
        self.stride, self.length, self.charge = len(frame), len(payload), charge
        self._signer = signer
        self._answer = 4 + 64 + 16 + self.length
        self.capacity = max(1, min(MAX_BATCH, MAX_TAPE // self._answer))
        template = bytearray(frame)
        for at, size in self._varying():
            template[at : at + size] = bytes(size)
        self._templates = bytes(template) * self.capacity
        *_, number, pid, tree, session, _ = HEADER.unpack_from(frame, 4)
        flags = FROM_SERVER | (SIGNED if signer else 0)
        head = HEADER.pack(
            MAGIC, 64, charge, 0, READ, charge, flags, 0, number, pid, tree, session, bytes(16)
        )
        body = struct.pack("<HBBIII", 17, 80, 0, self.length, 0, 0) + payload
        self._tape = bytearray((struct.pack(">I", 64 + len(body)) + head + body) * self.capacity)
        self._view = memoryview(self._tape)
        self._granted = charge

    def _varying(self) -> list[tuple[int, int]]:
        fields = [(_CREDITS, 2), (_ID, 8), (_OFFSET, 8), (_FILE, 2)]
        return [*fields, (_SIGNATURE, 16)] if self._signer else fields

    def take(
        self, buffer: bytearray, start: int, end: int, window: Window, sizes: Callable[[set[int]], int]
    ) -> tuple[int, memoryview]:
        """(how many frames at `start` were taken, their answers); none when one is unlike the first READ.

        `sizes` gives the length of the shortest of some open files, -1 when one of them is not open. The
        answers lie in the tape: they must be sent before the next call.
        """
        count = min((end - start) // self.stride, self.capacity)
        block = buffer[start : start + count * self.stride]
        gathered = {}
        for at, size in self._varying():
            field = bytearray(size * count)
            for byte in range(size):
                field[byte::size] = block[at + byte :: self.stride]
                block[at + byte :: self.stride] = _ZEROS[:count]
            gathered[at] = field
        if not count or block != self._templates[: len(block)]:
            return 0, self._view[:0]
        first = int.from_bytes(gathered[_ID][:8], "little")
        after = first + count * self.charge
        ids = array("Q", range(first, after, self.charge))
        asked = array("H", gathered[_CREDITS])
        offsets, files = array("Q", gathered[_OFFSET]), set(array("H", gathered[_FILE]))
        ordered = first == window.low and after <= window.high and gathered[_ID] == ids.tobytes()
        inside = max(offsets) + self.length <= sizes(files)
        if not ordered or not inside or (self._signer and not self._all_right(buffer, start, count)):
            return 0, self._view[:0]
        window.low = after
        self._grant(min(asked), max(asked), count, window)
        for byte in range(8):
            self._tape[_ID + byte : count * self._answer : self._answer] = gathered[_ID][byte::8]
        if self._signer:
            self._sign(count)
        return count, self._view[: count * self._answer]

    def _grant(self, least: int, most: int, count: int, window: Window) -> None:
        """What all of them ask for when there is room, else what they used up."""
        granted = least if least == most and least * count <= window.room else self.charge
        if granted != self._granted:
            self._tape[_CREDITS :: self._answer] = bytes((granted & 0xFF,)) * self.capacity
            self._tape[_CREDITS + 1 :: self._answer] = bytes((granted >> 8,)) * self.capacity
            self._granted = granted
        window.high += granted * count

    def _all_right(self, buffer: bytearray, start: int, count: int) -> bool:
        """Whether all requests are signed as they should be."""
        assert self._signer is not None
        stride, signature = self.stride, self._signer.signature
        block = buffer[start : start + count * stride]
        said = [block[at : at + 16] for at in range(_SIGNATURE, len(block), stride)]
        for byte in range(_SIGNATURE, _SIGNATURE + 16):
            block[byte::stride] = _ZEROS[:count]
        with memoryview(block) as view:
            return all(
                signature(view[at + 4 : at + stride], from_server=False) == said[number]
                for number, at in enumerate(range(0, len(block), stride))
            )

    def _sign(self, count: int) -> None:
        assert self._signer is not None
        signature, tape, view, size = self._signer.signature, self._tape, self._view, self._answer
        for byte in range(_SIGNATURE, _SIGNATURE + 16):
            tape[byte : count * size : size] = _ZEROS[:count]
        for at in range(0, count * size, size):
            made = signature(view[at + 4 : at + size], from_server=True)
            tape[at + _SIGNATURE : at + _SIGNATURE + 16] = made
