"""A connection that is made, used for one READ and ended, again and again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from lab.model import LabError
from lab.smb.load.tally import STEP, Tally
from lab.smb.load.tape import Reads
from lab.smb.messages import parse_read, read_request
from lab.smb.share import Share
from lab.smb.wire import Command, charge_of

SESSION = "session"
"""Its name among the operations of a load."""


class SessionLane:
    """Looks like any other lane, but each `release` is a whole session, over before it returns.

    For a thread of its own: `release` and `receive` wait. The latency is that of the READ alone.
    """

    batch = 1
    blocked = gathering = False

    def __init__(
        self,
        connect: Callable[[], Share],
        name: str,
        reads: Reads,
        *,
        wait: Callable[[float], object] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`wait` waits so many seconds, or less when the load is over."""
        self._connect, self._name, self._reads, self._wait, self._now = connect, name, reads, wait, now
        self._random = random.Random(reads.seed)
        self._done = 0
        self.tally = Tally()
        self.alive = True
        self.heard = now()
        self.in_flight = self.owed = 0

    def fileno(self) -> int:
        return -1

    def build(self) -> None:
        pass

    def echo(self) -> None:
        pass

    def finish(self) -> None:
        pass

    def release(self, count: int) -> int:
        if count < 1:
            return 0
        self.in_flight = self.owed = 1
        try:
            share = self._connect()
            try:
                self._read(share)
            finally:
                share.close(politely=share.alive)
        except LabError:
            self.alive = False
            raise
        finally:
            self.in_flight = self.owed = 0
        self.heard = self._now()
        self.tally.operations[SESSION] += 1
        self._done += 1
        return 1

    def receive(self, seconds: float) -> int:
        done, self._done = self._done, 0
        if not done and seconds > 0:
            self._wait(seconds)
        return done

    def _read(self, share: Share) -> None:
        size = min(self._reads.size, share.connection.max_read)
        tally = self.tally
        with share.open(self._name) as file:
            offset = int(self._random.random() * self._reads.places(file.length)) * self._reads.step
            unbuffered = self._reads.unbuffered and share.unbuffered
            sent = self._now()
            tally.first_sent = sent if tally.first_sent is None else tally.first_sent
            tally.sent += 1
            reply = share.connection.exchange(
                Command.READ,
                read_request(file.file_id, offset, size, unbuffered=unbuffered),
                session=share.session,
                tree_id=share.tree_id,
                charge=charge_of(size),
            )
            tally.last_answer = self._now()
            if reply.status:
                tally.failed[reply.status] += 1
                return
            got = len(reply.read(parse_read, size))
            tally.answered += 1
            tally.bytes_read += got
            tally.short += got < size
            tally.verified += share.session.signer is not None or share.session.sealer is not None
            tally.latencies[round((tally.last_answer - sent) / STEP)] += 1
