"""One connection to an SMB2 server: requests out, answers in, every message accounted for."""

from __future__ import annotations

import socket
import time
import uuid
from collections import deque
from types import TracebackType

from lab.model import LabError
from lab.smb.credits import Credits
from lab.smb.errors import Malformed, Unreachable, reason
from lab.smb.keys import PreauthHash
from lab.smb.negotiate import Agreed
from lab.smb.outstanding import Outstanding, Protection, Reply, Waiting
from lab.smb.signing import Signer
from lab.smb.stream import Stream
from lab.smb.wire import SEALED, Command, Flags, header, parts

SETUP_FRAME = 1 << 16
"""The longest message before a server has said how much it sends."""
FRAME_ROOM = 1 << 16
"""What a message may have beside its payload."""
CREDITS_WANTED = 512
"""What a connection asks for until it has so many; the engine of the load asks for more."""


class Connection:
    """For one thread at a time. Make one with `lab.smb.dial.open_connection`.

    Every method that waits raises `Unreachable` when the connection is lost or the server stays silent
    for `seconds`, and `Malformed` for an answer that breaks the protocol; then the connection is closed.
    """

    def __init__(self, sock: socket.socket, place: str, seconds: float) -> None:
        self.socket, self.place, self.seconds = sock, place, seconds
        self.credits = Credits()
        self.alive = True
        self.agreed: Agreed | None = None
        self.guid = uuid.uuid4().bytes_le
        self.preauth: PreauthHash | None = None
        self.last: tuple[bytes, bytes] = (b"", b"")  # the last request and answer, for preauthentication
        self.until: float | None = None  # a limit over several exchanges, by time.monotonic
        self._why: LabError | None = None  # what ended it
        self._stream = Stream(sock)
        self._sessions: dict[int, Protection] = {}
        self._requests = Outstanding(place, self.credits)

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    @property
    def dialect(self) -> int:
        return self._known.dialect

    @property
    def max_read(self) -> int:
        """Bytes of one READ."""
        return self._known.max_read if self.multi_credit else min(self._known.max_read, 1 << 16)

    @property
    def max_write(self) -> int:
        """Bytes of one WRITE."""
        return self._known.max_write if self.multi_credit else min(self._known.max_write, 1 << 16)

    @property
    def multi_credit(self) -> bool:
        """Whether one request may be for more than 64 KiB."""
        return self._known.multi_credit

    @property
    def largest_frame(self) -> int:
        """Bytes of the longest message that the server may send."""
        if self.agreed is None:
            return SETUP_FRAME
        return max(self.agreed.max_read, self.agreed.max_transact) + FRAME_ROOM

    @property
    def in_flight(self) -> int:
        return len(self._requests)

    @property
    def breaks(self) -> deque[bytes]:
        """Notifications that nobody asked for, oldest first: oplock and lease breaks."""
        return self._requests.breaks

    @property
    def _known(self) -> Agreed:
        assert self.agreed is not None  # open_connection returns none without
        return self.agreed

    def know(self, session: Protection) -> None:
        """From now on, encrypted answers of this session can be opened."""
        self._sessions[session.id] = session

    def forget(self, session: Protection) -> None:
        self._sessions.pop(session.id, None)

    def exchange(
        self,
        command: int,
        body: bytes,
        *,
        session: Protection | None = None,
        session_id: int = 0,
        tree_id: int = 0,
        charge: int = 1,
        sign: Signer | None = None,
    ) -> Reply:
        """Send one request and wait for its final answer. The values are those of `submit`."""
        return self.wait(
            self.submit(
                command,
                body,
                session=session,
                session_id=session_id,
                tree_id=tree_id,
                charge=charge,
                sign=sign,
            )
        )

    def submit(
        self,
        command: int,
        body: bytes,
        *,
        session: Protection | None = None,
        session_id: int = 0,
        tree_id: int = 0,
        charge: int = 1,
        sign: Signer | None = None,
    ) -> int:
        """Send one request without waiting for its answer; returns its message id.

        Waits for credits when there are too few. `session_id` is for a session that is not set up yet;
        `sign` signs a message that its session would send unsigned.
        """
        self._wait_for_credits(charge)
        want = max(charge, CREDITS_WANTED - self.credits.balance)
        message_id = self.credits.take(charge)
        sealed_for = session if session is not None and session.sealer is not None else None
        signer = None if sealed_for else sign or (session.signer if session is not None else None)
        message = bytearray(
            header(
                command,
                message_id=message_id,
                session_id=session.id if session is not None else session_id,
                tree_id=tree_id,
                credits=want,
                charge=charge if self.agreed is not None and self.dialect > 0x0202 else 0,
            )
        )
        message += body
        self._requests.add(message_id, Waiting(command, signer, sealed_for))
        self._send(message, signer, sealed_for)
        self.last = (bytes(message) if len(message) < SETUP_FRAME else b"", b"")
        return message_id

    def wait(self, message_id: int) -> Reply:
        """The final answer to a request that was submitted."""
        deadline = self._deadline()
        while (reply := self._requests.answer_of(message_id)) is None:
            self._receive(deadline)
        return reply

    def drop(self, message_id: int) -> None:
        """Let the answer to a request go unread: it is taken in, counted and forgotten."""
        self._requests.drop(message_id)

    def cancel(self, message_id: int, session: Protection, tree_id: int = 0) -> None:
        """Ask the server to give a request up (MS-SMB2 3.2.4.24); its final answer comes all the same."""
        waiting = self._requests.get(message_id)
        if waiting is None:
            return
        message = bytearray(
            header(
                Command.CANCEL,
                message_id=message_id,
                session_id=session.id,
                tree_id=tree_id,
                credits=0,
                charge=0,
            )
        )
        if waiting.async_id:
            message[16] |= Flags.ASYNC
            message[32:40] = waiting.async_id.to_bytes(8, "little")
        message += b"\x04\0\0\0"
        self._send(message, waiting.signer, waiting.sealed_for)

    def collect(self, seconds: float) -> list[Reply]:
        """Final answers that have come; waits up to `seconds`, at least 1 ms, for the first. May be empty."""
        deadline = time.monotonic() + max(seconds, 0.001)
        while not (found := self._requests.answers()):
            try:
                self._receive(deadline, fatal=False)
            except TimeoutError:
                break
        return found

    def lend(self) -> bytes:
        """Hand socket and credits to someone who reads and writes them directly; what was received and not
        yet taken in is returned. Only when nothing is in flight. `take_back` ends it."""
        if self._requests:
            raise RuntimeError("a connection with requests in flight cannot be lent")
        rest = bytes(self._stream.received)
        self._stream.received.clear()
        return rest

    def take_back(self, rest: bytes) -> None:
        self._stream.received[:] = rest

    def close(self) -> None:
        """Close the socket; never raises."""
        self.alive = False
        self.socket.close()

    def _deadline(self, seconds: float | None = None) -> float:
        deadline = time.monotonic() + (self.seconds if seconds is None else seconds)
        return deadline if self.until is None else min(deadline, self.until)

    def _wait_for_credits(self, charge: int) -> None:
        deadline = self._deadline()
        while self.credits.balance < charge:
            if not self._requests:
                raise self._broken(Malformed(f"{self.place} leaves no credits for another request"))
            self._receive(deadline)

    def _send(self, message: bytearray, signer: Signer | None, sealed_for: Protection | None) -> None:
        """Sign or seal the message, and put it on the wire."""
        self._must_be_alive()
        if signer is not None:
            message[16] |= Flags.SIGNED
            message[48:64] = signer.signature(message)
        sealer = sealed_for.sealer if sealed_for is not None else None
        try:
            self._stream.send(sealer.seal(message) if sealer is not None else message, self._deadline())
        except OSError as error:
            raise self._lost(error) from None

    def _receive(self, deadline: float, *, fatal: bool = True) -> None:
        """Take in one message. A time-out that is not `fatal` is a TimeoutError and loses nothing."""
        self._must_be_alive()
        try:
            self._take(self._stream.next(deadline, self.largest_frame))
        except TimeoutError:
            if not fatal:
                raise
            raise self._broken(Unreachable(f"{self.place} has not answered in time")) from None
        except OSError as error:
            raise self._lost(error) from None
        except Malformed as error:
            raise self._broken(error.at(self.place)) from None

    def _take(self, message: memoryview) -> None:
        opened: Protection | None = None
        if bytes(message[:4]) == SEALED:
            opened = self._sessions.get(int.from_bytes(message[44:52], "little"))
            if opened is None or opened.sealer is None:
                raise Malformed(f"{self.place} sent an encrypted answer of a session that is not ours")
            message = memoryview(opened.sealer.unseal(message))
        for part in parts(message):
            reply = self._requests.take(part, opened)
            if reply is not None and len(part) < SETUP_FRAME:
                self.last = (self.last[0], bytes(part))

    def _lost(self, error: OSError) -> LabError:
        return self._broken(Unreachable(f"the connection to {self.place} was lost: {reason(error)}"))

    def _broken(self, error: LabError) -> LabError:
        self._why = error
        self.close()
        return error

    def _must_be_alive(self) -> None:
        """Raise what ended the connection, where nobody heard of it then: at the closing of a file."""
        if not self.alive:
            raise self._why or Unreachable(f"the connection to {self.place} is closed")
