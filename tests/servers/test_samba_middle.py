"""What someone between us and Samba can read, and what becomes of it when they change something."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from meddler import Change, Meddler
from protections import MARK, PROTECTIONS, use
from smbd import Smbd

from lab.model import LabError
from lab.smb.errors import Malformed, Unreachable
from lab.smb.ntstatus import STATUS_PENDING
from lab.smb.sealing import BadSeal
from lab.smb.share import connect
from lab.smb.target import DIALECTS, Encryption, Security, Signing
from lab.smb.wire import Command, Flags

PENDING = STATUS_PENDING.to_bytes(4, "little")  # an interim answer, which is never signed (MS-SMB2 3.3.4.2)


# --- what is on the wire ------------------------------------------------------------------------------


@pytest.mark.parametrize("encryption", [Encryption.OFF, Encryption.REQUIRED])
@pytest.mark.parametrize("dialect", [0x0302, 0x0311], ids=hex)
def test_what_someone_on_the_way_can_read(
    servers: Callable[[str], Smbd], dialect: int, encryption: Encryption
) -> None:
    smbd = servers("")
    security = Security(dialects=(dialect,), encryption=encryption)
    with Meddler(smbd.port) as between:
        with connect(smbd.target(port=between.port, security=security), "Data") as share:
            use(share, "watched.bin")
        after_log_on = between.seen[6:]  # negotiate and two rounds of session setup, with their answers
    assert len(after_log_on) > 20
    if encryption is Encryption.REQUIRED:
        assert {message[:4] for _, message in after_log_on} == {b"\xfdSMB"}
        assert not any(MARK in message for _, message in after_log_on)
    else:
        final = [message for _, message in after_log_on if message[8:12] != PENDING]
        assert all(message[16] & Flags.SIGNED and any(message[48:64]) for message in final)
        assert any(MARK in message for _, message in after_log_on)


# --- someone in the middle: the negotiation -----------------------------------------------------------


def command_of(message: bytes | bytearray) -> int:
    return int(struct.unpack_from("<H", message, 12)[0]) if message[:4] == b"\xfeSMB" else -1


def in_negotiate_request(change: Callable[[bytearray], None]) -> Change:
    def changed(message: bytearray, to_server: bool) -> list[bytes | bytearray]:
        if to_server and command_of(message) == Command.NEGOTIATE:
            change(message)
        return [message]

    return changed


def in_negotiate_answer(change: Callable[[bytearray], None]) -> Change:
    def changed(message: bytearray, to_server: bool) -> list[bytes | bytearray]:
        if not to_server and command_of(message) == Command.NEGOTIATE:
            change(message)
        return [message]

    return changed


def dialects_down_to(most: int) -> Callable[[bytearray], None]:
    """Each dialect above `most` is written over with `most`."""

    def change(message: bytearray) -> None:
        (count,) = struct.unpack_from("<H", message, 66)
        for at in range(100, 100 + 2 * count, 2):
            (dialect,) = struct.unpack_from("<H", message, at)
            struct.pack_into("<H", message, at, min(dialect, most))

    return change


def rename_context(kind: int) -> Callable[[bytearray], None]:
    """A negotiate context of the request gets a number that no server knows: as if it were not there."""

    def change(message: bytearray) -> None:
        at, count = struct.unpack_from("<IH", message, 92)
        for _ in range(count):
            found, length = struct.unpack_from("<HH", message, at)
            if found == kind:
                struct.pack_into("<H", message, at, 0x7777)
            at += 8 + length + -length % 8

    return change


def clear(at: int, bit: int) -> Callable[[bytearray], None]:
    def change(message: bytearray) -> None:
        assert message[at] & bit, "the bit to be taken away is not there"
        message[at] &= ~bit

    return change


ANSWERED_MODE, ANSWERED_CAPABILITIES = 66, 88

NOT_WHAT_WAS_OFFERED = "asked to confirm the negotiation"
NOT_WHAT_WAS_ANSWERED = "was changed on its way"
NOT_SIGNED_WITH_THE_KEY = "did not prove that it knows the session's key"


@pytest.mark.parametrize("signing", Signing)
@pytest.mark.parametrize(
    ("dialects", "change", "error", "says"),
    [
        pytest.param(
            DIALECTS,
            in_negotiate_request(dialects_down_to(0x0302)),
            Unreachable,
            NOT_WHAT_WAS_OFFERED,
            id="3.1.1 taken from the request",
        ),
        pytest.param(
            DIALECTS,
            in_negotiate_request(dialects_down_to(0x0210)),
            Unreachable,
            NOT_WHAT_WAS_OFFERED,
            id="all of 3.x taken from the request",
        ),
        pytest.param(
            (0x0202, 0x0300),
            in_negotiate_request(dialects_down_to(0x0202)),
            Unreachable,
            NOT_WHAT_WAS_OFFERED,
            id="down to 2.0.2",
        ),
        pytest.param(
            (0x0300, 0x0302),
            in_negotiate_answer(clear(ANSWERED_CAPABILITIES, 0x40)),
            Malformed,
            NOT_WHAT_WAS_ANSWERED,
            id="3.0.2, encryption taken from the answer",
        ),
        pytest.param(
            (0x0300, 0x0302),
            in_negotiate_answer(clear(ANSWERED_MODE, 0x02)),
            Malformed,
            NOT_WHAT_WAS_ANSWERED,
            id="3.0.2, the need to sign taken from the answer",
        ),
        pytest.param(
            DIALECTS,
            in_negotiate_answer(clear(ANSWERED_MODE, 0x02)),
            Malformed,
            NOT_SIGNED_WITH_THE_KEY,
            id="3.1.1, the need to sign taken from the answer",
        ),
        pytest.param(
            DIALECTS,
            in_negotiate_request(rename_context(8)),
            Malformed,
            NOT_SIGNED_WITH_THE_KEY,
            id="3.1.1, signing algorithms taken from the request",
        ),
        pytest.param(
            DIALECTS,
            in_negotiate_request(rename_context(2)),
            Malformed,
            NOT_SIGNED_WITH_THE_KEY,
            id="3.1.1, ciphers taken from the request",
        ),
    ],
)
def test_a_negotiation_that_was_changed_on_its_way(
    servers: Callable[[str], Smbd],
    dialects: tuple[int, ...],
    change: Change,
    error: type[LabError],
    says: str,
    signing: Signing,
) -> None:
    smbd = servers("server signing = mandatory")
    security = Security(dialects=dialects, signing=signing)
    with Meddler(smbd.port, change) as between, pytest.raises(error, match=says):
        connect(smbd.target(port=between.port, security=security), "Data")
    with Meddler(smbd.port) as between:  # the same through someone who changes nothing
        connect(smbd.target(port=between.port, security=security), "Data").close()


# --- someone in the middle: answers -------------------------------------------------------------------


def read_answers(change: Callable[[bytearray], list[bytes | bytearray]]) -> Change:
    """Changes the answers to READs of 64 bytes, encrypted or not."""

    def changed(message: bytearray, to_server: bool) -> list[bytes | bytearray]:
        long = len(message) - (52 if message[:4] == b"\xfdSMB" else 0) == 64 + 16 + 64
        return change(message) if long and not to_server else [message]

    return changed


def flipped(at: int) -> Callable[[bytearray], list[bytes | bytearray]]:
    def change(message: bytearray) -> list[bytes | bytearray]:
        message[at] ^= 1
        return [message]

    return change


def stripped(message: bytearray) -> list[bytes | bytearray]:
    message[16] &= ~Flags.SIGNED
    message[48:64] = bytes(16)
    return [message]


def another_session(message: bytearray) -> list[bytes | bytearray]:
    message[44] ^= 1
    return [message]


def read_through(smbd: Smbd, security: Security, change: Change) -> bytes:
    (smbd.data / "small.bin").write_bytes(MARK)
    with Meddler(smbd.port, change) as between:
        share = connect(smbd.target(port=between.port, security=security), "Data")
        with share, share.open("small.bin") as file:
            return file.read_at(0, 64)


@pytest.mark.parametrize("security", PROTECTIONS)
@pytest.mark.parametrize("at", [-1, -64, None], ids=["last byte", "first byte", "signature"])
def test_a_changed_answer_is_never_accepted(
    servers: Callable[[str], Smbd], security: Security, at: int | None
) -> None:
    smbd = servers("")
    sealed = security.encryption is Encryption.REQUIRED
    at = at or (10 if sealed else 50)
    with pytest.raises(BadSeal if sealed else Malformed, match="encrypted answer" if sealed else "signature"):
        read_through(smbd, security, read_answers(flipped(at)))
    assert read_through(smbd, security, read_answers(lambda message: [message])) == MARK


@pytest.mark.parametrize("dialect", DIALECTS, ids=hex)
def test_an_answer_without_its_signature_is_never_accepted(
    servers: Callable[[str], Smbd], dialect: int
) -> None:
    with pytest.raises(Malformed, match="unsigned answer"):
        read_through(servers(""), Security(dialects=(dialect,)), read_answers(stripped))


@pytest.mark.parametrize("encryption", [Encryption.OFF, Encryption.REQUIRED])
def test_an_answer_that_comes_twice_is_never_accepted(
    servers: Callable[[str], Smbd], encryption: Encryption
) -> None:
    smbd = servers("")
    (smbd.data / "small.bin").write_bytes(MARK)
    with Meddler(smbd.port, read_answers(lambda message: [message, message])) as between:
        target = smbd.target(port=between.port, security=Security(encryption=encryption))
        with connect(target, "Data") as share, share.open("small.bin") as file:
            with pytest.raises(Malformed, match="request that was not made"):
                for _ in range(2):
                    file.read_at(0, 64)
            assert not share.alive


def test_an_encrypted_answer_of_another_session_is_never_accepted(servers: Callable[[str], Smbd]) -> None:
    with pytest.raises(Malformed, match="a session that is not ours"):
        read_through(servers(""), Security(encryption=Encryption.REQUIRED), read_answers(another_session))
