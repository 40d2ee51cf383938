"""A READ by itself, answered without building impacket's packet objects, which cost ten times the READ.

Layouts: MS-SMB2 2.2.1.2 (header), 2.2.2 (error), 2.2.19 and 2.2.20 (READ).
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Callable

_HEADER = struct.Struct("<4sHHIHHIIQIIQ16s")
_REQUEST = struct.Struct("<HBBIQ16s")
_RESPONSE = struct.Struct("<HBBIII")
_ERROR = struct.Struct("<HBBIB")

_READ = 8
_TO_CLIENT, _SIGNED = 0x1, 0x8
_DATA_OFFSET = _HEADER.size + _RESPONSE.size

Read = Callable[[int, bytes, int, int], tuple[int, bytes]]
"""Tree, file, length, offset -> NTSTATUS and data."""


def parse(body: bytes) -> tuple[bytes, int, int]:
    """File id, length and offset of a READ request's body."""
    _, _, _, length, offset, file_id = _REQUEST.unpack_from(body)
    return file_id, length, offset


def answer(message: bytes, session: int, key: bytes | None, read: Read) -> bytes | None:
    """The whole answer to `message`, signed when there is a key. None when it is not a READ of `session`,
    or not alone."""
    if len(message) < _HEADER.size + _REQUEST.size or message[12:14] != b"\x08\0":
        return None
    magic, _, charge, _, command, credits, _, following, message_id, process, tree, sender, _ = (
        _HEADER.unpack_from(message)
    )
    if magic != b"\xfeSMB" or command != _READ or following or sender != session:
        return None
    file_id, length, offset = parse(message[_HEADER.size :])
    status, data = read(tree, file_id, length, offset)
    if status:
        body = _ERROR.pack(9, 0, 0, 0, 0)
    else:
        body = _RESPONSE.pack(17, _DATA_OFFSET, 0, len(data), 0, 0) + data
    flags = _TO_CLIENT | (_SIGNED if key is not None else 0)
    fields = (b"\xfeSMB", 64, charge, status, _READ, credits, flags, 0, message_id, process, tree, session)
    unsigned = _HEADER.pack(*fields, bytes(16)) + body
    if key is None:
        return unsigned
    signature = hmac.digest(key, unsigned, hashlib.sha256)[:16]
    return unsigned[:48] + signature + body
