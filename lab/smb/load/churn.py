"""Files opened, read and closed over one connection: CREATE, READ and CLOSE in one compound each."""

from __future__ import annotations

import random
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence

from lab.model import ConfigurationError
from lab.smb.load.answers import ANSWER_SIZE
from lab.smb.load.tape import Reads
from lab.smb.load.wirelane import WireLane
from lab.smb.messages import Access, close_request, create_request, read_request
from lab.smb.ntstatus import status_name
from lab.smb.share import Share
from lab.smb.wire import ANY_FILE, CREDIT_BYTES, FRAMING, HEADER_SIZE, Command, Flags, Header, header

_PARTS = bytes((Command.CREATE, Command.READ, Command.CLOSE))
_NAMES = {Command.CREATE: "create", Command.READ: "read", Command.CLOSE: "close"}
_CREATE_ANSWER, _CLOSE_ANSWER = HEADER_SIZE + 88, HEADER_SIZE + 64
_READY = 256
_CREDITS = struct.Struct("<H")
_MESSAGE_ID = struct.Struct("<Q")


class ChurnLane(WireLane):
    """Opens the files of `names` in turns, reads `reads.size` bytes from each one's start, and closes it.
    `release` and `in_flight` count compounds. `reads.seed` decides the order of the files.

    The tally's READs are those of the compounds. Opened and closed files are its operations "creates" and
    "closes"; what failed has its status behind it, as "create STATUS_OBJECT_NAME_NOT_FOUND".
    """

    def __init__(
        self,
        share: Share,
        names: Sequence[str],
        reads: Reads,
        *,
        verify_every: int = 16,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises ConfigurationError for READs that take more than one credit each."""
        size = reads.size
        if not 0 < size <= CREDIT_BYTES:
            raise ConfigurationError(
                f"READs of {size} bytes are not possible in a compound: 1 to {CREDIT_BYTES} are",
                help="Give the load another size.",
            )
        super().__init__(
            share,
            charge=1,
            cost=len(_PARTS),
            largest=size,
            answer=ANSWER_SIZE + size + _CREATE_ANSWER + _CLOSE_ANSWER,
            verify_every=verify_every,
            now=now,
        )
        self._size = size
        order = random.Random(reads.seed).sample(names, len(names))
        self._compounds = [self._compound(name, reads.unbuffered) for name in order]
        self._turn = 0
        self._ready: deque[bytes] = deque()

    def _compound(self, name: str, unbuffered: bool) -> tuple[bytes, ...]:
        """The three messages, padded, whose message ids and credits are still to be filled in."""
        bodies = (
            create_request(name, Access.READ),
            read_request(ANY_FILE, 0, self._size, unbuffered=unbuffered),
            close_request(ANY_FILE),
        )
        last = len(bodies) - 1
        out = []
        for index, (command, body) in enumerate(zip(_PARTS, bodies, strict=True)):
            padding = -len(body) % 8 if index < last else 0
            length = HEADER_SIZE + len(body) + padding
            out.append(
                header(
                    command,
                    message_id=0,
                    session_id=self._address.session_id,
                    tree_id=self._address.tree_id,
                    charge=1 if self._address.multi_credit else 0,
                    flags=(Flags.RELATED if index else 0) | (Flags.SIGNED if self._address.signer else 0),
                    next_command=length if index < last else 0,
                )
                + body
                + bytes(padding)
            )
        return tuple(out)

    def build(self) -> None:
        self._lay(_READY)

    def _lay(self, count: int) -> None:
        """Lay out compounds until `count` are ready."""
        address, credits = self._address, self._credits_to_ask()
        first = self._credits.next_id + self._cost * len(self._ready)
        while len(self._ready) < count:
            parts = self._compounds[self._turn]
            self._turn = (self._turn + 1) % len(self._compounds)
            out = bytearray()
            for index, part in enumerate(parts):
                message = bytearray(part)
                _CREDITS.pack_into(message, 14, 1 if index else credits - self._cost + 1)
                _MESSAGE_ID.pack_into(message, 24, first + index)
                if address.signer:
                    message[48:64] = address.signer.signature(message)
                out += message
            first += self._cost
            wire = address.sealer.seal(out) if address.sealer else out
            self._ready.append(FRAMING.pack(len(wire)) + wire)

    def release(self, count: int) -> int:
        possible = self._possible(count)
        if possible <= 0:
            return 0
        self._lay(possible)
        batch = b"".join(self._ready.popleft() for _ in range(possible))
        now = self._now()
        if self.tally.first_sent is None:
            self.tally.first_sent = now
        self._credits.take(possible * self._cost)
        self._flights.launch(_PARTS * possible, now)
        self._flying += possible
        self.tally.sent += possible
        self._send(batch)
        self._low_water.aim(self._flying, self._answer)
        return possible

    @property
    def owed(self) -> int:
        return sum(self._flights.count(command) for command in _PARTS) + self._echoes

    def _skip(self) -> None:
        self._turn = (self._turn - len(self._ready)) % len(self._compounds)
        self._ready.clear()

    def _done(self, head: Header, message: memoryview) -> int:
        if head.command == Command.READ:
            self._count_read(head, message, self._size)
            return 0
        name = _NAMES[Command(head.command)]
        self.tally.operations[f"{name} {status_name(head.status)}" if head.status else f"{name}s"] += 1
        if head.command == Command.CREATE:
            return 0
        self._flying -= 1
        return 1
