"""What all lanes have in common: requests out in batches, answers in as they come, each accounted for.

A lane belongs to one thread. It takes over a connection's socket and credits (`Connection.lend`) and gives
them back in `finish`; between the two nothing else may use the connection.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from lab.model import LabError
from lab.smb.connection import FRAME_ROOM
from lab.smb.errors import Malformed, Unreachable, reason
from lab.smb.load.flights import ECHO, Flights
from lab.smb.load.guard import Guard
from lab.smb.load.incoming import Incoming
from lab.smb.load.outgoing import Outgoing, small_request
from lab.smb.load.tally import STEP, Tally
from lab.smb.load.tape import Address
from lab.smb.load.waiting import PATIENCE, LowWater, Wait
from lab.smb.sealing import TRANSFORM_SIZE
from lab.smb.share import Share
from lab.smb.wire import SEALED, UNSOLICITED, Buffer, Command, Flags, Header, charge_of, parse_header, parts

MOST_CREDITS = 8192
"""Credits that a lane asks for until it has so many: the most that Windows gives a connection by default."""

_PENDING = 0x103


class WireLane(ABC):
    """A `Lane` over one share. Its requests have serial numbers from 0 on as they are sent; each takes the
    message ids of a READ of `size` bytes. `answer` bytes, framing included, is what mostly comes for one;
    `verify_every` is that of LoadPlan."""

    batch = 16

    def __init__(
        self, share: Share, *, size: int, answer: int, verify_every: int, now: Callable[[], float]
    ) -> None:
        self.tally = Tally()
        self.alive = True
        self.heard = now()
        self._connection = connection = share.connection
        session = share.session
        signer = None if session.sealer else session.signer
        self._address = Address(session.id, share.tree_id, signer, session.sealer, connection.multi_credit)
        self._guard = Guard(self._address, verify_every, connection.place)
        self._charge, self._now = charge_of(size), now
        self._flights = Flights()
        self._flying = self._echoes = 0
        self._put_off: dict[int, int] = {}  # async ids by serial
        self._stalled = self._finished = False
        self._answer = answer + (TRANSFORM_SIZE if session.sealer else 0)
        rest = connection.lend()
        self._socket = sock = connection.socket
        self._timeout = sock.gettimeout()
        sock.setblocking(False)
        self._credits, self._origin = connection.credits, connection.credits.next_id
        largest = max(size, FRAME_ROOM) + FRAME_ROOM
        self._incoming = Incoming(sock, largest=largest, typical=self._answer, rest=rest)
        self._outgoing = Outgoing(sock, connection.place)
        self._wait, self._low_water = Wait(sock), LowWater(sock)

    @abstractmethod
    def build(self) -> None:
        """See `Lane.build`."""

    @abstractmethod
    def release(self, count: int) -> int:
        """See `Lane.release`."""

    @abstractmethod
    def _skip(self) -> None:
        """The next request's message ids go to another one: what is laid out must not use them."""

    @abstractmethod
    def _command(self, serial: int) -> int:
        """What a request was."""

    @abstractmethod
    def _final(self, serial: int, head: Header, message: memoryview, now: float) -> int:
        """Count a final answer; 1 when a request of `in_flight` is done by it."""

    def _run(self, now: float) -> int:
        """Take a run of usual answers from what has come in; their number."""
        return 0

    @property
    def in_flight(self) -> int:
        return self._flying

    @property
    def owed(self) -> int:
        return self._flying + self._echoes

    @property
    def blocked(self) -> bool:
        return bool(self._outgoing.unsent)

    @property
    def gathering(self) -> bool:
        return self._low_water.level > 1

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self, seconds: float) -> int:
        if not self.alive:
            raise Unreachable(f"the connection to {self._connection.place} is closed")
        try:
            if self._outgoing.unsent:
                self._outgoing.flush()
            if seconds > 0:
                return self._take_in() if self._awaited(seconds) else 0
            finals = self._take_in()
        except LabError:
            self._end()
            raise
        self._low_water.aim(self._flying, self._answer)  # for the caller, who waits with a selector
        return finals

    def echo(self) -> None:
        if not self.alive or self.blocked or self._credits.balance < self._charge:
            return
        self._skip()
        message_id = self._credits.take(self._charge)
        self._flights.launch(1, self._now(), ECHO)
        self._echoes += 1
        self._send(small_request(self._address, Command.ECHO, message_id, charge=self._charge))

    def cancel(self, count: int) -> int:
        """Ask the server to give up the latest `count` requests in flight (MS-SMB2 3.2.4.24); how many
        were asked for. Each is answered all the same: with its data, or as failed with STATUS_CANCELLED."""
        serials = self._flights.newest(count) if self.alive and not self.blocked else []
        asked = [
            small_request(
                self._address,
                Command.CANCEL,
                self._origin + serial * self._charge,
                charge=0,
                async_id=self._put_off.get(serial),
            )
            for serial in serials
        ]
        if asked:
            self.tally.operations["cancels"] += len(asked)
            self._send(b"".join(asked))
        return len(asked)

    def finish(self) -> None:
        if self._finished:
            return
        self._finished = True
        if self.alive and (self.owed or self.blocked):
            self._end()
        elif self.alive:
            self._low_water.lower()
            self._socket.settimeout(self._timeout)
            self._connection.take_back(self._incoming.rest())

    def _possible(self, count: int) -> int:
        """How many of `count` requests may be sent now; counts the times that credits were too few."""
        if not self.alive or (self.blocked and not self._flush()):
            return 0
        possible = min(count, self._credits.balance // self._charge)
        if possible == count:
            self._stalled = False
        elif not self._stalled:
            self._stalled = True
            self.tally.credit_stalls += 1
        return possible

    def _credits_to_ask(self) -> int:
        """What one request asks for: what it takes, and all that is missing to MOST_CREDITS."""
        missing = MOST_CREDITS - self._credits.balance - self.owed * self._charge
        return self._charge + max(0, missing)

    def _send(self, data: memoryview | bytes) -> None:
        try:
            self._outgoing.send(data)
        except Unreachable:
            self._end()
            raise

    def _flush(self) -> bool:
        self._send(self._outgoing.unsent)
        return not self.blocked

    def _awaited(self, seconds: float) -> bool:
        """Whether something came, or may be sent, within that time."""
        low_water, blocked = self._low_water, self.blocked
        low_water.aim(self._flying, self._answer)
        if low_water.level > 1:
            if self._wait(min(PATIENCE, seconds), blocked):
                return True
            low_water.lower()
            seconds -= PATIENCE
        return self._wait(seconds, blocked)

    def _take_in(self) -> int:
        """Receive once, and count what has come."""
        got = self._received(self._incoming.receive)
        if not got:
            return 0
        self._low_water.came(got)
        finals = self._parsed(self.heard)
        self._incoming.settle()
        return finals

    def _received(self, receive: Callable[[], int]) -> int:
        """The bytes that `receive` took in; 0 when there were none."""
        try:
            got = receive()
        except BlockingIOError:
            return 0
        except OSError as error:
            raise Unreachable(
                f"the connection to {self._connection.place} was lost: {reason(error)}"
            ) from None
        if not got:
            raise Unreachable(f"{self._connection.place} closed the connection")
        self.heard = self._now()
        return got

    def _parsed(self, now: float) -> int:
        """Count all answers that have come whole."""
        finals = 0
        while True:
            if landed := self._run(now):
                finals += landed
                continue
            frame = self._incoming.frame()
            if frame is None:
                break
            finals += self._frame(frame, now)
        if finals:
            self.tally.last_answer = now
        self.tally.verified = self._guard.verified
        return finals

    def _frame(self, frame: memoryview, now: float) -> int:
        """One frame, with care."""
        if frame[:4] == SEALED:
            return self._parts(self._guard.open_whole(frame), now, sealed=True)
        return self._parts(frame, now, sealed=False)

    def _parts(self, message: Buffer, now: float, *, sealed: bool) -> int:
        return sum(self._part(part, now, sealed=sealed) for part in parts(message))

    def _part(self, message: memoryview, now: float, *, sealed: bool) -> int:
        """One message, of a frame of its own or of a compound."""
        head = parse_header(message)
        place = self._connection.place
        if not head.flags & Flags.TO_CLIENT:
            raise Malformed(f"{place} sent a request, not an answer")
        if head.message_id == UNSOLICITED:
            if head.command != Command.OPLOCK_BREAK:
                raise Malformed(f"{place} sent a notification of command {head.command}")
            self.tally.operations["breaks"] += 1
            self._connection.breaks.append(bytes(message[:256]))
            return 0
        serial = self._serial(head.message_id)
        mark = self._flights.mark(serial)
        if not mark or head.command != (Command.ECHO if mark == ECHO else self._command(serial)):
            raise self._unknown(head.message_id)
        if head.status == _PENDING and head.flags & Flags.ASYNC:
            if serial in self._put_off:
                raise Malformed(f"{place} put one request off twice ({head.message_id})")
            self._put_off[serial] = head.async_id
            self.tally.pending += 1
            self._credits.grant(head.credits)
            return 0
        self._guard.check(message, head, sealed=sealed)
        self._credits.grant(head.credits)
        self._flights.land(serial)
        self._put_off.pop(serial, None)
        if mark == ECHO:
            self._echoes -= 1
            self.tally.operations["echoes"] += 1
            return 0
        return self._final(serial, head, message, now)

    def _serial(self, message_id: int) -> int:
        """The request's number; -1 when no request of ours has that message id."""
        serial, odd = divmod(message_id - self._origin, self._charge)
        return -1 if odd else serial

    def _took(self, serial: int, count: int, now: float) -> None:
        """Take the latency of those of `count` requests that are in the sample."""
        for sent in self._flights.sampled(serial, count):
            self.tally.latencies[int((now - sent) / STEP)] += 1

    def _unknown(self, message_id: int) -> Malformed:
        return Malformed(f"{self._connection.place} answered a request that is not in flight ({message_id})")

    def _end(self) -> None:
        """The connection is of no more use; what it still owes is lost."""
        self.alive = False
        self.tally.lost += self._flying
        self._flying = self._echoes = 0
        self._connection.close()
