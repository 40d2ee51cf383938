"""Confirming the negotiation below 3.1.1: what is asked, and which answers are believed."""

from __future__ import annotations

import struct
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from lab.smb.errors import Malformed, Unreachable
from lab.smb.negotiate import Agreed, security_mode
from lab.smb.ntstatus import STATUS_ACCESS_DENIED, STATUS_INVALID_DEVICE_REQUEST, STATUS_NOT_SUPPORTED
from lab.smb.outstanding import Reply
from lab.smb.signing import SigningAlgorithm, new_signer
from lab.smb.target import DIALECTS, Security
from lab.smb.validate import VALIDATE_NEGOTIATE_INFO, validate_negotiation
from lab.smb.wire import Flags, Header

CLIENT, SERVER = b"C" * 16, b"S" * 16
KEY = new_signer(SigningAlgorithm.AES_CMAC, bytes(16))
AGREED = Agreed(
    dialect=0x0302,
    server_guid=SERVER,
    capabilities=0x47,
    security_mode=3,
    max_transact=1 << 20,
    max_read=1 << 20,
    max_write=1 << 20,
    token=b"",
    signing=SigningAlgorithm.AES_CMAC,
    cipher=None,
)
RIGHT = struct.pack("<I16sHH", 0x47, SERVER, 3, 0x0302)


class OneAnswer:
    """As much of a connection as is asked; it answers once, with `status` and the FSCTL's output `answer`."""

    place, guid = "host:445", CLIENT

    def __init__(self, agreed: Agreed = AGREED, answer: bytes = RIGHT, status: int = 0) -> None:
        self.agreed, self.dialect = agreed, agreed.dialect
        self._answer, self._status = answer, status
        self.asked: list[tuple[bytes, dict[str, Any]]] = []

    def exchange(self, command: int, body: bytes, **how: Any) -> Reply:
        assert command == 11
        self.asked.append((body, how))
        answer = struct.pack(
            "<HHI16sIIIIII", 49, 0, VALIDATE_NEGOTIATE_INFO, b"\xff" * 16, 0, 0, 112, len(self._answer), 0, 0
        )
        head = Header(1, self._status, command, 1, Flags.TO_CLIENT, 0, 1, 0, 7, 1, bytes(16))
        return Reply(head, memoryview(bytes(64) + answer + self._answer), self.place)


def validate(connection: OneAnswer, security: Security | None = None) -> None:
    session: Any = SimpleNamespace(connection=connection, key=KEY)
    validate_negotiation(session, 7, security or Security())


def test_what_was_offered_is_asked_about_signed() -> None:
    connection = OneAnswer()
    validate(connection)
    ((body, how),) = connection.asked
    assert how["sign"] is KEY and how["tree_id"] == 7
    assert struct.unpack_from("<I", body, 4) == (VALIDATE_NEGOTIATE_INFO,)
    capabilities, guid, mode, count, *dialects = struct.unpack("<I16sHH5H", body[56:])
    assert (guid, mode, count, tuple(dialects)) == (CLIENT, security_mode(Security()), 5, DIALECTS)
    assert capabilities & 0x40  # encryption


@pytest.mark.parametrize(
    ("agreed", "security"),
    [
        (replace(AGREED, dialect=0x0311), Security()),
        (replace(AGREED, dialect=0x0210), Security(dialects=(0x0202, 0x0210))),
    ],
    ids=["3.1.1 protects itself", "no 3.x was offered"],
)
def test_nothing_is_asked_where_there_is_nothing_to_lose(agreed: Agreed, security: Security) -> None:
    connection = OneAnswer(agreed)
    validate(connection, security)
    assert connection.asked == []


@pytest.mark.parametrize("at", range(len(RIGHT)))
def test_an_answer_that_differs_in_any_byte_is_not_believed(at: int) -> None:
    other = bytearray(RIGHT)
    other[at] ^= 1
    with pytest.raises(Malformed, match="changed on its way"):
        validate(OneAnswer(answer=bytes(other)))


@pytest.mark.parametrize("answer", [b"", RIGHT[:-1], RIGHT + b"\0"], ids=["none", "short", "long"])
def test_an_answer_of_another_length_is_not_believed(answer: bytes) -> None:
    with pytest.raises(Malformed, match="changed on its way"):
        validate(OneAnswer(answer=answer))


@pytest.mark.parametrize("status", [STATUS_INVALID_DEVICE_REQUEST, STATUS_NOT_SUPPORTED])
def test_a_server_older_than_3_0_need_not_know_the_question(status: int) -> None:
    validate(OneAnswer(replace(AGREED, dialect=0x0210), status=status))
    with pytest.raises(Malformed, match="asked to confirm the negotiation"):
        validate(OneAnswer(status=status))  # 3.0.2, which knows it


@pytest.mark.parametrize("dialect", [0x0210, 0x0300])
def test_any_other_refusal_is_an_error(dialect: int) -> None:
    with pytest.raises(Malformed, match="STATUS_ACCESS_DENIED"):
        validate(OneAnswer(replace(AGREED, dialect=dialect), status=STATUS_ACCESS_DENIED))


def test_a_server_that_hangs_up_is_told_apart_from_a_lost_one() -> None:
    class HangsUp(OneAnswer):
        def exchange(self, command: int, body: bytes, **how: Any) -> Reply:
            raise Unreachable("the connection to host:445 was lost: the connection was closed")

    with pytest.raises(Unreachable, match=r"asked to confirm the negotiation: .* changed on its way"):
        validate(HangsUp())
