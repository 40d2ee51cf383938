"""Dumps in a folder of a host, over SFTP: for hosts whose dumps cannot be had over SMB."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import TypeVar

from lab.capture.sftp_channel import (
    EOF,
    NO_SUCH_FILE,
    PERMISSION_DENIED,
    SMALLEST_READ,
    Attributes,
    SftpChannel,
    Status,
)
from lab.capture.share import FULL, SMALL_FOLDER
from lab.capture.source import DumpRef, RandomAccessFile
from lab.model import InfrastructureError
from lab.smb import AccessDenied, Busy, Malformed, NotThere
from lab.windows.ssh_connection import SshAccess, SshConnection

T = TypeVar("T")

AHEAD = 4 << 20
"""Bytes that are asked for ahead, at most: what a gigabit a second brings in 30 ms."""

IN_FLIGHT = 64
"""READs that are on their way at a time, at most."""

PIECE = 1 << 20
"""Bytes that are handed on at a time: each piece of a copy has its price."""


class SftpSource:
    """MEMORY.DMP and Minidump\\*.dmp of `folder`, a path of Windows or of a POSIX system.

    Connects when first needed and again after a lost connection; a source may thus outlive a reboot of its
    host. Times are whole seconds: SFTP has no others. For one thread at a time.
    """

    def __init__(self, access: SshAccess, folder: str) -> None:
        self._access, self._folder = access, folder
        self._connection: SshConnection | None = None
        self._channel: SftpChannel | None = None

    def __enter__(self) -> SftpSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def another(self) -> SftpSource:
        """The same dumps over a connection of its own."""
        return SftpSource(self._access, self._folder)

    def dumps(self) -> list[DumpRef]:
        """The full dump first, then the small ones by name. Raises NotThere when there is no such folder."""
        channel, found = self._connected(), []
        with suppress(NotThere):
            found.append(_ref(FULL, self._stat(channel, FULL)))
        with suppress(NotThere):
            small = self._call(SMALL_FOLDER, lambda: channel.names(self._path(SMALL_FOLDER)))
            found += [
                _ref(f"{SMALL_FOLDER}\\{name}", attributes)
                for name, attributes in sorted(small)
                if name.casefold().endswith(".dmp") and not attributes.folder
            ]
        if not found:
            self._stat(channel, "")
        return found

    def open(self, ref: DumpRef) -> RandomAccessFile:
        channel = self._connected()
        self._stat(channel, ref.name)
        try:
            handle = channel.open(self._path(ref.name))
        except Status as status:
            if status.code == PERMISSION_DENIED:  # Windows says so, too, of a file that another process holds
                raise Busy(
                    f"{self._what(ref.name)} on {self._access.place} cannot be opened: permission denied to "
                    f"user '{self._access.user}', or another process is writing it",
                    help="Wait until the guest has finished writing that file, or let the account read it.",
                ) from None
            raise self.refusal(status, ref.name) from None
        return SftpFile(self, channel, handle, ref.name)

    def close(self) -> None:
        """Disconnect; never raises. A later call connects again."""
        channel, self._channel = self._channel, None
        connection, self._connection = self._connection, None
        if channel is not None:
            channel.close()
        if connection is not None:
            connection.close()

    def _connected(self) -> SftpChannel:
        if self._channel is None or not self._channel.alive:
            self.close()
            try:
                self._connection = SshConnection(self._access)
                self._channel = SftpChannel(self._connection)
            except BaseException:
                self.close()
                raise
        return self._channel

    def _stat(self, channel: SftpChannel, name: str) -> Attributes:
        return self._call(name, lambda: channel.stat(self._path(name)))

    def _call(self, name: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except Status as status:
            raise self.refusal(status, name) from None

    def refusal(self, status: Status, name: str) -> InfrastructureError:
        """The error that a status means for the file of that name."""
        what, place, user = self._what(name), self._access.place, self._access.user
        if status.code == NO_SUCH_FILE:
            return NotThere(
                f"{what} does not exist on {place}",
                help="Correct 'dump_folder' of this host in the inventory.",
            )
        if status.code == PERMISSION_DENIED:
            return AccessDenied(
                f"access denied for user '{user}' to {what} on {place}",
                help="Let the account read that folder: %SystemRoot% wants an administrator of the guest.",
            )
        return InfrastructureError(f"{place} answered SFTP status {status.code} to {what}")

    def _path(self, name: str) -> str:
        return remote_path(self._folder, name)

    def _what(self, name: str) -> str:
        windows = "\\" in self._folder or ":" in self._folder
        parts = [self._folder.rstrip("/\\"), *([name] if name else [])]
        return "\\".join(parts) if windows else "/".join(parts).replace("\\", "/")


class SftpFile:
    """A dump read by position, with many READs in flight. Errors close nothing: the source connects anew."""

    def __init__(self, source: SftpSource, channel: SftpChannel, handle: bytes, name: str) -> None:
        self._source, self._channel, self._handle, self._name = source, channel, handle, name
        self._size = channel.most  # of one READ; a server that gives less at a time is asked for less

    def read_at(self, offset: int, size: int) -> bytes:
        """`size` bytes; fewer only at the end of the file."""
        with closing(self.stream(offset, size)) as pieces:
            return b"".join(pieces)

    def stream(self, offset: int, size: int) -> Generator[bytes]:
        """The same in pieces of about `PIECE`, in order. Closed when not walked to its end."""
        gathered: list[memoryview] = []
        waiting = 0
        with closing(self._answers(offset, offset + size)) as answers:
            for data in answers:
                gathered.append(data)
                waiting += len(data)
                if waiting >= PIECE:
                    yield b"".join(gathered)
                    gathered.clear()
                    waiting = 0
        if gathered:
            yield b"".join(gathered)

    def _answers(self, offset: int, end: int) -> Generator[memoryview]:
        channel = self._channel
        asked: deque[tuple[int, int, int]] = deque()  # number, offset, length: in the file's order
        arrived: dict[int, memoryview | Status] = {}
        try:
            while True:
                most = min(AHEAD // self._size, IN_FLIGHT)
                if len(asked) <= most // 2 and offset < end:  # many requests in one packet of SSH
                    ranges: list[tuple[int, int]] = []
                    while len(asked) + len(ranges) < most and offset < end:
                        ranges.append((offset, min(self._size, end - offset)))
                        offset += ranges[-1][1]
                    numbers = channel.ask_to_read(self._handle, ranges)
                    asked.extend((n, *each) for n, each in zip(numbers, ranges, strict=True))
                if not asked:
                    return
                number, start, length = asked.popleft()
                data = self._answer_to(number, asked, arrived)
                if isinstance(data, Status):
                    if data.code == EOF:
                        return
                    raise self._source.refusal(data, self._name)
                if len(data) > length:
                    raise Malformed(f"{channel.place} sent more than it was asked for over SFTP")
                if len(data) < length:
                    self._size = max(SMALLEST_READ, len(data))
                    start, length = start + len(data), length - len(data)
                    (number,) = channel.ask_to_read(self._handle, [(start, length)])
                    asked.appendleft((number, start, length))
                yield data
        finally:
            channel.forget([number for number, _, _ in asked if number not in arrived])

    def close(self) -> None:
        self._channel.close_handle(self._handle)

    def _answer_to(
        self,
        wanted: int,
        others: deque[tuple[int, int, int]],
        arrived: dict[int, memoryview | Status],
    ) -> memoryview | Status:
        """What came for that READ; what comes for others before it is kept in `arrived`."""
        while wanted not in arrived:
            number, data = self._channel.next_read()
            if number != wanted and (number in arrived or all(number != other for other, _, _ in others)):
                raise Malformed(f"{self._channel.place} answered what it was not asked over SFTP")
            arrived[number] = data
        return arrived.pop(wanted)


def remote_path(folder: str, name: str) -> str:
    """As OpenSSH for Windows has it, `/C:/Windows/MEMORY.DMP`; POSIX paths stay as they are."""
    path = "/".join([folder.replace("\\", "/").rstrip("/"), *([name.replace("\\", "/")] if name else [])])
    return f"/{path}" if re.match("[A-Za-z]:", path) else path


def _ref(name: str, attributes: Attributes) -> DumpRef:
    when = datetime.fromtimestamp(attributes.modified, UTC)
    return DumpRef(name, attributes.length, when.isoformat().replace("+00:00", "Z"))
