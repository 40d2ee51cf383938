"""What all lanes have in common: requests out in batches, as credits and the socket allow.

A lane belongs to one thread. It takes over a connection's socket and credits (`Connection.lend`) and gives
them back in `finish`; between the two nothing else may use the connection.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from lab.model import LabError
from lab.smb.errors import Unreachable
from lab.smb.load.guard import Guard
from lab.smb.load.listening import Listener
from lab.smb.load.outgoing import Outgoing, small_request
from lab.smb.load.tape import Address
from lab.smb.load.waiting import PATIENCE, Wait
from lab.smb.sealing import TRANSFORM_SIZE
from lab.smb.share import Share
from lab.smb.wire import Command

MOST_CREDITS = 8192
"""Credits that a lane asks for until it has so many: the most that Windows gives a connection by default."""


class WireLane(Listener):
    """A `Lane` over one share.

    One of those requests that `release` counts costs `cost` credits. `verify_every` is that of LoadPlan; the
    other values are those of `Listener`.
    """

    batch = 16

    def __init__(
        self,
        share: Share,
        *,
        charge: int,
        cost: int,
        largest: int,
        answer: int,
        verify_every: int,
        now: Callable[[], float],
    ) -> None:
        session, connection = share.session, share.connection
        signer = None if session.sealer else session.signer
        self._address = Address(session.id, share.tree_id, signer, session.sealer, connection.multi_credit)
        super().__init__(
            connection,
            Guard(self._address, verify_every, connection.place),
            charge=charge,
            largest=largest,
            answer=answer + (TRANSFORM_SIZE if session.sealer else 0),
            now=now,
        )
        self.alive = True
        self._cost = cost
        self._stalled = self._finished = False
        self._outgoing = Outgoing(self._socket, connection.place)
        self._wait = Wait(self._socket)

    @abstractmethod
    def build(self) -> None:
        """See `Lane.build`."""

    @abstractmethod
    def release(self, count: int) -> int:
        """See `Lane.release`."""

    @abstractmethod
    def _skip(self) -> None:
        """The next request's message ids go to another one: what is laid out must not use them."""

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
        if not finals:  # else the caller, who waits with a selector, releases as many
            self._low_water.aim(self._flying, self._answer)
        return finals

    def echo(self) -> None:
        if not self.alive or self.blocked or self._credits.balance < self._charge:
            return
        self._skip()
        message_id = self._credits.take(self._charge)
        self._flights.launch(bytes((Command.ECHO,)), self._now())
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
        possible = min(count, self._credits.balance // self._cost)
        if possible == count:
            self._stalled = False
        elif not self._stalled:
            self._stalled = True
            self.tally.credit_stalls += 1
        return possible

    def _credits_to_ask(self) -> int:
        """What to ask for in one release: what it costs, and all that is missing to MOST_CREDITS."""
        missing = MOST_CREDITS - self._credits.balance - self._flying * self._cost
        return self._cost + max(0, missing)

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
            low_water.missed()
            seconds -= PATIENCE
        return self._wait(seconds, blocked)

    def _end(self) -> None:
        """The connection is of no more use; what it still owes is lost."""
        self.alive = False
        self.tally.lost += self._flights.count(Command.READ)
        self._flying = self._echoes = 0
        self._connection.close()
