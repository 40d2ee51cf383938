"""READs over one connection, as many in flight as wanted."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from lab.model import ConfigurationError
from lab.smb.load.answers import ANSWER_SIZE, Expected, ExpectedCompound, Run, Shape
from lab.smb.load.guard import sealed_length
from lab.smb.load.tape import LAP, Reads, Tape
from lab.smb.load.waiting import DISCARD
from lab.smb.load.wirelane import WireLane
from lab.smb.remote_file import RemoteFile
from lab.smb.share import Share
from lab.smb.wire import CREDIT_BYTES, FRAMING, SEALED, Command, Header, charge_of

DROP_FROM = 1024 * 1024
"""Bytes of a READ that are rather dropped by the kernel, at the cost of one more call, than taken from it."""

SKIP_FROM = 128 * 1024
"""Bytes of a READ from which the payload of an answer that has come in part is not kept."""

_ROUNDS = 32
_READ = bytes((Command.READ,))


class ReadLane(WireLane):
    """READs of open `files` of `share`, file by file in turns, at the offsets that `reads` says.

    With `reads.compound` several READs go in one message. `release` and `in_flight` count READs all the same,
    and only whole messages are released: never more than asked for. The server may answer with messages of
    several answers, of one, or any mixture.

    An answer that carries all that was asked for is counted without a look at its payload.
    """

    def __init__(
        self,
        share: Share,
        files: Sequence[RemoteFile],
        reads: Reads,
        *,
        verify_every: int = 16,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises ConfigurationError when the server allows no READ of that size, or a compound cannot have
        one: each of its READs is paid for by one credit."""
        most = share.connection.max_read
        if not 0 < reads.size <= most:
            raise ConfigurationError(
                f"READs of {reads.size} bytes are not possible: {share.connection.place} allows 1 to {most}",
                help="Give the load another size.",
            )
        compound = reads.compound
        if compound > 1 and reads.size > CREDIT_BYTES:
            raise ConfigurationError(
                f"READs of {reads.size} bytes are not possible in a compound: 1 to {CREDIT_BYTES} are",
                help="Give the load another size.",
            )
        super().__init__(
            share,
            charge=charge_of(reads.size),
            cost=charge_of(reads.size),
            largest=compound * (ANSWER_SIZE + reads.size),
            answer=ANSWER_SIZE + reads.size,
            verify_every=verify_every,
            now=now,
        )
        self._size = reads.size
        self._signed = self._guard.signer is not None
        self._expected = Expected(reads.size, self._address.session_id, signed=self._signed)
        self._compound: ExpectedCompound | None = None
        self._shapes: tuple[Shape, ...] = (self._expected,)
        if compound > 1:
            self._compound = ExpectedCompound(
                compound, reads.size, self._address.session_id, signed=self._signed
            )
            self._shapes = (self._compound, self._expected)
        self._tape = Tape(
            [(file.file_id, file.length) for file in files], reads, self._address, first_id=self._origin
        )
        self._skips = reads.size >= SKIP_FROM and compound == 1
        self._drops = self._skips and bool(DISCARD) and reads.size >= DROP_FROM and not self._guard.sealer
        self._dropped: Run | None = None  # counted as soon as its payload has come

    def build(self) -> None:
        self._tape.credits = self._credits_to_ask()
        self._tape.build(LAP)

    def release(self, count: int) -> int:
        compound = self._tape.compound
        count -= count % compound
        possible = self._possible(count) if count > 0 else 0
        possible -= possible % compound
        if possible <= 0:
            return 0
        tape, now, done = self._tape, self._now(), 0
        if not tape.ready:
            tape.credits = self._credits_to_ask()
        if self.tally.first_sent is None:
            self.tally.first_sent = now
        while done < possible and not self.blocked:
            batch = tape.take(possible - done)
            size = len(batch) // tape.stride * compound
            self._credits.take(size * self._charge)
            self._flights.launch(_READ * size, now)
            self._flying += size
            self.tally.sent += size
            done += size
            self._send(batch)
        self._low_water.aim(self._flying, self._answer)
        return done

    def _skip(self) -> None:
        self._tape.skip()

    def _take_in(self) -> int:
        if not self._drops:
            return super()._take_in()
        incoming, finals, size = self._incoming, 0, 0
        for _ in range(_ROUNDS):
            got = self._received(lambda: incoming.receive_head(ANSWER_SIZE))
            finals += self._parsed(self.heard)
            incoming.settle()
            size += got
            if not got or incoming.dropping:
                break
        self._low_water.came(size, self._flying)
        return finals

    def _run(self, now: float) -> int:
        if self._guard.sealer:
            return 0
        if self._dropped is not None:
            return self._run_dropped(now)
        incoming = self._incoming
        for shape in self._shapes:
            run = shape.run(incoming.data, incoming.start, incoming.end)
            if run is not None:
                break
        else:
            return self._run_dropped(now) if self._skips else 0
        ids, credits = run
        count = len(ids)
        if self._signed:
            right = self._guard.check_run(incoming.data, incoming.start, shape, count)
            if right < count:
                self._landed(ids[:right], 0, now)
                raise self._guard.forged()
        incoming.start += shape.size_of(count)
        self._landed(ids, credits, now)
        return count

    def _run_dropped(self, now: float) -> int:
        """One answer, of which only the head is looked at; it is counted when all of it has come."""
        incoming = self._incoming
        if self._dropped is None:
            head = incoming.view[incoming.start : min(incoming.end, incoming.start + ANSWER_SIZE)]
            if len(head) < ANSWER_SIZE or self._guard.next_is_due:
                return 0
            self._dropped = self._expected.single(head[4:], FRAMING.unpack_from(head)[0])
            if self._dropped is None:
                return 0
            self._guard.due()
            incoming.drop(ANSWER_SIZE, self._size)
        if incoming.dropping:
            return 0
        run, self._dropped = self._dropped, None
        self._landed(run.message_ids, run.credits, now)
        return 1

    def _landed(self, ids: tuple[int, ...], credits: int, now: float) -> None:
        """Count successful, whole answers."""
        if not ids:
            return
        count, first, charge = len(ids), ids[0], self._charge
        if ids == tuple(range(first, first + count * charge, charge)):
            self._land(first, count, now)
        else:
            for message_id in ids:
                self._land(message_id, 1, now)
        if self._put_off:
            for message_id in ids:
                self._put_off.pop(self._serial(message_id), None)
        self._credits.grant(credits)

    def _land(self, message_id: int, count: int, now: float) -> None:
        """Count `count` successful, whole answers to READs that were sent one after another."""
        serial = self._serial(message_id)
        if not self._flights.land_run(serial, count):
            if count == 1:
                raise self._unknown(message_id)
            for one in range(count):  # up to the one that is not in flight
                self._land(message_id + one * self._charge, 1, now)
            return
        self._took(serial, count, now)
        self._flying -= count
        self.tally.answered += count
        self.tally.bytes_read += count * self._size

    def _frame(self, frame: memoryview, now: float) -> int:
        if self._guard.sealer is None or frame[:4] != SEALED:
            return super()._frame(frame, now)
        length = sealed_length(frame)
        if self._compound is not None and length == self._compound.length:
            plain = self._guard.open_whole(frame)
            run = self._compound.whole(plain)
        else:
            plain = self._guard.open(frame)
            run = self._expected.single(plain, length)
        if run is None:
            whole = plain if len(plain) == length else self._guard.open_whole(frame)
            return self._parts(whole, now, sealed=True)
        self._landed(run.message_ids, run.credits, now)
        return len(run.message_ids)

    def _done(self, head: Header, message: memoryview) -> int:
        self._count_read(head, message, self._size)
        self._flying -= 1
        return 1
