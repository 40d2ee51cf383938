"""A connection against a peer that answers what the test says, over a socket pair."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from lab.smb import wire
from lab.smb.connection import Connection
from lab.smb.errors import Malformed, Unreachable
from lab.smb.keys import session_keys
from lab.smb.messages import NOTHING
from lab.smb.negotiate import Agreed
from lab.smb.outstanding import Reply
from lab.smb.sealing import Cipher, Sealer
from lab.smb.signing import Signer, SigningAlgorithm, new_signer
from lab.smb.wire import Command, Flags, Header

AGREED = Agreed(
    0x0311, bytes(16), 0x44, 1, 1 << 20, 1 << 20, 1 << 20, b"", SigningAlgorithm.AES_GMAC, Cipher.AES_128_GCM
)
SIGNED, ASYNC, TO_CLIENT = 8, 2, 1
PENDING, DELETED = 0x103, 0xC000_0203
KEYS = session_keys(0x0311, b"k" * 16, bytes(64), Cipher.AES_128_GCM)


class Someone:
    """A session. `other` opens and makes what the server would."""

    def __init__(self, *, signs: bool = False, seals: bool = False) -> None:
        self.id = 0x1122
        self.key = new_signer(SigningAlgorithm.AES_GMAC, KEYS.signing)
        turned = type(KEYS)(KEYS.signing, KEYS.decryption, KEYS.encryption)
        self.other = Sealer(Cipher.AES_128_GCM, turned, self.id)
        self.signer: Signer | None = self.key if signs else None
        self.sealer: Sealer | None = Sealer(Cipher.AES_128_GCM, KEYS, self.id) if seals else None


class Peer:
    """The other end. `hear` gives the next request's header; `say` sends messages as they are."""

    def __init__(self) -> None:
        mine, self.socket = socket.socketpair()
        self.socket.settimeout(10)
        self.connection = Connection(mine, "srv:445", 5.0)
        self.connection.agreed = AGREED
        self.connection.credits.grant(100)

    def hear(self) -> tuple[Header, bytes]:
        (length,) = struct.unpack(">I", self._exactly(4))
        message = self._exactly(length)
        return wire.parse_header(message), message

    def hear_raw(self) -> bytes:
        (length,) = struct.unpack(">I", self._exactly(4))
        return self._exactly(length)

    def say(self, *messages: bytes) -> None:
        for message in messages:
            self.socket.sendall(struct.pack(">I", len(message)) + message)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += self.socket.recv(size - len(data))
        return data


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.connection.close()
    made.socket.close()


def answer(
    message_id: int,
    *,
    command: int = Command.ECHO,
    status: int = 0,
    flags: int = TO_CLIENT,
    credits: int = 1,
    next_command: int = 0,
    async_id: int = 0,
    body: bytes = NOTHING,
) -> bytearray:
    raw = bytearray(
        wire.header(command, message_id=message_id, credits=credits, flags=flags, next_command=next_command)
    )
    raw[8:12] = struct.pack("<I", status)
    if async_id:
        raw[32:40] = struct.pack("<Q", async_id)
    return raw + body


def signed(message: bytearray, key: Signer) -> bytearray:
    message[16] |= SIGNED
    message[48:64] = key.signature(message)
    return message


def test_answers_in_any_order_and_credits_from_every_answer(peer: Peer) -> None:
    connection = peer.connection
    before = connection.credits.balance
    ids = [connection.submit(Command.ECHO, NOTHING) for _ in range(3)]
    assert connection.credits.balance == before - 3 and connection.in_flight == 3
    heard = [peer.hear()[0] for _ in ids]
    assert [(head.message_id, head.credit_charge) for head in heard] == [(each, 1) for each in ids]
    interim = answer(ids[0], status=PENDING, flags=TO_CLIENT | ASYNC, credits=10, async_id=99)
    peer.say(interim, answer(ids[2], credits=0), answer(ids[1], credits=7), answer(ids[0], credits=0))
    assert [connection.wait(each).header.message_id for each in ids] == ids
    assert connection.credits.balance == before - 3 + 17 and connection.in_flight == 0


def test_a_compound_of_answers(peer: Peer) -> None:
    ids = [peer.connection.submit(Command.ECHO, NOTHING) for _ in range(2)]
    first = answer(ids[0], next_command=72)
    peer.say(first + bytes(72 - len(first)) + answer(ids[1]))
    assert [peer.connection.wait(each).status for each in ids] == [0, 0]


def test_dropped_answers_and_breaks(peer: Peer) -> None:
    connection = peer.connection
    first, second, third = (connection.submit(Command.ECHO, NOTHING) for _ in range(3))
    connection.drop(first)
    notice = answer(wire.UNSOLICITED, command=Command.OPLOCK_BREAK, body=bytes(24))
    peer.say(answer(first), notice, answer(second), answer(third))
    assert connection.wait(third).header.message_id == third
    connection.drop(second)
    assert connection.collect(0) == [] and connection.in_flight == 0
    assert list(connection.breaks) == [bytes(notice)]


def test_a_cancel_names_the_async_id(peer: Peer) -> None:
    someone = Someone(signs=True)
    message_id = peer.connection.submit(Command.READ, bytes(49), session=someone, tree_id=5)
    peer.hear()
    peer.connection.cancel(message_id, someone, 5)
    head, _ = peer.hear()
    assert (head.command, head.message_id, head.tree_id, head.flags & ASYNC) == (12, message_id, 5, 0)
    peer.say(answer(message_id, command=8, status=PENDING, flags=TO_CLIENT | ASYNC, async_id=77))
    assert peer.connection.collect(0.2) == []
    peer.connection.cancel(message_id, someone, 5)
    head, message = peer.hear()
    assert head.async_id == 77 and head.flags & ASYNC and head.flags & SIGNED
    assert someone.key.verify(bytearray(message))


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (lambda i: answer(i + 1), "was not made"),
        (lambda i: answer(i, command=Command.READ), "was not made"),
        (lambda i: answer(i, flags=0), "sent a request"),
        (lambda i: answer(i)[:12], "64 to"),
        (lambda i: b"\xffSMB" + bytes(60), "not SMB2"),
        (lambda i: b"\xfdSMB" + bytes(60), "not ours"),
        (lambda i: answer(i, next_command=8), "compound"),
    ],
)
def test_what_is_no_answer_is_refused(peer: Peer, broken: Callable[[int], bytes], says: str) -> None:
    message_id = peer.connection.submit(Command.ECHO, NOTHING)
    peer.say(bytes(broken(message_id)))
    with pytest.raises((Malformed, Unreachable), match=says):
        peer.connection.seconds = 0.3
        peer.connection.wait(message_id)
    assert not peer.connection.alive


def test_put_off_twice_is_refused(peer: Peer) -> None:
    message_id = peer.connection.submit(Command.ECHO, NOTHING)
    off = answer(message_id, status=PENDING, flags=TO_CLIENT | ASYNC, async_id=5)
    peer.say(off, off)
    with pytest.raises(Malformed, match="twice"):
        peer.connection.wait(message_id)


def test_signatures_are_demanded_and_checked(peer: Peer) -> None:
    someone = Someone(signs=True)
    connection = peer.connection
    message_id = connection.submit(Command.ECHO, NOTHING, session=someone)
    head, message = peer.hear()
    assert head.flags & SIGNED and someone.key.verify(bytearray(message))
    pending = answer(message_id, status=PENDING, flags=TO_CLIENT | ASYNC, async_id=5)
    peer.say(pending, signed(answer(message_id), someone.key))
    assert connection.wait(message_id).status == 0

    message_id = connection.submit(Command.ECHO, NOTHING, session=someone)
    wrong = signed(answer(message_id), someone.key)
    wrong[50] ^= 1
    peer.say(bytes(wrong))
    with pytest.raises(Malformed, match="signature of an answer of srv:445 is wrong"):
        connection.wait(message_id)


@pytest.mark.parametrize(("status", "accepted"), [(0, False), (0xC0000022, False), (DELETED, True)])
def test_unsigned_answers(peer: Peer, status: int, accepted: bool) -> None:
    message_id = peer.connection.submit(Command.ECHO, NOTHING, session=Someone(signs=True))
    peer.say(answer(message_id, status=status))
    if accepted:
        assert peer.connection.wait(message_id).status == status
        return
    with pytest.raises(Malformed, match="unsigned answer"):
        peer.connection.wait(message_id)


def test_encrypted_both_ways(peer: Peer) -> None:
    someone = Someone(signs=True, seals=True)
    connection = peer.connection
    connection.know(someone)
    message_id = connection.submit(Command.ECHO, NOTHING, session=someone)
    opened = someone.other.unseal(peer.hear_raw())
    assert wire.parse_header(opened).message_id == message_id
    assert not wire.parse_header(opened).flags & Flags.SIGNED
    peer.say(someone.other.seal(bytes(answer(message_id))))
    assert connection.wait(message_id).status == 0
    message_id = connection.submit(Command.ECHO, NOTHING, session=someone)
    peer.say(answer(message_id))
    with pytest.raises(Malformed, match="in the clear"):
        connection.wait(message_id)


def test_no_credits_left(peer: Peer) -> None:
    connection = peer.connection
    connection.credits.balance = 1
    message_id = connection.submit(Command.ECHO, NOTHING)
    peer.say(answer(message_id, credits=0))
    connection.wait(message_id)
    with pytest.raises(Malformed, match="no credits"):
        connection.submit(Command.ECHO, NOTHING)


def test_a_long_answer_in_pieces_survives_a_time_out(peer: Peer) -> None:
    connection = peer.connection
    message_id = connection.submit(Command.READ, bytes(49))
    whole = bytes(answer(message_id, command=Command.READ, body=bytes(range(256)) * 1024))
    framed = struct.pack(">I", len(whole)) + whole
    peer.socket.sendall(framed[:100_000])
    assert connection.collect(0.3) == []
    sender = threading.Thread(target=peer.socket.sendall, args=(framed[100_000:],))
    sender.start()
    reply: Reply = connection.wait(message_id)
    sender.join()
    assert bytes(reply.message) == whole


def test_silence_and_loss(peer: Peer) -> None:
    peer.connection.seconds = 0.2
    with pytest.raises(Unreachable, match="srv:445 has not answered"):
        peer.connection.exchange(Command.ECHO, NOTHING)
    other = Peer()
    other.socket.close()
    with pytest.raises(Unreachable, match="the connection to srv:445 was lost"):
        other.connection.exchange(Command.ECHO, NOTHING)
        other.connection.exchange(Command.ECHO, NOTHING)


def test_lending(peer: Peer) -> None:
    connection = peer.connection
    message_id = connection.submit(Command.ECHO, NOTHING)
    with pytest.raises(RuntimeError, match="in flight"):
        connection.lend()
    peer.say(answer(message_id), answer(wire.UNSOLICITED, command=Command.OPLOCK_BREAK, body=bytes(24)))
    connection.wait(message_id)
    rest = connection.lend()
    connection.take_back(rest)
    connection.collect(0.2)
    assert len(connection.breaks) == 1
