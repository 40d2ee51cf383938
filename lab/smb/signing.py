"""Message signing (MS-SMB2 3.1.4.1): HMAC-SHA256, AES-CMAC and AES-GMAC.

A key's context is made once: for each message it is copied (or, for GMAC, used as it is), which costs a
third of making it anew.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import IntEnum
from hmac import compare_digest

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from lab.smb.wire import HEADER_SIZE, Buffer, Command

_SIGNATURE = slice(48, 64)
_ZEROS = bytes(16)
_CANCEL = int(Command.CANCEL)  # comparing with the IntEnum itself costs a tenth of a signature


class SigningAlgorithm(IntEnum):
    """The numbers of MS-SMB2 2.2.3.1.7."""

    HMAC_SHA256 = 0
    AES_CMAC = 1
    AES_GMAC = 2


class Signer(ABC):
    """Signs and verifies messages with one key. A message goes from its header to its last byte, padding
    included, without the framing; the messages of a compound are signed one by one.
    """

    algorithm: SigningAlgorithm

    @abstractmethod
    def signature(self, message: Buffer) -> bytes:
        """The 16 bytes for the Signature field, which is zeros in `message`; all its flags are final."""

    def verify(self, message: Buffer) -> bool:
        """Is the message's Signature the right one? The message stays as it was.

        What can be written to is verified in place, its Signature being zeros for a moment: no other thread
        may look at it.
        """
        view = memoryview(message)
        if len(view) < HEADER_SIZE:
            return False
        if view.readonly:
            view = memoryview(bytearray(view))
        claimed = bytes(view[_SIGNATURE])
        view[_SIGNATURE] = _ZEROS
        right = self.signature(view)
        view[_SIGNATURE] = claimed
        return compare_digest(right, claimed)

    def verify_span(self, buffer: bytearray, start: int, end: int) -> bool:
        """`verify` of the message at `buffer[start:end]`, in place."""
        return 0 <= start <= end <= len(buffer) and self.verify(memoryview(buffer)[start:end])


class _HmacSha256(Signer):
    algorithm = SigningAlgorithm.HMAC_SHA256

    def __init__(self, key: bytes) -> None:
        self._keyed = HMAC(key, SHA256())

    def signature(self, message: Buffer) -> bytes:
        mac = self._keyed.copy()
        mac.update(message)
        return mac.finalize()[:16]


class _AesCmac(Signer):
    algorithm = SigningAlgorithm.AES_CMAC

    def __init__(self, key: bytes) -> None:
        self._keyed = CMAC(AES(key))

    def signature(self, message: Buffer) -> bytes:
        mac = self._keyed.copy()
        mac.update(message)  # type: ignore[arg-type]  # takes any buffer; only its annotation says bytes
        return mac.finalize()


class _AesGmac(Signer):
    algorithm = SigningAlgorithm.AES_GMAC

    def __init__(self, key: bytes) -> None:
        self._keyed = AESGCM(key)

    def signature(self, message: Buffer) -> bytes:
        # The nonce: MessageId, then a bit each for "from the server" and "a CANCEL" (3.1.4.1).
        bits = message[16] & 1 | (message[12] == _CANCEL) << 1
        return self._keyed.encrypt(bytes(message[24:32]) + _INFO[bits], b"", message)


_INFO = tuple(bits.to_bytes(4, "little") for bits in range(4))
_SIGNERS: dict[SigningAlgorithm, type[_HmacSha256 | _AesCmac | _AesGmac]] = {
    each.algorithm: each for each in (_HmacSha256, _AesCmac, _AesGmac)
}


def new_signer(algorithm: SigningAlgorithm, key: bytes) -> Signer:
    """A signer with a session's 16-byte signing key."""
    return _SIGNERS[algorithm](key)
