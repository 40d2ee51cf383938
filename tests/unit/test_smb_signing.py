"""Signatures, against Microsoft's capture and smbprotocol; no altered message is ever accepted."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import pytest
import smb_vectors as vectors
from hypothesis import given
from hypothesis import strategies as st
from impacket.crypto import AES_CMAC
from smbprotocol.connection import Connection as TheirConnection

from lab.smb.signing import Signer, SigningAlgorithm, new_signer
from lab.smb.wire import Command, Flags, header

ALGORITHMS = list(SigningAlgorithm)
DIALECT_OF = {
    SigningAlgorithm.HMAC_SHA256: 0x0210,
    SigningAlgorithm.AES_CMAC: 0x0302,
    SigningAlgorithm.AES_GMAC: 0x0311,
}

keys = st.binary(min_size=16, max_size=16)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A request or a response of any command with its Signature zeros."""
    return header(
        draw(st.sampled_from(list(Command))),
        message_id=draw(st.integers(0, 2**64 - 2)),
        session_id=draw(st.integers(0, 2**64 - 1)),
        flags=Flags.SIGNED | draw(st.sampled_from([0, Flags.TO_CLIENT, Flags.TO_CLIENT | Flags.ASYNC])),
    ) + draw(st.binary(max_size=300))


def signed(signer: Signer, message: bytes) -> bytearray:
    whole = bytearray(message)
    whole[48:64] = signer.signature(message)
    return whole


def theirs(algorithm: SigningAlgorithm, key: bytes, message: bytes) -> bytes:
    command, _, flags, _, message_id = struct.unpack_from("<HHIIQ", message, 12)
    connection = SimpleNamespace(dialect=DIALECT_OF[algorithm], signing_algorithm_id=int(algorithm))
    made: bytes = TheirConnection._generate_signature(
        connection, message, key, message_id, bool(flags & Flags.TO_CLIENT), command
    )
    return made


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(key=keys, message=messages())
def test_signature_is_that_of_smbprotocol(algorithm: SigningAlgorithm, key: bytes, message: bytes) -> None:
    signer = new_signer(algorithm, key)
    signature = signer.signature(message)
    assert signature == theirs(algorithm, key, message)
    # The kept context has not been used up, and every kind of buffer gives the same.
    assert signature == signer.signature(bytearray(message)) == signer.signature(memoryview(message))


@given(key=keys, message=messages())
def test_cmac_is_that_of_impacket(key: bytes, message: bytes) -> None:
    ours = new_signer(SigningAlgorithm.AES_CMAC, key).signature(message)
    assert ours == AES_CMAC(key, message, len(message))


def test_windows_signed_this_session_setup() -> None:
    signer = new_signer(SigningAlgorithm.AES_CMAC, bytes.fromhex("73fe7a9a77bef0bde49c650d8ccb5f76"))
    assert signer.verify(vectors.SETUP_RESPONSE)
    assert not signer.verify(vectors.SETUP_CHALLENGE)


def test_gmac_tells_request_from_response_and_a_cancel_from_others() -> None:
    signer = new_signer(SigningAlgorithm.AES_GMAC, bytes(16))
    made = {
        signer.signature(header(command, message_id=7, flags=flags))
        for command in (Command.READ, Command.CANCEL)
        for flags in (0, Flags.TO_CLIENT)
    }
    assert len(made) == 4


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(message=messages(), data=st.data())
def test_no_changed_bit_is_accepted(algorithm: SigningAlgorithm, message: bytes, data: st.DataObject) -> None:
    signer = new_signer(algorithm, b"sixteen byte key")
    whole = signed(signer, message)
    assert signer.verify(whole)
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    whole[bit // 8] ^= 1 << bit % 8
    changed = bytes(whole)
    assert not signer.verify(whole) and not signer.verify(memoryview(changed))
    assert whole == changed  # left as it was, also when it is wrong


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(message=messages(), before=st.binary(max_size=40), after=st.binary(max_size=40))
def test_a_span_is_verified_where_it_lies(
    algorithm: SigningAlgorithm, message: bytes, before: bytes, after: bytes
) -> None:
    signer = new_signer(algorithm, b"sixteen byte key")
    buffer = bytearray(before + signed(signer, message) + after)
    start, end = len(before), len(before) + len(message)
    kept = bytes(buffer)
    assert signer.verify_span(buffer, start, end)
    if after:
        assert not signer.verify_span(buffer, start, end + 1)
    if before:
        assert not signer.verify_span(buffer, start - 1, end)
    assert buffer == kept
    buffer.extend(b"resizing works: no view of it is kept")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_truncation_is_refused(algorithm: SigningAlgorithm) -> None:
    signer = new_signer(algorithm, b"sixteen byte key")
    whole = signed(signer, header(Command.READ, message_id=1, flags=Flags.SIGNED) + bytes(range(40)))
    for size in range(len(whole)):
        assert not signer.verify(whole[:size])
        assert not signer.verify_span(whole, 0, size)
    assert signer.verify_span(whole, 0, len(whole))


@pytest.mark.parametrize(
    ("start", "end"), [(0, 105), (41, 104), (-104, 104), (-1, 104), (104, 0), (200, 300)]
)
def test_a_span_outside_its_buffer_is_refused_and_changes_nothing(start: int, end: int) -> None:
    signer = new_signer(SigningAlgorithm.AES_CMAC, bytes(16))
    buffer = signed(signer, header(Command.READ, message_id=1) + bytes(40))
    kept = bytes(buffer)
    assert not signer.verify_span(buffer, start, end)
    assert buffer == kept


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_another_key_does_not_verify(algorithm: SigningAlgorithm) -> None:
    whole = signed(new_signer(algorithm, bytes(16)), header(Command.ECHO, message_id=3) + b"\4\0\0\0")
    assert not new_signer(algorithm, b"\1" + bytes(15)).verify(whole)
