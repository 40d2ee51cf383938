"""The SMB2 client on streams of answers that are already there: no server, no waiting, the same every time.

A stream is given to the client through a socket pair that is closed behind it. Its random numbers are made
from a counter, so that the keys of a recorded log-on come out again and its signatures are right.
"""

from __future__ import annotations

import hashlib
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from unittest import mock

from fuzz_mutations import Seed
from fuzz_smb_mutations import PREFIX

sys.path.append(str(Path(__file__).parents[1] / "servers"))

import smbd
from nullsmb import NullServer

import lab.smb.dial
from lab.model import LabError
from lab.smb.share import Share, connect
from lab.smb.target import Encryption, Security, Signing, SmbTarget

CONTENT = hashlib.shake_128(b"content").digest(20_000)
HOST = "127.0.0.1"
_PLAIN = Signing.IF_ASKED

PLAINLY = Security(signing=_PLAIN)
ROADS = (
    Security(),
    PLAINLY,
    Security(encryption=Encryption.REQUIRED),
    Security(signing=_PLAIN, dialects=(0x0202,), encryption=Encryption.OFF),
    Security(signing=_PLAIN, dialects=(0x0202, 0x0210, 0x0300, 0x0302), encryption=Encryption.OFF),
    Security(dialects=(0x0202, 0x0210)),
)
ACCOUNTS = (("tester", "Null-Test-1"), (smbd.USER, smbd.PASSWORD))
"""The first byte of a stream says which road, the second which account."""


class Peer(socket.socket):
    """One end of a socket pair that takes options of TCP, and keeps what it receives."""

    heard: bytearray

    def setsockopt(self, level: int, *rest: object) -> None:
        if level != socket.IPPROTO_TCP:
            super().setsockopt(level, *rest)  # type: ignore[call-overload]

    def recv(self, size: int, flags: int = 0) -> bytes:
        data = super().recv(size, flags)
        self.heard += data
        return data

    def recv_into(self, buffer: memoryview, size: int = 0, flags: int = 0) -> int:  # type: ignore[override]
        got = super().recv_into(buffer, size, flags)
        if not flags:
            self.heard += buffer[:got]
        return got


def peer(sock: socket.socket) -> Peer:
    made = Peer(fileno=sock.detach())
    made.heard = bytearray()
    return made


@contextmanager
def filled(stream: bytes) -> Iterator[Peer]:
    """A connected socket that `stream` comes out of, and then its end."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        theirs.setblocking(False)
        with suppress(BlockingIOError):
            theirs.send(stream)
        theirs.shutdown(socket.SHUT_WR)
        with peer(ours) as made:
            yield made


@contextmanager
def unsurprising() -> Iterator[None]:
    """Within, the client's random numbers and its name are the same every time."""
    numbers = count()

    def urandom(size: int) -> bytes:
        return hashlib.shake_128(b"%d" % next(numbers)).digest(size)

    named = mock.patch.dict(os.environ, {"NETBIOS_COMPUTER_NAME": "FUZZ"})
    with mock.patch.object(os, "urandom", urandom), named:
        yield


def use(security: Security, port: int, user: str, password: str) -> None:
    """All that the product does with a share, one after the other, as long as the connection lives.

    AssertionError when a signed or encrypted answer was taken for something that the server did not say.
    """
    target = SmbTarget(HOST, port, user, password, "Data", "Data", security)
    share = connect(target, "Data", seconds=5)
    protected = share.session.signer is not None or share.session.sealer is not None
    try:
        for act in (_write, _look, _read, _remove):
            with suppress(LabError):
                act(share, protected)
            if not share.alive:
                return
    finally:
        share.close()


def _write(share: Share, protected: bool) -> None:
    share.make_folder("sub")
    with share.create("sub\\some.bin") as file:
        file.write_at(0, CONTENT)


def _look(share: Share, protected: bool) -> None:
    share.free_space()
    listed = [(each.name, each.length) for each in share.list("sub")]
    known = share.stat("sub\\some.bin")
    if protected:
        assert listed == [("sub\\some.bin", len(CONTENT))] and known.length == len(CONTENT)


def _read(share: Share, protected: bool) -> None:
    with share.open("sub\\some.bin") as file:
        whole = file.read_at(0, len(CONTENT) + 100)
        part = b"".join(file.stream(4096, 8192))
        assert len(whole) <= len(CONTENT) + 100 and len(part) <= 8192
        if protected:
            assert whole == CONTENT and part == CONTENT[4096:][:8192]


def _remove(share: Share, protected: bool) -> None:
    share.remove("sub\\some.bin")
    share.remove_folder("sub")


def run_replies(data: bytes) -> None:
    played(data)


def played(data: bytes) -> int:
    """A whole session on the answers that `data` holds; how many bytes of them the client took in."""
    road, account = (data + bytes(2))[:2]
    with (
        filled(data[PREFIX:]) as sock,
        unsurprising(),
        mock.patch.object(lab.smb.dial.socket, "create_connection", lambda *_, **__: sock),
    ):
        try:
            use(ROADS[road % len(ROADS)], 445, *ACCOUNTS[account % len(ACCOUNTS)])
        finally:
            taken = len(sock.heard)
    return taken


# --- recording ------------------------------------------------------------------------------------


@contextmanager
def recording() -> Iterator[list[Peer]]:
    """The client's connections that are made within, with all that they heard."""
    dial = socket.create_connection
    made: list[Peer] = []

    def connected(*where: object, **how: object) -> Peer:
        made.append(peer(dial(*where, **how)))  # type: ignore[arg-type]
        return made[-1]

    with mock.patch.object(lab.smb.dial.socket, "create_connection", connected):
        yield made


def recorded(road: int, account: int, port: int) -> bytes:
    """The stream of a session with the server at `port`, which must go through to its end."""
    with unsurprising(), recording() as made:
        use(ROADS[road], port, *ACCOUNTS[account])
    return bytes((road, account)).ljust(PREFIX, b"\0") + bytes(made[0].heard)


@cache
def replies() -> list[Seed]:
    """Sessions with the null server, and with smbd where there is one."""
    found = {}
    with NullServer(content="pattern", max_read=65536, max_write=65536) as null:
        for road in range(len(ROADS)):
            found[f"null {road}"] = recorded(road, 0, null.port)
    if not smbd.missing():
        with smbd.running() as server:
            for road in range(len(ROADS)):
                found[f"smbd {road}"] = recorded(road, 1, server.port)
    return [Seed(name, data, ((0, len(data)),)) for name, data in found.items()]
