"""Bodies of SMB2 requests, and what is needed of the responses (MS-SMB2 2.2.3 to 2.2.40).

`*_request` give the body that follows the header; `parse_*` take a whole message from its header on and
raise `Malformed` when it does not hold what it must.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from lab.smb.errors import Malformed
from lab.smb.wire import HEADER_SIZE, Buffer, fixed, span

_SESSION_SETUP = struct.Struct("<HBBIIHHQ")
_SESSION_SETUP_ANSWER = struct.Struct("<HHHH")
_TREE_CONNECT_ANSWER = struct.Struct("<HBBIII")
_CREATE = struct.Struct("<HBBIQQIIIIIHHII")
_CREATE_ANSWER = struct.Struct("<HBBIQQQQQQII16sII")
_CLOSE = struct.Struct("<HHI16s")
_READ = struct.Struct("<HBBIQ16sIIIHHB")
_READ_ANSWER = struct.Struct("<HBBIII")
_WRITE = struct.Struct("<HHIQ16sIIHHI")
_WRITE_ANSWER = struct.Struct("<HHIIHH")
_QUERY_DIRECTORY = struct.Struct("<HBBI16sHHI")
_QUERY_INFO = struct.Struct("<HBBIHHIII16sB")
_QUERY_ANSWER = struct.Struct("<HHI")
_IOCTL = struct.Struct("<HHI16sIIIIIIII")
_IOCTL_ANSWER = struct.Struct("<HHI16sIIIIII")
_BREAK = struct.Struct("<HBBI16s")
_LEASE_ACK = struct.Struct("<HHI16sIQ")
_ENTRY = struct.Struct("<IIQQQQQQIII")

NOTHING = struct.pack("<HH", 4, 0)
"""The body of ECHO, LOGOFF, TREE_DISCONNECT and CANCEL."""

DIRECTORY = 0x10
"""FILE_ATTRIBUTE_DIRECTORY."""
_LONGEST_FILE = (1 << 63) - 1  # lengths are signed (MS-FSCC 2.4)
_NEVER_IN_NAMES = frozenset("\\/\0")  # a name of several parts would lead out of its folder


def session_setup_request(token: bytes, security_mode: int) -> bytes:
    return _SESSION_SETUP.pack(25, 0, security_mode, 0, 0, HEADER_SIZE + 24, len(token), 0) + token


def parse_session_setup(message: Buffer) -> tuple[int, bytes]:
    """Session flags, and the server's token."""
    _, flags, offset, length = fixed(message, _SESSION_SETUP_ANSWER, 9, "SESSION_SETUP")
    return flags, bytes(span(message, offset, length, "SESSION_SETUP"))


def tree_connect_request(path: str) -> bytes:
    r"""`path` is \\server\share."""
    name = path.encode("utf-16-le")
    return struct.pack("<HHHH", 9, 0, HEADER_SIZE + 8, len(name)) + name


def parse_tree_connect(message: Buffer) -> tuple[int, int]:
    """Share type (1: disk) and share flags."""
    _, kind, _, flags, _, _ = fixed(message, _TREE_CONNECT_ANSWER, 16, "TREE_CONNECT")
    return kind, flags


class Disposition:
    """What a CREATE does with a file that is there or not (2.2.13)."""

    SUPERSEDE, OPEN, CREATE, OPEN_IF = 0, 1, 2, 3


class Access:
    """Access masks (2.2.13.1)."""

    READ = 0x0012_0089  # FILE_GENERIC_READ
    READ_ATTRIBUTES = 0x0010_0080  # with SYNCHRONIZE: never a sharing violation
    READ_WRITE = 0x0012_019F  # FILE_GENERIC_READ | FILE_GENERIC_WRITE
    LIST = 0x0010_0081
    DELETE = 0x0011_0080


class Option:
    """Create options (2.2.13)."""

    FOLDER, NO_FOLDER, DELETE_ON_CLOSE = 0x1, 0x40, 0x1000


class Oplock:
    """Requested oplock levels (2.2.13)."""

    NONE, SECOND, EXCLUSIVE, BATCH, LEASE = 0x00, 0x01, 0x08, 0x09, 0xFF


def create_request(
    name: str,
    access: int,
    disposition: int = Disposition.OPEN,
    options: int = Option.NO_FOLDER,
    *,
    oplock: int = Oplock.NONE,
    contexts: bytes = b"",
) -> bytes:
    """Open `name`, with backslashes from the share's root, sharing it with readers, writers and deleters.

    `contexts` are whole create contexts (2.2.13.2).
    """
    path = name.encode("utf-16-le")
    room = path + (bytes(-len(path) % 8) if contexts else b"") or bytes(8)
    at = HEADER_SIZE + 56 + len(room) if contexts else 0
    attributes = 0x80 if options & Option.NO_FOLDER else 0
    start = _CREATE.pack(
        57, 0, oplock, 2, 0, 0, access, attributes, 7, disposition, options, 120, len(path), at, len(contexts)
    )
    return start + room + contexts


class Created(NamedTuple):
    """An opened file. Times are in 100 ns since 1601, lengths in bytes."""

    file_id: bytes
    length: int
    modified: int
    attributes: int
    oplock: int


def parse_create(message: Buffer) -> Created:
    answer = fixed(message, _CREATE_ANSWER, 89, "CREATE")
    _, oplock, _, _, _, _, modified, _, _, length, attributes, _, file_id, _, _ = answer
    if length > _LONGEST_FILE:
        raise Malformed(f"CREATE: a file of {length} bytes cannot be")
    return Created(file_id, length, modified, attributes, oplock)


def close_request(file_id: bytes) -> bytes:
    return _CLOSE.pack(24, 0, 0, file_id)


def read_request(
    file_id: bytes, offset: int, length: int, *, unbuffered: bool = False, minimum: int = 0
) -> bytes:
    """READ of `length` bytes. `unbuffered` is for 3.0.2 and later, with a block-aligned offset and length."""
    return _READ.pack(49, 0x50, 1 if unbuffered else 0, length, offset, file_id, minimum, 0, 0, 0, 0, 0)


def parse_read(message: Buffer, asked: int) -> memoryview:
    """The bytes read: at most `asked`, and fewer only at the end of the file."""
    _, offset, _, length, _, _ = fixed(message, _READ_ANSWER, 17, "READ")
    if length > asked:
        raise Malformed(f"READ: {length} bytes came where {asked} were asked for")
    return span(message, offset, length, "READ")


def write_request(file_id: bytes, offset: int, data: Buffer) -> bytes:
    return b"".join((_WRITE.pack(49, 0x70, len(data), offset, file_id, 0, 0, 0, 0, 0), data))


def parse_write(message: Buffer) -> int:
    """Bytes written."""
    return int(fixed(message, _WRITE_ANSWER, 17, "WRITE")[2])


def query_directory_request(file_id: bytes, *, pattern: str = "*", room: int = 65_536) -> bytes:
    """The next entries of a folder, as FileFullDirectoryInformation (MS-FSCC 2.4.17)."""
    name = pattern.encode("utf-16-le")
    return _QUERY_DIRECTORY.pack(33, 2, 0, 0, file_id, HEADER_SIZE + 32, len(name), room) + name


@dataclass(frozen=True)
class Entry:
    """One entry of a folder."""

    name: str
    length: int
    modified: int
    attributes: int


def parse_query_directory(message: Buffer) -> list[Entry]:
    """The entries of one answer; each lies wholly behind the one before."""
    content = parse_query(message, "QUERY_DIRECTORY")
    at, found = 0, []
    while content:
        if len(content) - at < _ENTRY.size:
            raise Malformed(f"QUERY_DIRECTORY: an entry at {at} of {len(content)} bytes is cut off")
        following, _, _, _, modified, _, length, _, attributes, size, _ = _ENTRY.unpack_from(content, at)
        end = at + _ENTRY.size + size
        if end > len(content) or size % 2 or (following and following < _ENTRY.size + size):
            raise Malformed(f"QUERY_DIRECTORY: the name of the entry at {at} does not fit")
        name = bytes(content[at + _ENTRY.size : end]).decode("utf-16-le", "replace")
        if not name or set(name) & _NEVER_IN_NAMES or (name in (".", "..") and not attributes & DIRECTORY):
            raise Malformed(f"QUERY_DIRECTORY: the entry at {at} has no file's name")
        if length > _LONGEST_FILE:
            raise Malformed(f"QUERY_DIRECTORY: a file of {length} bytes cannot be")
        found.append(Entry(name, length, modified, attributes))
        if not following:
            break
        at += following
    return found


SYSTEM_INFORMATION = 2
FS_FULL_SIZE = 7
_FULL_SIZE = struct.Struct("<QQQII")


def query_info_request(file_id: bytes, kind: int, information: int, room: int = 4096) -> bytes:
    """`kind` as of 2.2.37, SYSTEM_INFORMATION; `information` a class of it (MS-FSCC 2.5)."""
    return _QUERY_INFO.pack(41, kind, information, room, 0, 0, 0, 0, 0, file_id, 0)


def parse_query(message: Buffer, what: str = "QUERY_INFO") -> memoryview:
    """The information's bytes."""
    _, offset, length = fixed(message, _QUERY_ANSWER, 9, what)
    return span(message, offset, length, what)


def parse_free_space(message: Buffer) -> int:
    """Bytes that the caller may still write (FileFsFullSizeInformation, MS-FSCC 2.5.4)."""
    content = parse_query(message)
    if len(content) < _FULL_SIZE.size:
        raise Malformed(f"QUERY_INFO: {len(content)} bytes are no FileFsFullSizeInformation")
    _, free, _, sectors, sector = _FULL_SIZE.unpack_from(content)
    return int(free * sectors * sector)


def ioctl_request(code: int, data: bytes, *, file_id: bytes = b"\xff" * 16, room: int = 1024) -> bytes:
    """An FSCTL (2.2.31)."""
    at = HEADER_SIZE + 56
    return _IOCTL.pack(57, 0, code, file_id, at, len(data), 0, 0, 0, room, 1, 0) + data


def parse_ioctl(message: Buffer) -> memoryview:
    """The output of an FSCTL."""
    fields = fixed(message, _IOCTL_ANSWER, 49, "IOCTL")
    return span(message, fields[6], fields[7], "IOCTL")


class Break(NamedTuple):
    """A notification that an oplock (`key` is a file id) or a lease (`key` is its key) must go down."""

    lease: bool
    key: bytes
    level: int  # the level or state to go to
    acknowledge: bool


def parse_break(message: Buffer) -> Break:
    """An OPLOCK_BREAK notification (2.2.23)."""
    body = bytes(memoryview(message)[HEADER_SIZE:])
    if len(body) >= 44 and body[:2] == b"\x2c\0":
        _, _, flags, key, _, state = struct.unpack_from("<HHI16sII", body)
        return Break(True, key, state, bool(flags & 1))
    if len(body) >= 24 and body[:2] == b"\x18\0":
        _, level, _, _, file_id = _BREAK.unpack_from(body)
        return Break(False, file_id, level, True)
    raise Malformed(f"OPLOCK_BREAK: a notification of {len(body)} bytes")


def break_acknowledgement(notice: Break) -> bytes:
    """The body of the answer to a notification (2.2.24)."""
    if notice.lease:
        return _LEASE_ACK.pack(36, 0, 0, notice.key, notice.level, 0)
    return _BREAK.pack(24, notice.level, 0, 0, notice.key)


def lease_context(key: bytes, state: int = 0x7) -> bytes:
    """A create context that asks for a lease (2.2.13.2.8); `state` is READ 1, HANDLE 2, WRITE 4."""
    return struct.pack("<IHHHHI4sI16sIIQ", 0, 16, 4, 0, 24, 32, b"RqLs", 0, key, state, 0, 0)
