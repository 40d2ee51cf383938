"""The keys of a session, and the hash that 3.1.1 binds them to (MS-SMB2 3.1.4.2, 3.2.5.3.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha512

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode

from lab.smb.sealing import Cipher
from lab.smb.wire import Buffer

_KEY = 16


@dataclass(frozen=True)
class SessionKeys:
    """`encryption` is for what the client sends, `decryption` for what it gets; both are b"" before 3.0."""

    signing: bytes = field(repr=False)
    encryption: bytes = field(repr=False)
    decryption: bytes = field(repr=False)


class PreauthHash:
    """SHA-512 chain over the messages that lead to a session, as they were on the wire (3.2.5.2).

    A connection's goes over negotiate; each session continues a copy of it over its session setup, up to
    the request that the server answers with success.
    """

    def __init__(self, value: bytes = bytes(64)) -> None:
        self.value = value

    def update(self, message: Buffer) -> None:
        """`message` from its SMB2 header to its last byte."""
        digest = sha512(self.value)
        digest.update(message)
        self.value = digest.digest()

    def copy(self) -> PreauthHash:
        return PreauthHash(self.value)


def session_keys(dialect: int, session_key: bytes, preauth_hash: bytes, cipher: Cipher | None) -> SessionKeys:
    """The keys that follow from what authentication agreed on.

    `session_key` is the whole key of NTLM (16 bytes) or Kerberos (up to 32); `preauth_hash` (64 bytes)
    counts in 3.1.1 only.
    """
    short = session_key[:_KEY].ljust(_KEY, b"\0")
    if dialect < 0x0300:
        return SessionKeys(short, b"", b"")
    if dialect < 0x0311:
        return SessionKeys(
            _derived(short, b"SMB2AESCMAC\0", b"SmbSign\0"),
            _derived(short, b"SMB2AESCCM\0", b"ServerIn \0"),  # with that space
            _derived(short, b"SMB2AESCCM\0", b"ServerOut\0"),
        )
    size = cipher.key_size if cipher else _KEY
    # A 256-bit cipher is keyed by the whole key, Session.FullSessionKey.
    base = session_key if size > _KEY else short
    return SessionKeys(
        _derived(short, b"SMBSigningKey\0", preauth_hash),
        _derived(base, b"SMBC2SCipherKey\0", preauth_hash, size),
        _derived(base, b"SMBS2CCipherKey\0", preauth_hash, size),
    )


def _derived(key: bytes, label: bytes, context: bytes, size: int = _KEY) -> bytes:
    """SP 800-108 5.1: HMAC-SHA256, counter and length of 32 bits, a zero byte between label and context."""
    kdf = KBKDFHMAC(
        algorithm=SHA256(),
        mode=Mode.CounterMode,
        length=size,
        rlen=4,
        llen=4,
        location=CounterLocation.BeforeFixed,
        label=label,
        context=context,
        fixed=None,
    )
    return kdf.derive(key)
