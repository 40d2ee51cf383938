"""Message encryption (MS-SMB2 3.1.4.3): AES-128 and AES-256, each as GCM and CCM."""

from __future__ import annotations

import os
import struct
from enum import IntEnum
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
from cryptography.hazmat.primitives.ciphers import CipherContext
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from lab.model import InfrastructureError
from lab.smb.errors import Malformed
from lab.smb.wire import HEADER_SIZE, SEALED, Buffer

if TYPE_CHECKING:
    from lab.smb.keys import SessionKeys

TRANSFORM_SIZE = 52
_TRANSFORM = struct.Struct("<4s16s16sIHHQ")  # protocol, tag, nonce, length, reserved, flags, session id
_AUTHENTICATED = struct.Struct("<16sIHHQ")  # what of it the tag covers: all from the nonce on
_ENCRYPTED = 1
"""Flags of 3.1.1; EncryptionAlgorithm AES128-CCM of 3.0 and 3.0.2, whatever the cipher (2.2.41)."""

MOST_SEALED = 1 << 48
"""Messages that one sealer seals. Its counter has 64 bits and is never near its end."""


class Cipher(IntEnum):
    """The numbers of MS-SMB2 2.2.3.1.2."""

    AES_128_CCM = 1
    AES_128_GCM = 2
    AES_256_CCM = 3
    AES_256_GCM = 4

    @property
    def key_size(self) -> int:
        """Bytes of its keys."""
        return 16 if self <= Cipher.AES_128_GCM else 32

    @property
    def is_gcm(self) -> bool:
        return self in (Cipher.AES_128_GCM, Cipher.AES_256_GCM)


class BadSeal(Malformed):
    """An encrypted message that is not what the server made for this session."""


class Sealer:
    """Encrypts and decrypts the messages of one session; a session has only one.

    A second one with the same keys would begin to count nonces anew (from another random start, so that
    even then none comes twice but by a chance of 1 in 2^24 or less).
    """

    def __init__(self, cipher: Cipher, keys: SessionKeys, session_id: int) -> None:
        if len(keys.encryption) != cipher.key_size or len(keys.decryption) != cipher.key_size:
            raise ValueError(f"{cipher.name} takes keys of {cipher.key_size} bytes")
        self.cipher, self.session_id = cipher, session_id
        aead = AESGCM if cipher.is_gcm else AESCCM
        self._sealing, self._opening = aead(keys.encryption), aead(keys.decryption)
        self._nonce_size = 12 if cipher.is_gcm else 11
        self._salt = os.urandom(self._nonce_size - 8)
        self._sealed = 0
        # Counter block of the first 16 bytes: GCM (SP 800-38D 7.1) nonce and 2, CCM (SP 800-38C A.3)
        # flags, nonce and 1.
        self._before, self._after = (b"", b"\0\0\0\2") if cipher.is_gcm else (b"\3", b"\0\0\0\1")
        zeros = CTR(bytes(16))
        self._peeking: CipherContext = BlockCipher(AES(keys.decryption), zeros).decryptor()

    def seal(self, message: Buffer) -> bytes:
        """The message (or a whole compound) encrypted, behind its transform header."""
        if self._sealed >= MOST_SEALED:
            raise InfrastructureError(
                f"a session has encrypted {self._sealed} messages, as many as its keys are good for",
                help="Log on again.",
            )
        self._sealed += 1
        nonce = self._sealed.to_bytes(8, "little") + self._salt
        covered = _AUTHENTICATED.pack(nonce, len(message), 0, _ENCRYPTED, self.session_id)
        sealed = memoryview(self._sealing.encrypt(nonce, message, covered))
        return b"".join((SEALED, sealed[-16:], covered, sealed[:-16]))

    def unseal(self, frame: Buffer) -> bytes:
        """The message within a frame that begins with its transform header.

        Raises BadSeal when the frame is short, another session's, or not the server's.
        """
        nonce, tag = self._opened(frame)
        view = memoryview(frame)
        try:
            return self._opening.decrypt(
                nonce, b"".join((view[TRANSFORM_SIZE:], tag)), view[20:TRANSFORM_SIZE]
            )
        except InvalidTag:
            raise BadSeal(
                f"an encrypted answer of {len(frame)} bytes does not fit the session's key"
            ) from None

    def peek(self, frame: Buffer, size: int) -> bytes:
        """The first `size` bytes of the message within, or fewer when it is shorter.

        They are not authenticated: good for counting, not for believing. `unseal` tells.
        """
        nonce, _ = self._opened(frame)
        self._peeking.reset_nonce(b"".join((self._before, nonce, self._after)))
        return self._peeking.update(memoryview(frame)[TRANSFORM_SIZE : TRANSFORM_SIZE + size])

    def _opened(self, frame: Buffer) -> tuple[bytes, bytes]:
        """Nonce and tag, after a look at every field of the transform header."""
        length = len(frame) - TRANSFORM_SIZE
        if length < HEADER_SIZE:
            raise BadSeal(f"an encrypted answer of {len(frame)} bytes is too short for an SMB2 header")
        protocol, tag, nonce, size, _, flags, session_id = _TRANSFORM.unpack_from(frame)
        if protocol != SEALED:
            raise BadSeal(f"an answer begins with {protocol.hex()} where an encrypted one was due")
        if size != length:
            raise BadSeal(f"an encrypted answer is said to hold {size} bytes and has {length}")
        if flags != _ENCRYPTED or session_id != self.session_id:
            raise BadSeal("an encrypted answer belongs to another session")
        return nonce[: self._nonce_size], tag
