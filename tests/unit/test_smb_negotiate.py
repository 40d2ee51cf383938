"""What is offered, as smbprotocol reads it; what is chosen, as smbprotocol writes it; and refused choices."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smbprotocol import connection as theirs

from lab.smb import negotiate, wire
from lab.smb.errors import Malformed, NotOffered
from lab.smb.negotiate import Agreed, negotiate_request, parse_negotiate
from lab.smb.sealing import Cipher
from lab.smb.signing import SigningAlgorithm
from lab.smb.target import DIALECTS, Encryption, Security, Signing

GUID = bytes(range(16))


def test_the_offer_is_what_smbprotocol_reads() -> None:
    seen = theirs.SMB3NegotiateRequest()
    body = negotiate_request(Security(), GUID)
    seen.unpack(body)
    assert seen["dialects"].get_value() == list(DIALECTS)
    assert (seen["security_mode"].get_value(), seen["client_guid"].pack()) == (2, GUID)
    contexts = {each["context_type"].get_value(): each for each in seen["negotiate_context_list"].get_value()}
    assert sorted(contexts) == [1, 2, 8]
    assert contexts[2]["data"].get_value()["ciphers"].get_value() == [2, 1, 4, 3]
    assert contexts[8]["data"].get_value()["signing_algorithms"].get_value() == [2, 1, 0]
    assert len(contexts[1]["data"].get_value()["salt"].get_value()) == 32


def test_an_offer_without_the_latest_dialect_or_encryption() -> None:
    body = negotiate_request(Security(dialects=(0x0202, 0x0302), encryption=Encryption.OFF), GUID)
    seen = theirs.SMB2NegotiateRequest()
    assert not seen.unpack(body)
    assert seen["dialects"].get_value() == [0x0202, 0x0302]
    assert not seen["capabilities"].get_value() & 0x40
    body = negotiate_request(Security(encryption=Encryption.OFF, signing=Signing.IF_ASKED), GUID)
    last = theirs.SMB3NegotiateRequest()
    last.unpack(body)
    kinds = [each["context_type"].get_value() for each in last["negotiate_context_list"].get_value()]
    assert (kinds, last["security_mode"].get_value()) == ([1, 8], 1)


def context(kind: int, data: bytes) -> bytes:
    raw = struct.pack("<HHI", kind, len(data), 0) + data
    return raw + bytes(-len(raw) % 8)


PREAUTH = context(1, struct.pack("<HHH", 1, 4, 1) + b"salt")
SIGNING = context(8, struct.pack("<HH", 1, 2))
CIPHER = context(2, struct.pack("<HH", 1, 2))


def chosen(dialect: int, contexts: bytes = b"", count: int = 0, **change: int) -> bytes:
    values = {
        "mode": 1,
        "capabilities": 0x44,
        "transact": 1 << 20,
        "read": 1 << 20,
        "write": 1 << 20,
    } | change
    token = b"token..."
    body = struct.pack(
        "<HHHH16sIIIIQQHHI",
        65,
        values["mode"],
        dialect,
        count,
        GUID,
        values["capabilities"],
        values["transact"],
        values["read"],
        values["write"],
        0,
        0,
        128,
        len(token),
        136 if contexts else 0,
    )
    return wire.header(wire.Command.NEGOTIATE, message_id=0, flags=1) + body + token + contexts


def agreed(message: bytes, **change: Any) -> Agreed:
    return parse_negotiate(message, Security(**change), "srv:445")


def test_the_choice_of_each_dialect() -> None:
    for dialect in (0x0202, 0x0210):
        seen = agreed(chosen(dialect))
        assert (seen.signing, seen.cipher) == (SigningAlgorithm.HMAC_SHA256, None)
        assert seen.multi_credit == (dialect == 0x0210)
    for dialect in (0x0300, 0x0302):
        seen = agreed(chosen(dialect))
        assert (seen.signing, seen.cipher) == (SigningAlgorithm.AES_CMAC, Cipher.AES_128_CCM)
        assert agreed(chosen(dialect), encryption=Encryption.OFF).cipher is None
        assert agreed(chosen(dialect, capabilities=4)).cipher is None
    seen = agreed(chosen(0x0311, PREAUTH + SIGNING + CIPHER, 3))
    assert (seen.signing, seen.cipher, seen.token) == (
        SigningAlgorithm.AES_GMAC,
        Cipher.AES_128_GCM,
        b"token...",
    )
    seen = agreed(chosen(0x0311, PREAUTH, 1))
    assert (seen.signing, seen.cipher) == (SigningAlgorithm.AES_CMAC, None)


def test_sizes_are_capped() -> None:
    seen = agreed(chosen(0x0210, read=0xFFFF_FFFF, write=0xFFFF_FFFF, transact=0xFFFF_FFFF))
    assert seen.max_read == seen.max_write == seen.max_transact == negotiate.LARGEST
    with pytest.raises(Malformed, match="allows READs of 0,"):
        agreed(chosen(0x0210, read=0))


@pytest.mark.parametrize(
    ("message", "change", "says"),
    [
        (chosen(0x02FF), {}, "chose dialect 0x02ff, which was not offered"),
        (chosen(0x0302), {"dialects": (0x0311,)}, "chose dialect 0x0302"),
        (chosen(0x0311), {}, "no SHA-512"),
        (chosen(0x0311, PREAUTH + PREAUTH, 2), {}, "comes twice"),
        (chosen(0x0311, PREAUTH + SIGNING, 3), {}, "are said to be in"),
        (chosen(0x0311, PREAUTH + context(8, b"\1\0\7\0"), 2), {}, "signing algorithm 7"),
        (
            chosen(0x0311, PREAUTH + SIGNING, 2),
            {"signing_algorithms": (SigningAlgorithm.AES_CMAC,)},
            "signing algorithm 2",
        ),
        (chosen(0x0311, PREAUTH + context(2, b"\1\0\7\0"), 2), {}, "cipher 7"),
        (chosen(0x0311, PREAUTH + context(2, b"\2\0\1\0\2\0"), 2), {}, "not exactly one"),
        (chosen(0x0311, context(1, struct.pack("<HHH", 1, 0, 2)), 1), {}, "no SHA-512"),
    ],
)
def test_a_choice_that_was_not_offered_is_refused(message: bytes, change: dict[str, Any], says: str) -> None:
    with pytest.raises(Malformed, match=says):
        agreed(message, **change)


def test_encryption_that_is_insisted_on() -> None:
    with pytest.raises(NotOffered, match="does not offer encryption"):
        agreed(chosen(0x0210), encryption=Encryption.REQUIRED)
    with pytest.raises(NotOffered, match="does not offer encryption"):
        agreed(chosen(0x0311, PREAUTH + context(2, b"\1\0\0\0"), 2), encryption=Encryption.REQUIRED)


@given(at=st.integers(64, 200), value=st.integers(0, 255), cut=st.integers(64, 220))
def test_any_changed_byte_is_read_within_bounds(at: int, value: int, cut: int) -> None:
    raw = bytearray(chosen(0x0311, PREAUTH + SIGNING + CIPHER, 3))
    raw[min(at, len(raw) - 1)] = value
    for message in (bytes(raw), bytes(raw[:cut])):
        with suppress(Malformed, NotOffered):
            agreed(message)
