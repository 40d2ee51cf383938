"""Encryption, against Microsoft's captures and smbprotocol; what was altered or cut is never opened."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import pytest
import smb_vectors as vectors
from hypothesis import given
from hypothesis import strategies as st
from smbprotocol.connection import Connection as TheirConnection
from smbprotocol.connection import SMB2TransformHeader

from lab.model import InfrastructureError
from lab.smb import sealing
from lab.smb.errors import Malformed
from lab.smb.keys import SessionKeys
from lab.smb.sealing import BadSeal, Cipher, Sealer

CIPHERS = list(Cipher)
SESSION = 0x0123_4567_89AB_CDEF

messages = st.binary(min_size=64, max_size=400)


def keys_for(cipher: Cipher) -> SessionKeys:
    return SessionKeys(b"", b"C" * cipher.key_size, b"S" * cipher.key_size)


def two_ends(cipher: Cipher) -> tuple[Sealer, Sealer]:
    """The client's sealer, and the one that a server would have."""
    keys = keys_for(cipher)
    return Sealer(cipher, keys, SESSION), Sealer(
        cipher, SessionKeys(b"", keys.decryption, keys.encryption), SESSION
    )


def their_connection(cipher: Cipher) -> tuple[SimpleNamespace, SimpleNamespace]:
    """As much of smbprotocol's connection and session as its encryption looks at, with a client's keys."""
    keys = keys_for(cipher)
    session = SimpleNamespace(
        session_id=SESSION, encryption_key=keys.encryption, decryption_key=keys.decryption
    )
    return SimpleNamespace(dialect=0x0311, cipher_id=int(cipher), session_table={SESSION: session}), session


@pytest.mark.parametrize(
    ("cipher", "session_id", "encryption", "decryption", "request_", "response"),
    [
        (
            Cipher.AES_128_CCM,
            0x8E40014000011,
            "261b72350558f2e9dcf613070383edbf",
            "8fe2b57ec34d2db5b1a9727f526bbdb5",
            (vectors.SEALED_300_REQUEST, vectors.OPEN_300_REQUEST),
            (vectors.SEALED_300_RESPONSE, vectors.OPEN_300_RESPONSE),
        ),
        (
            Cipher.AES_128_GCM,
            0x100000000025,
            "a2f5e80e5d59103034f32e52f698e5ec",
            "748c50868c90f302962a5c35f5f9a8bf",
            (vectors.SEALED_311_REQUEST, vectors.OPEN_311_REQUEST),
            (vectors.SEALED_311_RESPONSE, vectors.OPEN_311_RESPONSE),
        ),
    ],
)
def test_messages_that_windows_sealed(
    cipher: Cipher,
    session_id: int,
    encryption: str,
    decryption: str,
    request_: tuple[bytes, bytes],
    response: tuple[bytes, bytes],
) -> None:
    to_server, to_client = bytes.fromhex(encryption), bytes.fromhex(decryption)
    client = Sealer(cipher, SessionKeys(b"", to_server, to_client), session_id)
    server = Sealer(cipher, SessionKeys(b"", to_client, to_server), session_id)
    for opener, (sealed, opened) in ((server, request_), (client, response)):
        assert opener.unseal(sealed) == opened
        assert opener.peek(sealed, 64) == opened[:64]


@pytest.mark.parametrize("cipher", CIPHERS)
@given(message=messages)
def test_smbprotocol_seals_what_we_open(cipher: Cipher, message: bytes) -> None:
    connection, session = their_connection(cipher)
    _, server = two_ends(cipher)
    assert server.unseal(TheirConnection._encrypt(connection, message, session).pack()) == message


@pytest.mark.parametrize("cipher", CIPHERS)
@given(message=messages)
def test_smbprotocol_opens_what_we_seal(cipher: Cipher, message: bytes) -> None:
    connection, _ = their_connection(cipher)
    _, server = two_ends(cipher)
    frame = SMB2TransformHeader()
    frame.unpack(server.seal(message))
    assert TheirConnection._decrypt(connection, frame) == message


@pytest.mark.parametrize("cipher", CIPHERS)
@given(message=messages, size=st.integers(0, 500))
def test_peek_is_the_beginning_of_what_unseal_gives(cipher: Cipher, message: bytes, size: int) -> None:
    client, server = two_ends(cipher)
    for frame in (server.seal(message), bytearray(server.seal(message)), memoryview(server.seal(message))):
        assert client.peek(frame, size) == message[:size]
        assert client.unseal(frame) == message


@pytest.mark.parametrize("cipher", CIPHERS)
@given(message=messages, data=st.data())
def test_no_changed_bit_is_opened(cipher: Cipher, message: bytes, data: st.DataObject) -> None:
    client, server = two_ends(cipher)
    frame = bytearray(server.seal(message))
    # The nonce field has 16 bytes and all are authenticated, though the cipher uses 11 or 12 of them.
    bit = data.draw(st.integers(0, len(frame) * 8 - 1))
    frame[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BadSeal):
        client.unseal(frame)


@pytest.mark.parametrize("cipher", CIPHERS)
def test_every_truncation_and_every_addition_is_refused(cipher: Cipher) -> None:
    client, server = two_ends(cipher)
    frame = server.seal(bytes(range(80)))
    for hostile in [frame[:size] for size in range(len(frame))] + [frame + b"\0"]:
        with pytest.raises(BadSeal):
            client.unseal(hostile)
        with pytest.raises(BadSeal):
            client.peek(hostile, 64)


@given(st.binary(max_size=300))
def test_any_bytes_are_opened_or_refused(frame: bytes) -> None:
    client, _ = two_ends(Cipher.AES_128_GCM)
    with pytest.raises(Malformed):
        client.unseal(frame)


def test_another_session_and_ones_own_message_are_refused() -> None:
    client, server = two_ends(Cipher.AES_128_GCM)
    stranger = Sealer(Cipher.AES_128_GCM, keys_for(Cipher.AES_128_GCM), SESSION + 1)
    with pytest.raises(BadSeal, match="another session"):
        client.unseal(stranger.seal(bytes(64)))
    with pytest.raises(BadSeal, match="does not fit"):
        client.unseal(client.seal(bytes(64)))  # sent back to us: each direction has its own key
    assert client.unseal(server.seal(bytes(64))) == bytes(64)


@pytest.mark.parametrize("cipher", CIPHERS)
def test_no_nonce_comes_twice(cipher: Cipher) -> None:
    client, _ = two_ends(cipher)
    nonces = [client.seal(bytes(64))[20:36] for _ in range(1000)]
    used = 12 if cipher.is_gcm else 11
    assert len({nonce[:used] for nonce in nonces}) == 1000
    assert {nonce[used:] for nonce in nonces} == {bytes(16 - used)}
    # ... and two sealers of the same keys do not begin alike.
    assert len({Sealer(cipher, keys_for(cipher), 1).seal(bytes(64))[20:36] for _ in range(4)}) == 4


def test_a_sealer_stops_long_before_its_nonces_are_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sealing.MOST_SEALED <= 2**64 // 2**16
    monkeypatch.setattr(sealing, "MOST_SEALED", 3)
    client, server = two_ends(Cipher.AES_128_GCM)
    for _ in range(3):
        server.unseal(client.seal(bytes(64)))
    with pytest.raises(InfrastructureError, match="as many as its keys are good for"):
        client.seal(bytes(64))


@pytest.mark.parametrize("cipher", CIPHERS)
def test_a_key_of_another_length_is_refused(cipher: Cipher) -> None:
    wrong = 48 - cipher.key_size  # 32 for 16 and 16 for 32: AES itself would take both
    with pytest.raises(ValueError, match=cipher.name):
        Sealer(cipher, SessionKeys(b"", bytes(wrong), bytes(wrong)), 1)


def test_the_transform_header_is_that_of_the_specification() -> None:
    client, _ = two_ends(Cipher.AES_256_GCM)
    protocol, size, reserved, flags, session_id = struct.unpack_from("<4s32xIHHQ", client.seal(bytes(100)))
    assert (protocol, size, reserved, flags, session_id) == (b"\xfdSMB", 100, 0, 1, SESSION)
