"""SFTP version 3 (draft-ietf-secsh-filexfer-02) on a channel of SSH, as far as reading needs it."""

from __future__ import annotations

import stat
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import paramiko

from lab.capture.sftp_inbox import Inbox
from lab.smb import Malformed, NotOffered, Unreachable
from lab.windows.ssh_connection import SshConnection

VERSION = 3
INIT, OPEN, CLOSE, READ, OPENDIR, READDIR, STAT, EXTENDED = 1, 3, 4, 5, 11, 12, 17, 200
STATUS, HANDLE, DATA, NAME, ATTRS, EXTENDED_REPLY = 101, 102, 103, 104, 105, 201
OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE = 0, 1, 2, 3, 4

WINDOW = 8 << 20
"""Bytes that the server may send before we have taken them in: more than is asked for at a time."""

PACKET = 255 << 10
"""Bytes of one SSH packet at most: OpenSSH builds none that is larger than 256 KiB with its header."""

LARGEST = (256 << 10) + 1024
"""Bytes of the largest message that is taken in: OpenSSH's limit, and its header."""

SMALLEST_READ, A_READ, LARGEST_READ = 4 << 10, 64 << 10, 255 << 10
"""Bytes that a READ asks for: at least, of a server that tells no limits (OpenSSH before 8.5), at most."""

LIMITS = b"limits@openssh.com"
"""OpenSSH's PROTOCOL, 4.8: answered with the largest packet, READ, WRITE, and number of handles."""

MOST_NAMES = 10_000
"""Entries of a folder that are looked at."""

_SIZE, _OWNER, _MODE, _TIMES, _EXTENDED = 1, 2, 4, 8, 0x80000000


class Status(Exception):
    """The server's refusal: an SSH_FX_… code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"SFTP status {code}")
        self.code = code


@dataclass(frozen=True)
class Attributes:
    """Length in bytes; `modified` in seconds since 1970."""

    length: int
    modified: int
    folder: bool


class SftpChannel:
    """One SFTP session. Every wait ends after the access's `connect` seconds.

    Raises Unreachable when it is lost or silent, Malformed for answers that break the protocol, NotOffered
    when the server has no SFTP, and Status. Unusable after any of them but Status.
    """

    def __init__(self, connection: SshConnection) -> None:
        self.place = connection.access.place
        self._connection, self._seconds = connection, connection.access.connect
        self._channel = connection.open_channel(window_size=WINDOW, max_packet_size=PACKET)
        self._channel.in_buffer = Inbox(2 * WINDOW)  # type: ignore[assignment]
        self._channel.in_window_threshold = WINDOW // 2  # a tenth if not said: as many messages as READs
        self._number = 0
        self._forgotten: set[int] = set()
        self._broken = False
        try:
            self._channel.invoke_subsystem("sftp")
        except (paramiko.SSHException, OSError, EOFError) as error:
            self._broken = True
            if isinstance(error, paramiko.SSHException) and connection.transport.is_active():
                raise NotOffered(
                    f"{self.place} offers no SFTP",
                    help="Add 'Subsystem sftp sftp-server.exe' to the guest's sshd_config, "
                    "or set 'dumps: share' for this host.",
                ) from None
            raise self._lost() from None
        self._send(struct.pack(">IBI", 5, INIT, VERSION))
        kind, answer = self._message()
        if kind != 2 or len(answer) < 4:  # SSH_FXP_VERSION
            raise self._malformed("no version")
        self.most = self._limit() if LIMITS in bytes(answer) else A_READ
        """Bytes that one READ may ask for."""

    @property
    def alive(self) -> bool:
        return not self._broken and self._connection.alive()

    # --- single requests ---------------------------------------------------------------------

    def stat(self, path: str) -> Attributes:
        kind, answer = self._request(STAT, _text(path))
        if kind != ATTRS:
            raise self._malformed(f"an answer of type {kind} to STAT")
        return self._attributes(answer, 0)[0]

    def names(self, folder: str) -> list[tuple[str, Attributes]]:
        """What is in a folder; names that cannot be a file's are left out."""
        kind, answer = self._request(OPENDIR, _text(folder))
        handle = self._handle(kind, answer)
        found: list[tuple[str, Attributes]] = []
        try:
            while len(found) < MOST_NAMES:
                kind, answer = self._request(READDIR, handle)
                if kind != NAME:
                    raise self._malformed(f"an answer of type {kind} to READDIR")
                count, at = self._number_at(answer, 0), 4
                if count == 0:
                    raise self._malformed("a list without names")
                for _ in range(count):
                    raw, at = self._string_at(answer, at)
                    _, at = self._string_at(answer, at)  # the same as `ls -l` shows it
                    attributes, at = self._attributes(answer, at)
                    with suppress(UnicodeDecodeError):
                        name = raw.decode("utf-8")
                        if name not in (".", "..") and not set(name) & set("/\\\0"):
                            found.append((name, attributes))
        except Status as status:
            if status.code != EOF:
                raise
        finally:
            self.close_handle(handle)
        return found

    def open(self, path: str) -> bytes:
        """A handle for reading: what READ takes, its length before it."""
        kind, answer = self._request(OPEN, _text(path) + struct.pack(">II", 1, 0))
        return self._handle(kind, answer)

    def close_handle(self, handle: bytes) -> None:
        """Never raises, and does not wait for the answer."""
        if not self._broken:
            with suppress(Unreachable):
                self.forget([self._ask(CLOSE, handle)])

    def close(self) -> None:
        self._broken = True
        self._channel.close()

    # --- many READs in flight ----------------------------------------------------------------

    def ask_to_read(self, handle: bytes, ranges: Sequence[tuple[int, int]]) -> list[int]:
        """Send READs for (offset, length); their numbers."""
        numbers = list(range(self._number + 1, self._number + 1 + len(ranges)))
        self._number += len(ranges)
        size = 1 + 4 + len(handle) + 8 + 4
        self._send(
            b"".join(
                struct.pack(">IBI", size, READ, number & 0xFFFFFFFF) + handle + struct.pack(">QI", *each)
                for number, each in zip(numbers, ranges, strict=True)
            )
        )
        return [number & 0xFFFFFFFF for number in numbers]

    def next_read(self) -> tuple[int, memoryview | Status]:
        """The number of an answered READ, and its bytes or the refusal (`EOF` at the end of the file)."""
        kind, number, answer = self._answer()
        if kind == STATUS:
            return number, Status(self._number_at(answer, 0))
        if kind != DATA:
            raise self._malformed(f"an answer of type {kind} to READ")
        length = self._number_at(answer, 0)
        if not 0 < length <= len(answer) - 4:
            raise self._malformed("a READ answered with no data")
        return number, answer[4 : 4 + length]

    def forget(self, numbers: Sequence[int]) -> None:
        """Answers to those requests are not waited for."""
        self._forgotten |= set(numbers)

    # -----------------------------------------------------------------------------------------

    def _request(self, kind: int, body: bytes) -> tuple[int, memoryview]:
        number = self._ask(kind, body)
        kind, answered, answer = self._answer()
        if answered != number:
            raise self._malformed("an answer to nothing")
        if kind == STATUS:
            raise Status(self._number_at(answer, 0))
        return kind, answer

    def _ask(self, kind: int, body: bytes) -> int:
        self._number += 1
        number = self._number & 0xFFFFFFFF
        self._send(struct.pack(">IBI", 5 + len(body), kind, number) + body)
        return number

    def _answer(self) -> tuple[int, int, memoryview]:
        """Type, number, and what follows, of the next answer that is waited for."""
        while True:
            kind, message = self._message()
            number = self._number_at(message, 0)
            if number not in self._forgotten:
                return kind, number, message[4:]
            self._forgotten.remove(number)

    def _message(self) -> tuple[int, memoryview]:
        size = struct.unpack(">I", self._take(4))[0]
        if not 0 < size <= LARGEST:
            raise self._malformed(f"a message of {size} bytes")
        message = memoryview(self._take(size))
        return message[0], message[1:]

    def _take(self, size: int) -> bytes:
        try:
            data = self._channel.recv(size)
        except TimeoutError:
            self._broken = True
            raise Unreachable(f"{self.place} did not answer within {self._seconds:g} s over SFTP") from None
        except (OSError, EOFError, paramiko.SSHException):
            raise self._lost() from None
        if len(data) < size:
            raise self._lost()
        return data

    def _send(self, data: bytes) -> None:
        try:
            self._channel.sendall(data)
        except (OSError, EOFError, paramiko.SSHException):
            raise self._lost() from None

    def _limit(self) -> int:
        """Of a READ, as the server tells it; one that does not know the question refuses."""
        with suppress(Status):
            kind, answer = self._request(EXTENDED, struct.pack(">I", len(LIMITS)) + LIMITS)
            if kind != EXTENDED_REPLY or len(answer) < 16:
                raise self._malformed("no limits")
            most = int.from_bytes(answer[8:16], "big")
            return max(SMALLEST_READ, min(most, LARGEST_READ)) if most else A_READ  # 0: none of its own
        return A_READ

    def _handle(self, kind: int, answer: memoryview) -> bytes:
        if kind != HANDLE:
            raise self._malformed(f"an answer of type {kind} instead of a handle")
        handle, _ = self._string_at(answer, 0)
        if len(handle) > 256:
            raise self._malformed("a handle that is too long")
        return struct.pack(">I", len(handle)) + handle

    def _attributes(self, data: memoryview, at: int) -> tuple[Attributes, int]:
        flags, at = self._number_at(data, at), at + 4
        length = modified = mode = 0
        if flags & _SIZE:
            length, at = self._number_at(data, at) << 32 | self._number_at(data, at + 4), at + 8
        if flags & _OWNER:
            at += 8
        if flags & _MODE:
            mode, at = self._number_at(data, at), at + 4
        if flags & _TIMES:
            modified, at = self._number_at(data, at + 4), at + 8
        if flags & _EXTENDED:
            count, at = self._number_at(data, at), at + 4
            for _ in range(min(2 * count, len(data))):
                _, at = self._string_at(data, at)
        return Attributes(length, modified, stat.S_ISDIR(mode)), at

    def _number_at(self, data: memoryview, at: int) -> int:
        if at + 4 > len(data):
            raise self._malformed("a message that is cut short")
        return int.from_bytes(data[at : at + 4], "big")

    def _string_at(self, data: memoryview, at: int) -> tuple[bytes, int]:
        end = at + 4 + self._number_at(data, at)
        if end > len(data):
            raise self._malformed("a message that is cut short")
        return bytes(data[at + 4 : end]), end

    def _malformed(self, what: str) -> Malformed:
        self._broken = True
        return Malformed(
            f"{self.place} sent {what} over SFTP",
            help="See that the guest's SFTP subsystem is OpenSSH's, and prints nothing of its own.",
        )

    def _lost(self) -> Unreachable:
        self._broken = True
        return Unreachable(
            f"{self.place} dropped the SFTP session", help="See whether the host is up and its sshd runs."
        )


def _text(path: str) -> bytes:
    raw = path.encode("utf-8")
    return struct.pack(">I", len(raw)) + raw
