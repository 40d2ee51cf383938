"""NEGOTIATE: what a client offers and what a server chooses (MS-SMB2 2.2.3, 2.2.4, 3.2.5.2)."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lab.smb.errors import Malformed, NotOffered
from lab.smb.sealing import Cipher
from lab.smb.signing import SigningAlgorithm
from lab.smb.target import Encryption, Security, Signing
from lab.smb.wire import SIGNING_ENABLED, SIGNING_REQUIRED, Buffer, Capability, fixed, span

_REQUEST = struct.Struct("<HHHHI16s")
_ANSWER = struct.Struct("<HHHH16sIIIIQQHHI")
_CONTEXT = struct.Struct("<HHI")
_PREAUTH, _ENCRYPTION, _SIGNING = 1, 2, 8
_SHA512 = 1

SMB3 = 0x0300
SMB311 = 0x0311
LARGEST = 8 << 20
"""Bytes of one READ, WRITE or query that we ever use, whatever the server allows: Windows allows so many."""


@dataclass(frozen=True)
class Agreed:
    """What both ends will do. Sizes in bytes."""

    dialect: int
    server_guid: bytes
    capabilities: int
    security_mode: int
    max_transact: int
    max_read: int
    max_write: int
    token: bytes
    signing: SigningAlgorithm
    cipher: Cipher | None

    @property
    def multi_credit(self) -> bool:
        """Whether one request may be for more than 64 KiB."""
        return self.dialect > 0x0202 and bool(self.capabilities & Capability.LARGE_MTU)


def dialect_name(dialect: int) -> str:
    """3.1.1 of 0x0311."""
    return f"{dialect >> 8}.{dialect >> 4 & 15}" + (f".{dialect & 15}" if dialect & 15 else "")


def security_mode(security: Security) -> int:
    return SIGNING_REQUIRED if security.signing is Signing.REQUIRED else SIGNING_ENABLED


def capabilities(security: Security) -> int:
    """Those of the client; only 3.x servers look at them."""
    offered = Capability.LARGE_MTU | Capability.LEASING
    if security.encryption is not Encryption.OFF:
        offered |= Capability.ENCRYPTION
    return int(offered) if max(security.dialects) >= SMB3 else 0


def negotiate_request(security: Security, guid: bytes) -> bytes:
    """The body. Contexts are sent when 3.1.1 is among the dialects."""
    dialects = struct.pack(f"<{len(security.dialects)}H", *security.dialects)
    guid = guid if max(security.dialects) > 0x0202 else bytes(16)
    start = _REQUEST.pack(
        36, len(security.dialects), security_mode(security), 0, capabilities(security), guid
    )
    if SMB311 not in security.dialects:
        return start + bytes(8) + dialects
    contexts = list(_contexts(security))
    at = 64 + len(start) + 8 + len(dialects)
    room = -at % 8
    where = struct.pack("<IHH", at + room, len(contexts), 0)
    return start + where + dialects + bytes(room) + b"".join(_padded(contexts))


def _contexts(security: Security) -> Iterator[bytes]:
    yield _context(_PREAUTH, struct.pack("<HHH", 1, 32, _SHA512) + os.urandom(32))
    if security.encryption is not Encryption.OFF:
        yield _context(_ENCRYPTION, _numbers(security.ciphers))
    yield _context(_SIGNING, _numbers(security.signing_algorithms))


def _numbers(values: Sequence[int]) -> bytes:
    return struct.pack(f"<H{len(values)}H", len(values), *values)


def _context(kind: int, data: bytes) -> bytes:
    return _CONTEXT.pack(kind, len(data), 0) + data


def _padded(contexts: Sequence[bytes]) -> Iterator[bytes]:
    for index, context in enumerate(contexts):
        yield context + bytes(-len(context) % 8 if index + 1 < len(contexts) else 0)


def parse_negotiate(message: Buffer, security: Security, place: str) -> Agreed:
    """Raises NotOffered when the server has no dialect of ours, or cannot do what `security` insists on,
    and Malformed when it chose what was not offered."""
    answer = fixed(message, _ANSWER, 65, "NEGOTIATE")
    _, mode, dialect, count, guid, offered, transact, read, write, _, _, offset, length, contexts_at = answer
    if dialect not in security.dialects:
        raise Malformed(f"{place} chose dialect {dialect:#06x}, which was not offered")
    if min(read, write, transact) < 4096:
        raise Malformed(
            f"{place} allows READs of {read}, WRITEs of {write} and queries of {transact} bytes only"
        )
    signing, cipher = _by_dialect(dialect, offered, security)
    if dialect == SMB311:
        chosen = _chosen(message, contexts_at, count)
        signing, cipher = _of_contexts(chosen, security, place)
    if security.encryption is Encryption.REQUIRED and cipher is None:
        raise NotOffered(f"{place} does not offer encryption, which the inventory requires")
    return Agreed(
        dialect=dialect,
        server_guid=guid,
        capabilities=offered,
        security_mode=mode,
        max_transact=min(transact, LARGEST),
        max_read=min(read, LARGEST),
        max_write=min(write, LARGEST),
        token=bytes(span(message, offset, length, "NEGOTIATE")),
        signing=signing,
        cipher=cipher,
    )


def _by_dialect(dialect: int, offered: int, security: Security) -> tuple[SigningAlgorithm, Cipher | None]:
    """Before 3.1.1, the dialect decides."""
    if dialect < SMB3:
        return SigningAlgorithm.HMAC_SHA256, None
    encrypts = security.encryption is not Encryption.OFF and offered & Capability.ENCRYPTION
    return SigningAlgorithm.AES_CMAC, Cipher.AES_128_CCM if encrypts else None


def _chosen(message: Buffer, at: int, count: int) -> dict[int, memoryview]:
    """The server's contexts by type; each may come once, and one follows the other."""
    found: dict[int, memoryview] = {}
    for _ in range(count):
        kind, length, _ = _CONTEXT.unpack(span(message, at, _CONTEXT.size, "NEGOTIATE"))
        if kind in found:
            raise Malformed(f"NEGOTIATE: context {kind} comes twice")
        found[kind] = span(message, at + _CONTEXT.size, length, "NEGOTIATE")
        at += _CONTEXT.size + length
        at += -at % 8
    return found


def _of_contexts(
    chosen: dict[int, memoryview], security: Security, place: str
) -> tuple[SigningAlgorithm, Cipher | None]:
    preauth = chosen.get(_PREAUTH, memoryview(b""))
    if len(preauth) < 6 or struct.unpack_from("<HHH", preauth)[::2] != (1, _SHA512):
        raise Malformed(f"{place} chose no SHA-512 for preauthentication integrity")
    signing, cipher = SigningAlgorithm.AES_CMAC, None
    if _SIGNING in chosen:
        number = _one(chosen[_SIGNING], place)
        if number not in security.signing_algorithms:
            raise Malformed(f"{place} chose signing algorithm {number}, which was not offered")
        signing = SigningAlgorithm(number)
    if _ENCRYPTION in chosen:
        number = _one(chosen[_ENCRYPTION], place)
        if number and number not in security.ciphers:
            raise Malformed(f"{place} chose cipher {number}, which was not offered")
        cipher = Cipher(number) if number else None
    return signing, cipher


def _one(data: memoryview, place: str) -> int:
    """The only number of a list."""
    if len(data) < 4 or struct.unpack_from("<H", data)[0] != 1:
        raise Malformed(f"{place} chose not exactly one algorithm of those offered")
    return int(struct.unpack_from("<H", data, 2)[0])
