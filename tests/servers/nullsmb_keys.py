"""Keys, signatures and sealing of the null server (MS-SMB2 3.1.4), written apart from the client's."""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import cmac
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM
from nullsmb_wire import CANCEL, SEALED_MAGIC, BadFrame

HMAC_SHA256, AES_CMAC, AES_GMAC = 0, 1, 2
AES_128_CCM, AES_128_GCM, AES_256_CCM, AES_256_GCM = 1, 2, 3, 4
_WHO = tuple(struct.pack("<I", who) for who in range(4))
_TRANSFORM = struct.Struct("<4s16s16sIHHQ")


def derived(key: bytes, label: bytes, context: bytes, size: int = 16) -> bytes:
    """SP 800-108 counter mode with HMAC-SHA256 (3.1.4.2)."""
    text = struct.pack(">I", 1) + label + b"\0" + context + struct.pack(">I", size * 8)
    return hmac.digest(key, text, "sha256")[:size]


class Signer:
    def __init__(self, algorithm: int, key: bytes) -> None:
        self._algorithm, self._key = algorithm, key
        self._gcm = AESGCM(key) if algorithm == AES_GMAC else None
        self._cmac = cmac.CMAC(algorithms.AES(key))

    def signature(self, message: Any, *, from_server: bool) -> bytes:
        """Of a message (any bytes-like object) whose Signature field holds zeros."""
        if self._gcm is not None:
            command = message[12] | message[13] << 8
            who = (1 if from_server else 0) | (2 if command == CANCEL else 0)
            return self._gcm.encrypt(b"%b%b" % (message[24:32], _WHO[who]), b"", message)
        if self._algorithm == AES_CMAC:
            made = self._cmac.copy()
            made.update(message)
            return made.finalize()
        return hmac.digest(self._key, message, "sha256")[:16]

    def is_right(self, message: bytes) -> bool:
        """Whether a client's request carries its right signature."""
        bare = message[:48] + bytes(16) + message[64:]
        return hmac.compare_digest(self.signature(bare, from_server=False), message[48:64])


class Sealer:
    def __init__(self, cipher: int, to_server: bytes, to_client: bytes, session_id: int) -> None:
        kind = AESGCM if cipher in (AES_128_GCM, AES_256_GCM) else AESCCM
        self._open, self._close = kind(to_server), kind(to_client)
        self._nonce = 12 if kind is AESGCM else 11
        self._session_id, self._sent = session_id, 0

    def sealed(self, message: bytes | bytearray) -> bytes:
        self._sent += 1
        nonce = self._sent.to_bytes(self._nonce, "little")
        rest = struct.pack("<16sIHHQ", nonce, len(message), 0, 1, self._session_id)
        made = self._close.encrypt(nonce, bytes(message), rest)
        return SEALED_MAGIC + made[-16:] + rest + made[:-16]

    def opened(self, frame: bytes) -> bytes:
        _, tag, nonce, size, _, flags, _ = _TRANSFORM.unpack_from(frame)
        if flags != 1 or size != len(frame) - 52:
            raise BadFrame("a wrong transform header")
        try:
            return self._open.decrypt(nonce[: self._nonce], frame[52:] + tag, frame[20:52])
        except InvalidTag:
            raise BadFrame("a seal that does not fit") from None


def sealed_session(frame: bytes) -> int:
    if len(frame) < 52 + 64:
        raise BadFrame("a transform header cut off")
    return int(_TRANSFORM.unpack_from(frame)[6])


@dataclass
class Keys:
    signer: Signer
    sealer: Sealer | None


def session_keys(
    dialect: int, key: bytes, preauth: bytes, algorithm: int, cipher: int | None, session_id: int
) -> Keys:
    """`preauth` is the preauthentication hash up to the last request of the log-on."""
    key = key[:16].ljust(16, b"\0")
    if dialect < 0x0300:
        return Keys(Signer(HMAC_SHA256, key), None)
    size = 32 if cipher in (AES_256_CCM, AES_256_GCM) else 16
    if dialect == 0x0311:
        signing = derived(key, b"SMBSigningKey\0", preauth)
        to_server = derived(key, b"SMBC2SCipherKey\0", preauth, size)
        to_client = derived(key, b"SMBS2CCipherKey\0", preauth, size)
    else:
        signing = derived(key, b"SMB2AESCMAC\0", b"SmbSign\0")
        to_server = derived(key, b"SMB2AESCCM\0", b"ServerIn \0")
        to_client = derived(key, b"SMB2AESCCM\0", b"ServerOut\0")
    sealer = Sealer(cipher, to_server, to_client, session_id) if cipher is not None else None
    return Keys(Signer(algorithm, signing), sealer)


def chained(value: bytes, message: bytes | bytearray) -> bytes:
    """The preauthentication hash after one more message (3.1.4.4.1... SHA-512)."""
    return hashlib.sha512(value + bytes(message)).digest()
