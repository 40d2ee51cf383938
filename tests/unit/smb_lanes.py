"""A lane on one end of a socket pair; the test is the server at the other end."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import NamedTuple

from lab.smb import SmbTarget
from lab.smb.connection import Connection
from lab.smb.keys import SessionKeys
from lab.smb.load.churn import ChurnLane
from lab.smb.load.readlane import ReadLane
from lab.smb.load.tape import Reads
from lab.smb.logon import Session
from lab.smb.negotiate import Agreed
from lab.smb.remote_file import RemoteFile
from lab.smb.sealing import Cipher, Sealer
from lab.smb.share import Share
from lab.smb.signing import Signer, SigningAlgorithm, new_signer
from lab.smb.wire import FRAMING, HEADER, PROTOCOL, SEALED, Command, Flags, parts

SESSION, TREE, FILE = 0x1122334455, 7, bytes(range(16))
FIRST = 20  # the message id that the lane begins with
PENDING, END_OF_FILE, CANCELLED = 0x103, 0xC000_0011, 0xC000_0120
LIMIT = 10.0
"""Seconds that anything here may take before the test fails."""

KEYS = SessionKeys(signing=b"s" * 16, encryption=b"e" * 16, decryption=b"d" * 16)
REVERSED = SessionKeys(signing=b"s" * 16, encryption=b"d" * 16, decryption=b"e" * 16)


class Request(NamedTuple):
    """One message of the lane's."""

    command: int
    message_id: int
    charge: int
    credits: int
    flags: int
    session_id: int
    tree_id: int
    message: bytes

    @property
    def offset(self) -> int:
        """Of a READ."""
        return int(struct.unpack_from("<Q", self.message, 72)[0])

    @property
    def size(self) -> int:
        return int(struct.unpack_from("<I", self.message, 68)[0])

    @property
    def file_id(self) -> bytes:
        return self.message[80:96]


class Server:
    """The other end: requests as they came, and answers as told."""

    def __init__(self, peer: socket.socket, signer: Signer | None, sealer: Sealer | None) -> None:
        self.peer, self.signer, self.sealer = peer, signer, sealer
        self.frames = 0
        self._received = bytearray()
        self._sending = threading.Thread(target=bool)
        self._sending.start()
        peer.settimeout(LIMIT)

    def requests(self, count: int) -> list[Request]:
        """The next `count` requests."""
        found: list[Request] = []
        while len(found) < count:
            found += self._frame()
        assert len(found) == count
        return found

    def waiting(self) -> list[Request]:
        """Those that have come."""
        while self._more():
            pass
        found: list[Request] = []
        while len(self._received) >= 4 and len(self._received) >= 4 + self._length():
            found += self._frame()
        return found

    def took(self, data: bytes) -> None:
        """These bytes have come."""
        self._received += data

    def _more(self) -> bool:
        self.peer.setblocking(False)
        try:
            data = self.peer.recv(1 << 20)
            self._received += data
            return bool(data)
        except BlockingIOError:
            return False
        finally:
            self.peer.settimeout(LIMIT)

    def _frame(self) -> Iterator[Request]:
        while len(self._received) < 4 or len(self._received) < 4 + self._length():
            data = self.peer.recv(1 << 20)
            assert data, "the lane closed its connection"
            self._received += data
        message = bytes(self._received[4 : 4 + self._length()])
        del self._received[: 4 + self._length()]
        self.frames += 1
        if message[:4] == SEALED:
            assert self.sealer is not None
            message = self.sealer.unseal(message)
        for part in parts(message):
            _, _, charge, _, command, credits, flags, _, mid, _, tree, session, _ = HEADER.unpack_from(part)
            if flags & Flags.SIGNED:
                assert self.signer is not None and self.signer.verify(part)
            yield Request(command, mid, charge, credits, flags, session, tree, bytes(part))

    def _length(self) -> int:
        return int(FRAMING.unpack_from(self._received)[0])

    def send(self, *messages: bytes) -> None:
        """Returns at once: what a socket may have no room for follows as the lane reads."""
        data = b"".join(self.framed(each) for each in messages)
        self._sending.join()
        if len(data) < 1 << 15:
            self._send(data)
            return
        self._sending = threading.Thread(target=self._send, args=(data,), daemon=True)
        self._sending.start()

    def _send(self, data: bytes) -> None:
        with suppress(OSError):  # the lane has gone
            self.peer.sendall(data)

    def framed(self, message: bytes) -> bytes:
        """Signed, where its flags say so, and sealed as the session is; a compound part by part."""
        data = bytearray(message)
        at = 0
        while len(data) - at >= 64:
            following = int.from_bytes(data[at + 20 : at + 24], "little")
            end = at + following if 64 <= following < len(data) - at else len(data)
            if data[at + 16] & Flags.SIGNED:
                assert self.signer is not None
                data[at + 48 : at + 64] = self.signer.signature(data[at:end])
            at = end
        wire = self.sealer.seal(data) if self.sealer else data
        return FRAMING.pack(len(wire)) + wire


def answer(
    message_id: int,
    *,
    command: int = Command.READ,
    status: int = 0,
    credits: int = 1,
    body: bytes = b"\x09\0\0\0\0\0\0\0\0",
    flags: int = Flags.TO_CLIENT,
    async_id: int = 0,
    following: int = 0,
    session: int = SESSION,
) -> bytes:
    """An answer of a server: by default an error's body."""
    low, high = async_id & 0xFFFF_FFFF, async_id >> 32
    tree = high if async_id else TREE
    head = HEADER.pack(
        PROTOCOL, 64, 1, status, command, credits, flags, following, message_id, low, tree, session, bytes(16)
    )
    return head + body


def read_body(data: bytes, *, said: int | None = None, offset: int = 80) -> bytes:
    return struct.pack("<HBBIII", 17, offset, 0, len(data) if said is None else said, 0, 0) + data


def success(message_id: int, size: int = 4096, **more: int) -> bytes:
    return answer(message_id, body=read_body(bytes(size)), **more)


def pending(message_id: int, async_id: int = 99, credits: int = 1, session: int = SESSION) -> bytes:
    flags = Flags.TO_CLIENT | Flags.ASYNC
    return answer(
        message_id, status=PENDING, async_id=async_id, credits=credits, flags=flags, session=session
    )


def chained(messages: Sequence[bytes]) -> bytes:
    """As one frame's message: each but the last is padded, and says where the next is."""
    out = b""
    for message in messages[:-1]:
        padded = message + bytes(-len(message) % 8)
        out += padded[:20] + len(padded).to_bytes(4, "little") + padded[24:]
    return out + messages[-1]


class Rig:
    """A share over a socket pair, and the server at its other end; for `with`."""

    def __init__(
        self,
        *,
        credits: int = 512,
        signing: SigningAlgorithm | None = None,
        sealed: bool = False,
        dialect: int = 0x0311,
        tcp: bool = False,
    ) -> None:
        ours, theirs = tcp_pair() if tcp else socket.socketpair()
        self.connection = Connection(ours, "127.0.0.1:445", LIMIT)
        large = 0x04 if dialect > 0x0202 else 0
        algorithm = signing or SigningAlgorithm.AES_GMAC
        self.connection.agreed = Agreed(
            dialect, bytes(16), large, 1, 8 << 20, 8 << 20, 8 << 20, b"", algorithm, Cipher.AES_128_GCM
        )
        self.connection.credits.balance, self.connection.credits.next_id = credits, FIRST
        session = Session(self.connection, SESSION)
        session.key = new_signer(algorithm, KEYS.signing)
        session.signs, session.seals = signing is not None, sealed
        session.cipher = Sealer(Cipher.AES_128_GCM, KEYS, SESSION)
        theirs_sealer = Sealer(Cipher.AES_128_GCM, REVERSED, SESSION) if sealed else None
        self.server = Server(theirs, session.key, theirs_sealer)
        target = SmbTarget("127.0.0.1", 445, "user", "", "Data", "Admin")
        self.share = Share(target, "Data", session, TREE)

    def __enter__(self) -> Rig:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.connection.close()
        self.server.peer.close()

    def file(self, length: int = 1 << 20, file_id: bytes = FILE) -> RemoteFile:
        return RemoteFile(self.share, file_id, length, datetime(2026, 1, 1), "a file")

    def lane(
        self,
        reads: Reads | None = None,
        *,
        verify_every: int = 1,
        now: Callable[[], float] = time.monotonic,
        files: Sequence[RemoteFile] = (),
    ) -> ReadLane:
        return ReadLane(
            self.share, files or [self.file()], reads or Reads(), verify_every=verify_every, now=now
        )

    def churn(self, names: Sequence[str], size: int = 4096) -> ChurnLane:
        return ChurnLane(self.share, names, Reads(size=size), verify_every=1)


class Serving(threading.Thread):
    """Answers every READ and ECHO of a rig until its lane has gone; at most `most` READs."""

    def __init__(self, rig: Rig, *, most: int = 1 << 30) -> None:
        super().__init__(daemon=True)
        self._server, self._most = rig.server, most
        self.read: list[Request] = []
        self.unanswered: list[Request] = []
        self.start()

    def run(self) -> None:
        with suppress(AssertionError, OSError):  # the lane has gone
            while True:
                data = self._server.peer.recv(1 << 20)
                if not data:
                    return
                self._server.took(data)
                out = []
                for each in self._server.waiting():
                    if each.command == Command.ECHO:
                        out.append(answer(each.message_id, command=Command.ECHO, body=b"\4\0\0\0"))
                    elif len(self.read) < self._most:
                        self.read.append(each)
                        out.append(success(each.message_id, each.size))
                    else:
                        self.unanswered.append(each)
                self._server.peer.sendall(b"".join(map(self._server.framed, out)))


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    return ours, theirs


def settle(lane: ReadLane | ChurnLane) -> None:
    """Take in all that is owed."""
    deadline = time.monotonic() + LIMIT
    while lane.owed:
        lane.receive(0.05)
        assert time.monotonic() < deadline, f"{lane.owed} answers are still owed"
