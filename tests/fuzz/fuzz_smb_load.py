"""The lanes of a read load on streams of answers, made by the null server's own code: without a server."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from unittest import mock

from fuzz_mutations import Seed
from fuzz_smb import ACCOUNTS, PLAINLY, filled, recording
from fuzz_smb_mutations import PREFIX, split

sys.path.append(str(Path(__file__).parents[1] / "servers"))

import nullsmb_keys
import smbd
from nullsmb_wire import CLOSE, CREATE, END_OF_FILE, PENDING, READ, Answer, create_body, failure_body, framed

import lab.smb.load.readlane
from lab.smb.connection import Connection
from lab.smb.keys import SessionKeys
from lab.smb.load.churn import ChurnLane
from lab.smb.load.readlane import ReadLane
from lab.smb.load.tape import Reads
from lab.smb.load.wirelane import WireLane
from lab.smb.logon import Session
from lab.smb.negotiate import Agreed
from lab.smb.remote_file import RemoteFile
from lab.smb.sealing import Cipher, Sealer
from lab.smb.share import Share, connect, when
from lab.smb.signing import SigningAlgorithm, new_signer
from lab.smb.target import SmbTarget

SIZE = 512
READS = 48
FIRST = 100  # message id of what is made up here
KEY, TO_SERVER, TO_CLIENT = b"K" * 16, b"S" * 16, b"C" * 16
SESSION, TREE = 0x1234_5678, 9

PLAIN, SIGNED, SEALED, DROPPED, CHURN, SIGNED_CHURN, KNOWN_SIGNED, KNOWN_SEALED, SKIPPED = range(9)
"""The first byte of a stream says which lane it is for; the next four are the load's first message id.
KNOWN_…: the server itself is hostile, so its answers are signed or sealed after they were damaged."""


def run_read_answers(data: bytes) -> None:
    """A lane's whole life on the answers that `data` holds; what it counted must add up, in any case."""
    kind = data[0] % 9 if data else PLAIN
    stream = data[PREFIX:]
    if kind in (KNOWN_SIGNED, KNOWN_SEALED):
        stream = _protected(stream, sealed=kind == KNOWN_SEALED)
    with filled(stream) as sock:
        first = int.from_bytes(data[1:5].ljust(4, b"\0"), "little")
        lane = _lane(Connection(sock, "fuzz:445", 5.0), kind, first)
        try:
            _drive(lane)
        finally:
            _add_up(lane)


def _drive(lane: WireLane) -> None:
    """Until the lane says that the connection ended, as it does."""
    lane.build()
    lane.release(READS)
    for _ in range(1000):
        lane.receive(0)
        lane.release(1)


def _add_up(lane: WireLane) -> None:
    tally = lane.tally
    assert tally.sent == tally.answered + tally.failures + tally.lost + lane.in_flight
    assert 0 <= tally.bytes_read <= tally.answered * SIZE and tally.short <= tally.answered
    assert 0 <= lane._credits.balance <= 65_535
    lane.finish()


def _lane(connection: Connection, kind: int, first: int) -> WireLane:
    connection.agreed = Agreed(
        dialect=0x0311,
        server_guid=bytes(16),
        capabilities=4,
        security_mode=1,
        max_transact=1 << 20,
        max_read=1 << 20,
        max_write=1 << 20,
        token=b"",
        signing=SigningAlgorithm.AES_GMAC,
        cipher=Cipher.AES_128_GCM,
    )
    connection.credits.next_id = first
    connection.credits.grant(512)
    session = Session(connection, SESSION)
    if kind in (SIGNED, SIGNED_CHURN, KNOWN_SIGNED):
        session.key, session.signs = new_signer(SigningAlgorithm.AES_GMAC, KEY), True
    if kind in (SEALED, KNOWN_SEALED):
        session.cipher = Sealer(Cipher.AES_128_GCM, SessionKeys(KEY, TO_SERVER, TO_CLIENT), SESSION)
        session.seals = True
        connection.know(session)
    target = SmbTarget("fuzz", 445, "tester", "", "Data", "Admin")
    share = Share(target, "Data", session, TREE)
    return _over(share, RemoteFile(share, bytes(16), 1 << 20, when(0), "a file"), kind)


def _over(share: Share, file: RemoteFile, kind: int) -> WireLane:
    reads = Reads(size=SIZE)
    if kind in (CHURN, SIGNED_CHURN):
        return ChurnLane(share, ["a", "b"], reads, verify_every=1)
    never = 1 << 30
    with mock.patch.multiple(
        lab.smb.load.readlane,
        SKIP_FROM=SIZE if kind in (SKIPPED, DROPPED) else never,
        DROP_FROM=SIZE if kind == DROPPED else never,
    ):
        return ReadLane(share, [file], reads, verify_every=0 if kind in (SKIPPED, DROPPED) else 1)


# --- streams --------------------------------------------------------------------------------------


@cache
def answers() -> list[Seed]:
    """For each lane answers as they come mostly, and in the ways that are odd but allowed."""
    found = {}
    for kind in (PLAIN, SIGNED, SEALED, DROPPED, KNOWN_SIGNED, KNOWN_SEALED, SKIPPED):
        for name, change in _WAYS.items():
            frames = [frame for number in range(READS) for frame in change(number, _read(number, kind))]
            if name == "reordered":
                Random(1).shuffle(frames)
            found[f"lane {kind} {name}"] = _stream(kind, [[frame] for frame in frames])
    for kind in (CHURN, SIGNED_CHURN):
        found[f"lane {kind}"] = _stream(kind, [_compound(number, kind) for number in range(READS)])
    if not smbd.missing():
        with smbd.running() as server:
            found |= {
                f"smbd lane {kind}": _recorded(server.port, kind) for kind in (PLAIN, DROPPED, SKIPPED, CHURN)
            }
    return [Seed(name, data, ((0, len(data)),)) for name, data in found.items()]


def _protected(stream: bytes, *, sealed: bool) -> bytes:
    """Each message of `stream` signed, or sealed."""
    sealer = nullsmb_keys.Sealer(nullsmb_keys.AES_128_GCM, TO_SERVER, TO_CLIENT, SESSION)
    out = b""
    for frame in split(stream):
        if not sealed and len(frame) >= 64:
            frame[16] |= 8
            frame[48:64] = bytes(16)
            frame[48:64] = _SIGNER.signature(frame, from_server=True)
        out += framed(sealer.sealed(frame) if sealed else frame)
    return out


def _recorded(port: int, kind: int) -> bytes:
    """What smbd answers to such a lane."""
    target = SmbTarget("127.0.0.1", port, *ACCOUNTS[1], "Data", "Data", PLAINLY)
    with recording() as made, connect(target, "Data") as share:
        for name in ("a", "b"):
            with share.create(name) as file:
                file.write_at(0, bytes(1 << 16))
        with share.open("a") as file:
            first = share.connection.credits.next_id
            lane = _over(share, file, CHURN if kind == CHURN else PLAIN)  # which takes in every byte
            made[0].heard.clear()
            lane.release(READS)
            while lane.owed:
                lane.receive(5.0)
            stream = bytes(made[0].heard)
            lane.finish()
    return (bytes((kind,)) + first.to_bytes(4, "little")).ljust(PREFIX, b"\0") + stream


def _answer(command: int, message_id: int, kind: int, body: bytes) -> Answer:
    answer = Answer(command, message_id, session_id=SESSION, tree_id=TREE, credits=1, charge=1, body=body)
    answer.sign, answer.sealed = kind in (SIGNED, SIGNED_CHURN), kind == SEALED
    return answer


def _read_body(size: int) -> bytes:
    return struct.pack("<HBBIII", 17, 80, 0, size, 0, 0) + b"d" * size


def _read(number: int, kind: int) -> Answer:
    return _answer(READ, FIRST + number, kind, _read_body(SIZE))


def _compound(number: int, kind: int) -> list[Answer]:
    opened = create_body(
        action=1, times=(1, 2, 3, 4), allocated=SIZE, size=SIZE, attributes=0x20, file_id=bytes(16)
    )
    closed = struct.pack("<HHI", 60, 0, 0) + bytes(52)
    bodies = ((CREATE, opened), (READ, _read_body(SIZE)), (CLOSE, closed))
    return [
        _answer(command, FIRST + 3 * number + index, kind, body)
        for index, (command, body) in enumerate(bodies)
    ]


def _odd(number: int, answer: Answer) -> list[Answer]:
    """Short ones, ends of file, errors, interim answers first."""
    way = number % 8
    if way == 1:
        answer.body = _read_body(SIZE // 3)
    elif way in (2, 3):
        answer.status, answer.body = END_OF_FILE if way == 2 else 0xC000_009A, failure_body()
    elif way in (4, 5):
        answer.async_id = 1 + number
        first = Answer(READ, answer.message_id, PENDING, SESSION, credits=1, async_id=1 + number)
        first.body, first.sealed = failure_body(), answer.sealed
        answer.credits = 0
        return [first, answer]
    return [answer]


_WAYS: dict[str, Callable[[int, Answer], list[Answer]]] = {
    "plain": lambda number, answer: [answer],
    "odd": _odd,
    "reordered": lambda number, answer: [answer],
}
_SIGNER = nullsmb_keys.Signer(nullsmb_keys.AES_GMAC, KEY)


def _stream(kind: int, frames: list[list[Answer]]) -> bytes:
    sealer = nullsmb_keys.Sealer(nullsmb_keys.AES_128_GCM, TO_SERVER, TO_CLIENT, SESSION)
    out = (bytes((kind,)) + FIRST.to_bytes(4, "little")).ljust(PREFIX, b"\0")
    for frame in frames:
        whole = b""
        for answer in frame:
            padding = b"" if answer is frame[-1] else bytes(-len(answer.body) % 8)
            following = 0 if answer is frame[-1] else 64 + len(answer.body) + len(padding)
            message = answer.message(following) + padding
            if answer.sign:
                message[48:64] = _SIGNER.signature(message, from_server=True)
            whole += bytes(message)
        out += framed(sealer.sealed(whole) if kind == SEALED else whole)
    return out
