"""READ requests laid end to end: what goes to the socket is a slice of them.

Building a request in Python costs more than all else together; so a lap of requests is laid out once, and
from then on only what differs is written over, each byte of a field for the whole lap in one strided slice.
"""

from __future__ import annotations

import random
import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from lab.smb.messages import read_request
from lab.smb.sealing import TRANSFORM_SIZE, Sealer
from lab.smb.signing import Signer
from lab.smb.wire import FRAMING, HEADER_SIZE, Command, Flags, charge_of, header

LAP = 1024
"""Requests of one lap."""

BLOCK = 4096
"""READs of a multiple of this begin at one: unbuffered READs must lie on sectors (MS-FSA 2.1.5.3)."""

_CREDITS, _MESSAGE_ID, _SIGNATURE, _OFFSET = (4 + at for at in (14, 24, 48, HEADER_SIZE + 8))


@dataclass(frozen=True)
class Reads:
    """What to read. The same seed gives the same offsets in the same order.

    `size` bytes a READ; `span`: only that many bytes from each file's start are read (None: the whole file).
    """

    size: int = 4096
    unbuffered: bool = False
    seed: int = 0
    span: int | None = None

    def places(self, length: int) -> int:
        """How many offsets a file of `length` bytes has for a whole READ; at least 1."""
        room = length if self.span is None else min(length, self.span)
        return max(1, (room - self.size) // self.step + 1)

    @property
    def step(self) -> int:
        return BLOCK if self.size % BLOCK == 0 else min(self.size, BLOCK)


@dataclass(frozen=True)
class Address:
    """Where requests go: what is the same in all of them."""

    session_id: int
    tree_id: int
    signer: Signer | None = None  # None: unsigned, or sealed
    sealer: Sealer | None = None
    multi_credit: bool = True  # whether the dialect knows of CreditCharge


@dataclass(eq=False)
class _Lap:
    plain: bytearray
    wire: memoryview  # what goes to the socket: `plain`, or the sealed frames
    taken: int = 0


class Tape:
    """READs over `files` (file id, length), file by file in turns, from message id `first_id` on.

    A view given by `take` must be sent before the next `take`: a lap is laid out anew only then. `credits` is
    what one request asks for; it holds for laps laid out from then on.
    """

    def __init__(
        self, files: Sequence[tuple[bytes, int]], reads: Reads, address: Address, *, first_id: int
    ) -> None:
        self.charge = charge_of(reads.size)
        self.credits = self.charge
        self.next_id = first_id
        self.laps_laid = 0
        self._address = address
        self._random = random.Random(reads.seed)
        self._step = reads.step
        self._frames = max(LAP, len(files))
        order = [files[index % len(files)] for index in range(self._frames)]
        self._places = [reads.places(length) for _, length in order]
        self._template = b"".join(self._request(file_id, reads) for file_id, _ in order)
        self._frame = len(self._template) // self._frames
        self._words = struct.Struct(f"<{self._frames}Q")
        self._ready: deque[_Lap] = deque()
        self._spare: list[_Lap] = []
        self._used_up: _Lap | None = None  # its last view may not be sent yet
        self._laid_to = first_id
        self.stride = self._frame + (TRANSFORM_SIZE if address.sealer else 0)

    def _request(self, file_id: bytes, reads: Reads) -> bytes:
        address = self._address
        message = header(
            Command.READ,
            message_id=0,
            session_id=address.session_id,
            tree_id=address.tree_id,
            charge=self.charge if address.multi_credit else 0,
            flags=Flags.SIGNED if address.signer else 0,
        ) + read_request(file_id, 0, reads.size, unbuffered=reads.unbuffered)
        return FRAMING.pack(len(message)) + message

    @property
    def ready(self) -> int:
        """Requests laid out and not yet taken."""
        return len(self._ready) * self._frames - (self._ready[0].taken if self._ready else 0)

    def build(self, count: int) -> None:
        """Lay out laps until `count` requests are ready."""
        while self.ready < count:
            self._lay()

    def take(self, count: int) -> memoryview:
        """The next requests as they go to the wire: up to `count`, at least one (fewer at a lap's end)."""
        if self._used_up:
            self._spare.append(self._used_up)
            self._used_up = None
        if not self._ready:
            self._lay()
        lap = self._ready[0]
        first, lap.taken = lap.taken, min(lap.taken + count, self._frames)
        self.next_id += (lap.taken - first) * self.charge
        if lap.taken == self._frames:
            self._used_up = self._ready.popleft()
        return lap.wire[first * self.stride : lap.taken * self.stride]

    def _lay(self) -> None:
        """Lay out one more lap, in one whose requests are all sent or in a new one."""
        if self._spare:
            lap = self._spare.pop()
            lap.plain[:] = self._template
            lap.taken = 0
        else:
            lap = _Lap(bytearray(self._template), memoryview(b""))
        plain, step, frame, draw = lap.plain, self._step, self._frame, self._random.random
        offsets = self._words.pack(*[int(draw() * places) * step for places in self._places])
        for byte in range(8):
            plain[_OFFSET + byte :: frame] = offsets[byte::8]
        for byte, value in enumerate(self.credits.to_bytes(2, "little")):
            plain[_CREDITS + byte :: frame] = bytes((value,)) * self._frames
        self._number(lap, self._laid_to)
        self._laid_to += self._frames * self.charge
        self.laps_laid += 1
        self._ready.append(lap)

    def skip(self) -> None:
        """The next request's message ids go to another one. What is laid out keeps its offsets: the same plan
        reads the same places, whatever else is asked in between."""
        self.next_id += self.charge
        self._laid_to += self.charge
        first = self.next_id
        for lap in self._ready:
            first -= lap.taken * self.charge
            self._number(lap, first)
            first += self._frames * self.charge

    def _number(self, lap: _Lap, first: int) -> None:
        """Give a lap's requests their message ids from `first` on, and sign or seal them."""
        plain, frame = lap.plain, self._frame
        ids = self._words.pack(*range(first, first + self._frames * self.charge, self.charge))
        for byte in range(8):
            plain[_MESSAGE_ID + byte :: frame] = ids[byte::8]
        if self._address.signer:
            for byte in range(16):
                plain[_SIGNATURE + byte :: frame] = bytes(self._frames)
            self._sign(plain, self._address.signer)
        lap.wire = memoryview(self._framed_wire(plain))

    def _sign(self, plain: bytearray, signer: Signer) -> None:
        view, signature = memoryview(plain), signer.signature
        for start in range(4, len(plain), self._frame):
            signed = signature(view[start : start + self._frame - 4])
            at = start + _SIGNATURE - 4
            plain[at : at + 16] = signed

    def _framed_wire(self, plain: bytearray) -> bytearray:
        """`plain` as it goes to the wire: itself, or each request sealed in a frame of its own."""
        sealer = self._address.sealer
        if sealer is None:
            return plain
        view, out = memoryview(plain), bytearray()
        for start in range(4, len(plain), self._frame):
            sealed = sealer.seal(view[start : start + self._frame - 4])
            out += FRAMING.pack(len(sealed))
            out += sealed
        return out
