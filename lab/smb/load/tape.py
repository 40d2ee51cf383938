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

_CREDITS, _MESSAGE_ID, _SIGNATURE, _OFFSET = 14, 24, 48, HEADER_SIZE + 8  # from a message's start


@dataclass(frozen=True)
class Reads:
    """What to read. The same seed gives the same offsets in the same order.

    `size` bytes a READ; `span`: only that many bytes from each file's start are read (None: the whole file).
    `compound` READs, unrelated to each other, go in one message (MS-SMB2 3.2.4.1.4).
    """

    size: int = 4096
    unbuffered: bool = False
    seed: int = 0
    span: int | None = None
    compound: int = 1

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

    Requests are counted in READs. Where several go in one message, that is one frame, and only whole ones are
    taken: `stride` bytes each on the wire.

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
        compound = self.compound = reads.compound
        self._reads = -(-max(LAP, len(files)) // compound) * compound  # of a lap
        order = [files[index % len(files)] for index in range(self._reads)]
        self._places = [reads.places(length) for _, length in order]
        file_ids = [file_id for file_id, _ in order]
        firsts = range(0, self._reads, compound)
        self._part = _aligned(
            len(self._request(file_ids[0], reads))
        )  # from one message of a frame to the next
        self._template = b"".join(self._message(file_ids[at : at + compound], reads) for at in firsts)
        self._frame = len(self._template) // len(firsts)
        self._words = struct.Struct(f"<{self._reads}Q")
        self._ready: deque[_Lap] = deque()
        self._spare: list[_Lap] = []
        self._used_up: _Lap | None = None  # its last view may not be sent yet
        self._laid_to = first_id
        self.stride = self._frame + (TRANSFORM_SIZE if address.sealer else 0)

    def _message(self, file_ids: Sequence[bytes], reads: Reads) -> bytes:
        """A frame with a READ of each file; all but the last are padded, and say where the next one is."""
        *others, last = file_ids
        out = b"".join(self._request(each, reads, self._part).ljust(self._part, b"\0") for each in others)
        out += self._request(last, reads)
        return FRAMING.pack(len(out)) + out

    def _request(self, file_id: bytes, reads: Reads, following: int = 0) -> bytes:
        address = self._address
        return header(
            Command.READ,
            message_id=0,
            session_id=address.session_id,
            tree_id=address.tree_id,
            charge=self.charge if address.multi_credit else 0,
            flags=Flags.SIGNED if address.signer else 0,
            next_command=following,
        ) + read_request(file_id, 0, reads.size, unbuffered=reads.unbuffered)

    @property
    def ready(self) -> int:
        """Requests laid out and not yet taken."""
        return len(self._ready) * self._reads - (self._ready[0].taken if self._ready else 0)

    def build(self, count: int) -> None:
        """Lay out laps until `count` requests are ready."""
        while self.ready < count:
            self._lay()

    def take(self, count: int) -> memoryview:
        """The next requests as they go to the wire: up to `count`, which are whole frames, and at least one
        of these (fewer at a lap's end)."""
        if self._used_up:
            self._spare.append(self._used_up)
            self._used_up = None
        if not self._ready:
            self._lay()
        lap = self._ready[0]
        first, lap.taken = lap.taken, min(lap.taken + count, self._reads)
        self.next_id += (lap.taken - first) * self.charge
        if lap.taken == self._reads:
            self._used_up = self._ready.popleft()
        start, end = first // self.compound, lap.taken // self.compound
        return lap.wire[start * self.stride : end * self.stride]

    def _lay(self) -> None:
        """Lay out one more lap, in one whose requests are all sent or in a new one."""
        if self._spare:
            lap = self._spare.pop()
            lap.plain[:] = self._template
            lap.taken = 0
        else:
            lap = _Lap(bytearray(self._template), memoryview(b""))
        step, draw = self._step, self._random.random
        offsets = self._words.pack(*[int(draw() * places) * step for places in self._places])
        self._write(lap, _OFFSET, offsets, 8)
        self._write(lap, _CREDITS, self.credits.to_bytes(2, "little") * self._reads, 2)
        self._number(lap, self._laid_to)
        self._laid_to += self._reads * self.charge
        self.laps_laid += 1
        self._ready.append(lap)

    def _write(self, lap: _Lap, at: int, values: bytes, width: int) -> None:
        """Give the field at `at` of all of a lap's messages its values, `width` bytes for each of them."""
        plain, frame, every = lap.plain, self._frame, width * self.compound
        for part in range(self.compound):
            for byte in range(width):
                first = 4 + part * self._part + at + byte
                plain[first::frame] = values[part * width + byte :: every]

    def skip(self) -> None:
        """The next request's message ids go to another one. What is laid out keeps its offsets: the same plan
        reads the same places, whatever else is asked in between."""
        self.next_id += self.charge
        self._laid_to += self.charge
        first = self.next_id
        for lap in self._ready:
            first -= lap.taken * self.charge
            self._number(lap, first)
            first += self._reads * self.charge

    def _number(self, lap: _Lap, first: int) -> None:
        """Give a lap's requests their message ids from `first` on, and sign or seal them."""
        ids = self._words.pack(*range(first, first + self._reads * self.charge, self.charge))
        self._write(lap, _MESSAGE_ID, ids, 8)
        if self._address.signer:
            self._write(lap, _SIGNATURE, bytes(16 * self._reads), 16)
            self._sign(lap.plain, self._address.signer)
        lap.wire = memoryview(self._framed_wire(lap.plain))

    def _sign(self, plain: bytearray, signer: Signer) -> None:
        """Each message by itself, with its padding (MS-SMB2 3.1.4.1)."""
        view, signature = memoryview(plain), signer.signature
        for frame in range(4, len(plain), self._frame):
            end = frame + self._frame - 4
            for start in range(frame, end, self._part):
                signed = signature(view[start : min(start + self._part, end)])
                plain[start + _SIGNATURE : start + _SIGNATURE + 16] = signed

    def _framed_wire(self, plain: bytearray) -> bytearray:
        """`plain` as it goes to the wire: itself, or what is in each frame sealed as a whole."""
        sealer = self._address.sealer
        if sealer is None:
            return plain
        view, out = memoryview(plain), bytearray()
        for start in range(4, len(plain), self._frame):
            sealed = sealer.seal(view[start : start + self._frame - 4])
            out += FRAMING.pack(len(sealed))
            out += sealed
        return out


def _aligned(size: int) -> int:
    """Where the next message of a compound may begin: at a multiple of 8 bytes (MS-SMB2 3.2.4.1.4)."""
    return size + -size % 8
