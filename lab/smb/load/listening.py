"""Answers as they come, each accounted for: to which request, under which protection, with which outcome."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from lab.smb.connection import FRAME_ROOM, Connection
from lab.smb.errors import Malformed, Unreachable, reason
from lab.smb.load.flights import Flights
from lab.smb.load.guard import Guard
from lab.smb.load.incoming import Incoming
from lab.smb.load.tally import STEP, Tally
from lab.smb.load.waiting import LowWater
from lab.smb.messages import parse_read
from lab.smb.ntstatus import STATUS_PENDING
from lab.smb.wire import SEALED, UNSOLICITED, Buffer, Command, Flags, Header, parse_header, parts


class Listener(ABC):
    """The receiving half of a lane. It takes over a connection's socket, which does not block from then on.

    Requests have serial numbers from 0 on as they are sent; each takes `charge` message ids. `largest` is the
    longest payload that is asked for; `answer` bytes, framing included, is what mostly comes.
    """

    def __init__(
        self,
        connection: Connection,
        guard: Guard,
        *,
        charge: int,
        largest: int,
        answer: int,
        now: Callable[[], float],
    ) -> None:
        self.tally = Tally()
        self.heard = now()
        self._connection, self._guard, self._charge, self._now = connection, guard, charge, now
        self._flights = Flights()
        self._flying = self._echoes = 0
        self._put_off: dict[int, int] = {}  # async ids by serial
        self._answer = answer
        rest = connection.lend()
        self._socket = connection.socket
        self._timeout = self._socket.gettimeout()
        self._socket.setblocking(False)
        self._credits, self._origin = connection.credits, connection.credits.next_id
        room = max(largest, FRAME_ROOM) + FRAME_ROOM
        self._incoming = Incoming(self._socket, largest=room, typical=answer, rest=rest)
        self._low_water = LowWater(self._socket)

    def _final(self, head: Header, message: memoryview) -> int:
        """Count a final answer; 1 when one of `in_flight` is done by it."""
        if head.command == Command.ECHO:
            self._echoes -= 1
            self.tally.operations["echoes"] += 1
            return 0
        return self._done(head, message)

    @abstractmethod
    def _done(self, head: Header, message: memoryview) -> int:
        """The same for one that is no ECHO's."""

    def _run(self, now: float) -> int:
        """Take a run of usual answers from what has come in; their number."""
        return 0

    def _take_in(self) -> int:
        """Receive once, and count what has come."""
        got = self._received(self._incoming.receive)
        if not got:
            return 0
        finals = self._parsed(self.heard)
        self._low_water.came(got, self._flying)
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
        finals, flying = 0, self._flying
        try:
            while True:
                if landed := self._run(now):
                    finals += landed
                    continue
                frame = self._incoming.frame()
                if frame is None:
                    return finals
                finals += self._frame(frame, now)
        finally:  # also what comes before a malformed answer has been answered
            if self._flying < flying:
                self.tally.last_answer = now
            self.tally.verified = self._guard.verified

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
        self._guard.check_session(head)
        serial = self._serial(head.message_id)
        if not head.command or head.command != self._flights.command(serial):
            raise self._unknown(head.message_id)
        if head.status == STATUS_PENDING and head.flags & Flags.ASYNC:
            if serial in self._put_off:
                raise Malformed(f"{place} put one request off twice ({head.message_id})")
            self._put_off[serial] = head.async_id
            self.tally.pending += 1
            self._credits.grant(head.credits)
            return 0
        self._guard.check(message, head, sealed=sealed)
        done = self._final(head, message)  # before it counts as landed: it may be malformed
        self._credits.grant(head.credits)
        self._flights.land(serial)
        self._put_off.pop(serial, None)
        self._took(serial, 1, now)
        return done

    def _serial(self, message_id: int) -> int:
        """The request's number; -1 when no request of ours has that message id."""
        serial, odd = divmod(message_id - self._origin, self._charge)
        return -1 if odd else serial

    def _took(self, serial: int, count: int, now: float) -> None:
        """Take the latency of those of `count` requests that are in the sample."""
        for sent in self._flights.sampled(serial, count):
            self.tally.latencies[int((now - sent) / STEP)] += 1

    def _count_read(self, head: Header, message: memoryview, asked: int) -> None:
        """A READ of `asked` bytes is answered."""
        if head.status:
            self.tally.failed[head.status] += 1
            return
        size = len(parse_read(message, asked))
        self.tally.answered += 1
        self.tally.bytes_read += size
        self.tally.short += size < asked

    def _unknown(self, message_id: int) -> Malformed:
        return Malformed(f"{self._connection.place} answered a request that is not in flight ({message_id})")
