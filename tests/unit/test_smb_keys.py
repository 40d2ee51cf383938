"""Keys of a session and the preauth hash, against Microsoft's vectors and two other implementations."""

from __future__ import annotations

import hashlib

import pytest
import smb_vectors as vectors
from hypothesis import given
from hypothesis import strategies as st
from impacket.crypto import KDF_CounterMode
from smbprotocol.session import Session as TheirSession

from lab.smb.keys import PreauthHash, SessionKeys, session_keys
from lab.smb.sealing import Cipher

AFTER_NEGOTIATE = (
    "324bfa92a4f3a190e466ebea08d9c110dc88bfed758d9846ecc6f541cc1d02ae"
    "3c94a79f36011e997e13f841b91b50957ad07b19c8e2539c0b23fdae09d2c513"
)
AFTER_SETUP = (
    "0dd13628cc3ed218ef9df9772d436d0887ab9814bfae63a80aa845f36909db79"
    "28622dddad522d9751640a459762c5a9d6bb084cbb3ce6bdadef5d5bce3c6c01"
)
ANOTHER_HASH = (
    "b23f3cbfd69487d9832b79b1594a367cdd950909b774c3a4c412b4fcea9edddb"
    "a7db256ba2ea30e977f11f9b113247578e0e915c6d2a513b8f2fca5707dc8770"
)
GCM = Cipher.AES_128_GCM


@pytest.mark.parametrize(
    ("dialect", "session_key", "hash", "expected"),
    [
        (
            0x0300,
            "7cd451825d0450d235424e44ba6e78cc",
            "",
            (
                "0b7e9c5cac36c0f6ea9ab275298cedce",
                "fad27796665b313ebb578f388632b4f7",
                "b0f0427f7ceb416d1d9dcc0cd4f99447",
            ),
        ),
        (
            0x0302,
            "b4546771b515f766a86735532dd6c4f0",
            "",
            (None, "261b72350558f2e9dcf613070383edbf", "8fe2b57ec34d2db5b1a9727f526bbdb5"),
        ),
        (
            0x0311,
            "270e1ba896585eeb7af3472d3b4c75a7",
            AFTER_SETUP,
            (
                "73fe7a9a77bef0bde49c650d8ccb5f76",
                "629bcbc54422a0f572b97f45989b6073",
                "e2af0dcefac68da71a0dfbd0d1350d74",
            ),
        ),
        (
            0x0311,
            "419fddf34c1e001909d362ae7fb6af79",
            ANOTHER_HASH,
            (None, "a2f5e80e5d59103034f32e52f698e5ec", "748c50868c90f302962a5c35f5f9a8bf"),
        ),
    ],
)
def test_microsoft_keys(
    dialect: int, session_key: str, hash: str, expected: tuple[str | None, str, str]
) -> None:
    keys = session_keys(dialect, bytes.fromhex(session_key), bytes.fromhex(hash), GCM)
    signing, encryption, decryption = expected
    assert keys.encryption.hex() == encryption and keys.decryption.hex() == decryption
    assert signing is None or keys.signing.hex() == signing


def test_microsoft_preauth_hash() -> None:
    preauth = PreauthHash()
    assert preauth.value == bytes(64)
    preauth.update(vectors.NEGOTIATE_REQUEST)
    preauth.update(memoryview(vectors.NEGOTIATE_RESPONSE))
    assert preauth.value.hex() == AFTER_NEGOTIATE
    of_session = preauth.copy()
    for message in (vectors.SETUP_REQUEST, vectors.SETUP_CHALLENGE, vectors.SETUP_AUTHENTICATE):
        of_session.update(bytearray(message))
    assert of_session.value.hex() == AFTER_SETUP
    assert preauth.value.hex() == AFTER_NEGOTIATE  # the connection's own is for its next session


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_preauth_hash_is_a_chain_of_sha512(messages: list[bytes]) -> None:
    preauth, expected = PreauthHash(), bytes(64)
    for message in messages:
        preauth.update(message)
        expected = hashlib.sha512(expected + message).digest()
    assert preauth.value == expected


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=64, max_size=64))
def test_keys_as_two_others_derive_them(key: bytes, preauth: bytes) -> None:
    labels_300 = [
        (b"SMB2AESCMAC\0", b"SmbSign\0"),
        (b"SMB2AESCCM\0", b"ServerIn \0"),
        (b"SMB2AESCCM\0", b"ServerOut\0"),
    ]
    labels_311 = [
        (b"SMBSigningKey\0", preauth),
        (b"SMBC2SCipherKey\0", preauth),
        (b"SMBS2CCipherKey\0", preauth),
    ]
    for dialect, labels in ((0x0300, labels_300), (0x0302, labels_300), (0x0311, labels_311)):
        keys = session_keys(dialect, key, preauth, GCM)
        ours = [keys.signing, keys.encryption, keys.decryption]
        assert ours == [KDF_CounterMode(key, label, context, 128) for label, context in labels]
        assert ours == [TheirSession._smb3kdf(None, key, label, context) for label, context in labels]


@given(st.binary(min_size=16, max_size=32), st.binary(min_size=64, max_size=64))
def test_256_bit_ciphers_are_keyed_by_the_whole_session_key(key: bytes, preauth: bytes) -> None:
    keys = session_keys(0x0311, key, preauth, Cipher.AES_256_GCM)
    theirs = [
        TheirSession._smb3kdf(None, key, label, preauth, length=32)
        for label in (b"SMBC2SCipherKey\0", b"SMBS2CCipherKey\0")
    ]
    assert [keys.encryption, keys.decryption] == theirs
    assert keys.signing == session_keys(0x0311, key[:16], preauth, None).signing


@pytest.mark.parametrize("dialect", [0x0202, 0x0210])
def test_before_3_0_the_session_key_itself_signs(dialect: int) -> None:
    key = bytes(range(16))
    assert session_keys(dialect, key, b"", None) == SessionKeys(key, b"", b"")


def test_a_session_key_is_cut_or_filled_to_16_bytes() -> None:
    short, long = b"12345678", bytes(range(32))
    assert session_keys(0x0210, short, b"", None).signing == short + bytes(8)
    assert session_keys(0x0210, long, b"", None).signing == long[:16]
    for dialect in (0x0300, 0x0311):
        preauth = bytes(64)
        assert session_keys(dialect, long, preauth, GCM) == session_keys(dialect, long[:16], preauth, GCM)


def test_keys_are_never_shown() -> None:
    keys = session_keys(0x0311, b"\x42" * 16, bytes(64), GCM)
    assert repr(keys) == "SessionKeys()"
