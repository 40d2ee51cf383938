"""SMB2 on the wire: framing, header, and the numbers that both ends must agree on.

Layouts are those of MS-SMB2 2.1 (framing over TCP), 2.2.1 (header) and 2.2.3 ff. All bytes that come
from a server are held against their bounds; what does not fit raises `Malformed`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum, IntFlag
from typing import Any, NamedTuple, TypeAlias

from lab.smb.errors import Malformed

Buffer: TypeAlias = bytes | bytearray | memoryview

PROTOCOL = b"\xfeSMB"
SEALED = b"\xfdSMB"
HEADER = struct.Struct("<4sHHIHHIIQIIQ16s")
HEADER_SIZE = 64
FRAMING = struct.Struct(">I")  # a zero byte and 24 bits of length
LARGEST_FRAME = 0xFF_FFFF
UNSOLICITED = 0xFFFF_FFFF_FFFF_FFFF
"""Message id of a notification that no request asked for: an oplock or lease break."""
ANY_FILE = b"\xff" * 16
"""The file of the request before, in a compound (MS-SMB2 3.2.4.1.4)."""
CREDIT_BYTES = 65_536
"""Payload that one credit pays for (3.2.4.1.5)."""


class Command(IntEnum):
    NEGOTIATE = 0
    SESSION_SETUP = 1
    LOGOFF = 2
    TREE_CONNECT = 3
    TREE_DISCONNECT = 4
    CREATE = 5
    CLOSE = 6
    FLUSH = 7
    READ = 8
    WRITE = 9
    LOCK = 10
    IOCTL = 11
    CANCEL = 12
    ECHO = 13
    QUERY_DIRECTORY = 14
    CHANGE_NOTIFY = 15
    QUERY_INFO = 16
    SET_INFO = 17
    OPLOCK_BREAK = 18


class Flags(IntFlag):
    TO_CLIENT = 0x1
    ASYNC = 0x2
    RELATED = 0x4
    SIGNED = 0x8


class Capability(IntFlag):
    DFS = 0x01
    LEASING = 0x02
    LARGE_MTU = 0x04
    ENCRYPTION = 0x40


SIGNING_ENABLED, SIGNING_REQUIRED = 0x1, 0x2
SESSION_GUEST, SESSION_NULL, SESSION_ENCRYPT = 0x1, 0x2, 0x4
SHARE_ENCRYPT = 0x8000
UNBUFFERED = 0x1
"""SMB2_READFLAG_READ_UNBUFFERED (2.2.19), for dialects 3.0.2 and 3.1.1."""


class Header(NamedTuple):
    credit_charge: int
    status: int
    command: int
    credits: int
    flags: int
    next_command: int
    message_id: int
    process_id: int  # with ASYNC, this and the tree id are the async id
    tree_id: int
    session_id: int
    signature: bytes

    @property
    def async_id(self) -> int:
        return self.process_id | self.tree_id << 32


def header(
    command: int,
    *,
    message_id: int,
    session_id: int = 0,
    tree_id: int = 0,
    credits: int = 1,
    charge: int = 1,
    flags: int = 0,
    next_command: int = 0,
) -> bytes:
    """A request's header; its signature is zeros."""
    return HEADER.pack(
        PROTOCOL,
        64,
        charge,
        0,
        command,
        credits,
        flags,
        next_command,
        message_id,
        0xFEFF,
        tree_id,
        session_id,
        bytes(16),
    )


def parse_header(data: Buffer, at: int = 0) -> Header:
    """The header at `at`."""
    if len(data) - at < HEADER_SIZE:
        raise Malformed(f"an answer of {len(data) - at} bytes is too short for an SMB2 header")
    protocol, size, charge, *fields = HEADER.unpack_from(data, at)
    if protocol != PROTOCOL or size != HEADER_SIZE:
        raise Malformed(f"an answer begins with {bytes(protocol).hex()}, which is not SMB2")
    return Header(charge, *fields)


def parts(message: Buffer) -> Iterator[memoryview]:
    """The messages of a compound, each from its header to the next one's (MS-SMB2 3.2.5.1.9).

    Raises Malformed, after the messages before it, for one that does not fit.
    """
    rest = memoryview(message)
    while True:
        following = parse_header(rest).next_command
        if not following:
            yield rest
            return
        if following % 8 or not HEADER_SIZE <= following <= len(rest) - HEADER_SIZE:
            raise Malformed(
                f"the next answer of a compound of {len(rest)} bytes is said to be at {following}"
            )
        yield rest[:following]
        rest = rest[following:]


def frame_length(framing: Buffer, most: int) -> int:
    """Bytes of the message that follows these 4 bytes; Malformed when more than `most` or not a message."""
    (value,) = FRAMING.unpack(framing)
    if value >> 24:
        raise Malformed(f"a message is announced by {bytes(framing).hex()}, which is not SMB2 over TCP")
    if not HEADER_SIZE <= value <= most:
        raise Malformed(f"a message of {value} bytes is announced; {HEADER_SIZE} to {most} can be")
    return int(value)


def fixed(message: Buffer, form: struct.Struct, size: int, what: str) -> tuple[Any, ...]:
    """The fixed part of a response's body, which begins with its StructureSize `size`."""
    if len(message) < HEADER_SIZE + form.size:
        raise Malformed(f"{what}: an answer of {len(message)} bytes is too short")
    fields = form.unpack_from(message, HEADER_SIZE)
    if fields[0] != size:
        raise Malformed(f"{what}: an answer of structure size {fields[0]} instead of {size}")
    return fields


def span(message: Buffer, offset: int, length: int, what: str) -> memoryview:
    """`length` bytes of the message at `offset` from its header's start."""
    if length and (offset < HEADER_SIZE or offset + length > len(message)):
        raise Malformed(
            f"{what}: {length} bytes at {offset} are said to be in an answer of {len(message)} bytes"
        )
    return memoryview(message)[offset : offset + length] if length else memoryview(b"")


def charge_of(length: int) -> int:
    """Credits of a request that carries, or asks for, `length` bytes."""
    return max(1, -(-length // CREDIT_BYTES))
