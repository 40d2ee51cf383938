"""SMB2 messages as the null server reads and writes them (MS-SMB2 2.2). Shares no code with the client."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nullsmb_keys import Keys

NEGOTIATE, SESSION_SETUP, LOGOFF, TREE_CONNECT, TREE_DISCONNECT, CREATE, CLOSE, FLUSH, READ = range(9)
WRITE, LOCK, IOCTL, CANCEL, ECHO, QUERY_DIRECTORY, CHANGE_NOTIFY, QUERY_INFO, SET_INFO, BREAK = range(9, 19)
NAMES = (
    *("NEGOTIATE", "SESSION_SETUP", "LOGOFF", "TREE_CONNECT", "TREE_DISCONNECT", "CREATE", "CLOSE", "FLUSH"),
    *("READ", "WRITE", "LOCK", "IOCTL", "CANCEL", "ECHO", "QUERY_DIRECTORY", "CHANGE_NOTIFY", "QUERY_INFO"),
    *("SET_INFO", "BREAK"),
)

FROM_SERVER, ASYNC, RELATED, SIGNED = 1, 2, 4, 8

SUCCESS = 0
PENDING = 0x0000_0103
MORE_PROCESSING_REQUIRED = 0xC000_0016
NO_MORE_FILES = 0x8000_0006
INFO_LENGTH_MISMATCH = 0xC000_0004
INVALID_PARAMETER = 0xC000_000D
NO_SUCH_FILE = 0xC000_000F
END_OF_FILE = 0xC000_0011
ACCESS_DENIED = 0xC000_0022
OBJECT_NAME_INVALID = 0xC000_0033
OBJECT_NAME_NOT_FOUND = 0xC000_0034
OBJECT_NAME_COLLISION = 0xC000_0035
LOGON_FAILURE = 0xC000_006D
INSUFFICIENT_RESOURCES = 0xC000_009A
FILE_IS_A_DIRECTORY = 0xC000_00BA
NOT_SUPPORTED = 0xC000_00BB
NETWORK_NAME_DELETED = 0xC000_00C9
BAD_NETWORK_NAME = 0xC000_00CC
DIRECTORY_NOT_EMPTY = 0xC000_0101
NOT_A_DIRECTORY = 0xC000_0103
CANCELLED = 0xC000_0120
FILE_CLOSED = 0xC000_0128
USER_SESSION_DELETED = 0xC000_0203

HEADER = struct.Struct("<4sHHIHHIIQIIQ16s")
MAGIC = b"\xfeSMB"
SEALED_MAGIC = b"\xfdSMB"


class BadFrame(Exception):
    """A client sent what no client may send; the server hangs up, as a real one does."""


@dataclass
class Request:
    """One request of a frame. `message` is the request from its header on, `body` what follows that."""

    message: bytes
    charge: int
    status: int
    command: int
    credits: int
    flags: int
    next_command: int
    message_id: int
    tree_id: int
    session_id: int
    sealed: bool = False

    @property
    def body(self) -> bytes:
        return self.message[64:]

    @property
    def async_id(self) -> int:
        return int.from_bytes(self.message[32:40], "little")


def requests(frame: bytes, *, sealed: bool = False) -> list[Request]:
    """The requests of one frame, a compound or not."""
    found = []
    at = 0
    while True:
        if len(frame) - at < 64:
            raise BadFrame("a header cut off")
        magic, size, charge, status, command, credits, flags, following, number, _, tree, session, _ = (
            HEADER.unpack_from(frame, at)
        )
        if magic != MAGIC or size != 64 or command >= len(NAMES):
            raise BadFrame("no SMB2 header")
        end = at + following if following else len(frame)
        if following % 8 or (following and following < 64) or end > len(frame):
            raise BadFrame("a compound that leads nowhere")
        request = Request(
            frame[at:end], charge, status, command, credits, flags, following, number, tree, session, sealed
        )
        found.append(request)
        if not following:
            return found
        at = end


@dataclass
class Answer:
    """One response before it is signed and sent. Odd behaviour changes its fields."""

    command: int
    message_id: int
    status: int = SUCCESS
    session_id: int = 0
    tree_id: int = 0
    credits: int = 0
    charge: int = 0
    flags: int = FROM_SERVER
    async_id: int = 0
    body: bytes = b""
    sign: bool = False
    sealed: bool = False
    next_command: int | None = None
    """None: as the place in the compound asks; a number: that, whatever is right."""
    signature: bytes | None = None
    """Not None: this instead of the right one."""
    protocol: bytes = MAGIC
    header_size: int = 64
    keys: Keys | None = None
    on_wire: Callable[[bytes], None] | None = None
    """Told the message as it is sent: the preauthentication hash runs over answers, too."""

    def message(self, next_command: int = 0) -> bytearray:
        """Header and body; the signature is zeros."""
        if self.async_id:
            low, high = self.async_id & 0xFFFF_FFFF, self.async_id >> 32
            flags = self.flags | ASYNC
        else:
            low, high, flags = 0xFEFF, self.tree_id, self.flags
        if self.sign:
            flags |= SIGNED
        following = next_command if self.next_command is None else self.next_command
        head = HEADER.pack(
            *(self.protocol, self.header_size, self.charge, self.status, self.command, self.credits, flags),
            *(following, self.message_id, low, high, self.session_id, bytes(16)),
        )
        return bytearray(head + self.body)


def failure_body() -> bytes:
    """The body of an error response (2.2.2) without error data."""
    return struct.pack("<HBBIB", 9, 0, 0, 0, 0)


def framed(message: bytes | bytearray) -> bytes:
    return struct.pack(">I", len(message)) + bytes(message)


# --- bodies ---------------------------------------------------------------------------------------


@dataclass
class Offer:
    """A NEGOTIATE request (2.2.3)."""

    dialects: list[int]
    security_mode: int
    capabilities: int
    guid: bytes
    contexts: dict[int, bytes] = field(default_factory=dict)


def parse_negotiate(message: bytes) -> Offer:
    size, count, mode, _, capabilities, guid, where, contexts, _ = struct.unpack_from(
        "<HHHHI16sIHH", message, 64
    )
    if size != 36 or len(message) < 100 + 2 * count:
        raise BadFrame("a wrong NEGOTIATE")
    offer = Offer(list(struct.unpack_from(f"<{count}H", message, 100)), mode, capabilities, guid)
    if 0x0311 in offer.dialects:
        at = where
        for _ in range(contexts):
            kind, length = struct.unpack_from("<HH", message, at)
            offer.contexts[kind] = message[at + 8 : at + 8 + length]
            at += 8 + length + -length % 8
    return offer


def context(kind: int, data: bytes) -> bytes:
    return struct.pack("<HHI", kind, len(data), 0) + data


def negotiate_body(
    *, mode: int, dialect: int, guid: bytes, capabilities: int, sizes: tuple[int, int, int], blob: bytes,
    contexts: list[bytes], now: int,
) -> bytes:  # fmt: skip
    """2.2.4. `sizes` are MaxTransactSize, MaxReadSize and MaxWriteSize in bytes."""
    where, listed = 0, b""
    if contexts:
        where = 128 + len(blob) + -len(blob) % 8
        listed = bytes(-len(blob) % 8)
        listed += b"".join(each + bytes(-len(each) % 8) for each in contexts[:-1]) + contexts[-1]
    fixed = struct.pack(
        "<HHHH16sIIIIQQHHI",
        *(65, mode, dialect, len(contexts), guid, capabilities, *sizes, now, 0, 128, len(blob), where),
    )
    return fixed + blob + listed


def preauth_context() -> bytes:
    return context(1, struct.pack("<HHH", 1, 32, 1) + os.urandom(32))


def numbers(data: bytes) -> list[int]:
    """The list of 16-bit values of an encryption or signing context (2.2.3.1.2, 2.2.3.1.7)."""
    count = struct.unpack_from("<H", data)[0]
    return list(struct.unpack_from(f"<{count}H", data, 2))


def create_body(
    *, action: int, times: tuple[int, ...], allocated: int, size: int, attributes: int, file_id: bytes
) -> bytes:  # fmt: skip
    """2.2.14 without oplock or create contexts. `times` in units of 100 ns since 1601."""
    return struct.pack(
        "<HBBI4QQQII16sII", 89, 0, 0, action, *times, allocated, size, attributes, 0, file_id, 0, 0
    )


def buffer_body(data: bytes) -> bytes:
    """The shape of QUERY_DIRECTORY and QUERY_INFO answers (2.2.34, 2.2.38)."""
    return struct.pack("<HHI", 9, 72, len(data)) + (data or b"\0")
