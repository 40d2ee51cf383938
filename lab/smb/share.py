"""A connected share: files are opened, listed, made and removed here."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import TracebackType

from lab.smb.connection import Connection
from lab.smb.dial import open_connection
from lab.smb.errors import Malformed, of_status
from lab.smb.logon import Session, log_on
from lab.smb.messages import (
    DIRECTORY,
    FS_FULL_SIZE,
    NOTHING,
    SYSTEM_INFORMATION,
    Access,
    Created,
    Disposition,
    Entry,
    Option,
    close_request,
    create_request,
    parse_create,
    parse_free_space,
    parse_query_directory,
    parse_tree_connect,
    query_directory_request,
    query_info_request,
    tree_connect_request,
)
from lab.smb.ntstatus import STATUS_NO_MORE_FILES, STATUS_NO_SUCH_FILE
from lab.smb.outstanding import Reply
from lab.smb.remote_file import RemoteFile
from lab.smb.target import Security, SmbTarget
from lab.smb.validate import validate_negotiation
from lab.smb.wire import SHARE_ENCRYPT, Command

FAREWELL_SECONDS = 1.0
"""How long a clean close may take in all before the connection is simply dropped."""

AT_ONCE = 64
"""Requests that `exchange_all` has in flight, at most."""

MOST_ENTRIES = 100_000
"""Entries of one folder, and the seconds to take them in; a folder beyond is an error, not half a list."""
LISTING_SECONDS = 120.0

_DISK = 1
_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
_NO_MORE = frozenset({STATUS_NO_MORE_FILES, STATUS_NO_SUCH_FILE})


@dataclass(frozen=True)
class FileInfo:
    """A file of a share: `name` with backslashes from the share's root, UTC ISO 8601 time of last write."""

    name: str
    length: int
    modified: str


class Share:
    """A connected share. Make one with `connect`; close it, or use it in a `with` block.

    Not for two threads at once. Every method raises `Unreachable` when the connection is lost or
    the server stays silent for `seconds`, and the other errors of `lab.smb.errors` as they apply.
    """

    def __init__(self, target: SmbTarget, name: str, session: Session, tree_id: int) -> None:
        self.target, self.name, self.session, self.tree_id = target, name, session, tree_id

    def __enter__(self) -> Share:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    @property
    def connection(self) -> Connection:
        return self.session.connection

    @property
    def seconds(self) -> float:
        """How long one exchange may take."""
        return self.connection.seconds

    @seconds.setter
    def seconds(self, seconds: float) -> None:
        self.connection.seconds = seconds

    @property
    def alive(self) -> bool:
        """False once the connection is known to be lost. True says nothing of a silent server."""
        return self.connection.alive

    @property
    def unbuffered(self) -> bool:
        """Whether the dialect knows SMB2_READFLAG_READ_UNBUFFERED (3.0.2 and later)."""
        return self.connection.dialect >= 0x0302

    def open(self, name: str) -> RemoteFile:
        """Open a file for reading, sharing it with writers and deleters."""
        return self._open(name, Access.READ, Disposition.OPEN)

    def create(self, name: str) -> RemoteFile:
        """Make a file for writing, in the place of one that is there."""
        return self._open(name, Access.READ_WRITE, Disposition.SUPERSEDE)

    def stat(self, name: str) -> FileInfo:
        """Length and time of last write as the server knows them now, also while the file grows.

        Opens the file for its attributes, because NTFS brings a directory entry's length up to date
        only when the writer closes the file.
        """
        with self._open(name, Access.READ_ATTRIBUTES, Disposition.OPEN) as file:
            return FileInfo(name, file.length, _iso(file.modified))

    def list(self, folder: str = "") -> tuple[FileInfo, ...]:
        """The files (not folders) of a folder, by name; lengths as the directory has them."""
        what = f"folder '{folder or chr(92)}' of share '{self.name}'"
        opened = self._create(folder, what, Access.LIST, Disposition.OPEN, Option.FOLDER)
        with self._closing(opened.file_id, what):
            files = [
                entry for entry in self._entries(opened.file_id, what) if not entry.attributes & DIRECTORY
            ]
        prefix = f"{folder}\\" if folder else ""
        found = [FileInfo(prefix + entry.name, entry.length, _iso(when(entry.modified))) for entry in files]
        return tuple(sorted(found, key=lambda info: info.name.casefold()))

    def free_space(self) -> int:
        """Bytes that may still be written to the share's volume."""
        what = f"share '{self.name}'"
        opened = self._create("", what, Access.READ_ATTRIBUTES, Disposition.OPEN, Option.FOLDER)
        with self._closing(opened.file_id, what):
            body = query_info_request(opened.file_id, SYSTEM_INFORMATION, FS_FULL_SIZE)
            return self.exchange(Command.QUERY_INFO, body, what).read(parse_free_space)

    def make_folder(self, name: str) -> None:
        """Make a folder; one that is there will do."""
        what = f"folder '{name}' of share '{self.name}'"
        opened = self._create(name, what, Access.LIST, Disposition.OPEN_IF, Option.FOLDER)
        self.exchange(Command.CLOSE, close_request(opened.file_id), what)

    def remove(self, name: str) -> None:
        """Delete a file."""
        self._remove(name, f"file '{name}' of share '{self.name}'", Option.NO_FOLDER)

    def remove_folder(self, name: str) -> None:
        """Delete an empty folder."""
        self._remove(name, f"folder '{name}' of share '{self.name}'", Option.FOLDER)

    def exchange(self, command: int, body: bytes, what: str, *, charge: int = 1) -> Reply:
        """One request and its answer; a status other than success raises what it means for `what`."""
        reply = self.connection.exchange(
            command, body, session=self.session, tree_id=self.tree_id, charge=charge
        )
        if reply.status:
            raise of_status(reply.status, self.target.place, self.target.user, what)
        return reply

    def exchange_all(self, command: int, bodies: Iterable[bytes]) -> Iterator[Reply]:
        """Many requests of one credit each, the next ones on their way while the first is waited for.

        Gives the answers in order, whatever their status.
        """
        asked: deque[int] = deque()
        try:
            for body in bodies:
                if len(asked) == AT_ONCE:
                    yield self.connection.wait(asked.popleft())
                asked.append(
                    self.connection.submit(command, body, session=self.session, tree_id=self.tree_id)
                )
            while asked:
                yield self.connection.wait(asked.popleft())
        finally:
            for message_id in asked:
                self.connection.drop(message_id)

    def close(self, *, politely: bool = True) -> None:
        """Disconnect the tree, log off and close the connection; never raises.

        Not `politely`: only drop the connection, as for a server that is known to be dead.
        """
        connection = self.connection
        if politely and connection.alive:
            connection.until = time.monotonic() + FAREWELL_SECONDS
            with suppress(Exception):
                connection.exchange(
                    Command.TREE_DISCONNECT, NOTHING, session=self.session, tree_id=self.tree_id
                )
                self.session.log_off()
        connection.close()

    def _remove(self, name: str, what: str, kind: int) -> None:
        options = kind | Option.DELETE_ON_CLOSE
        opened = self._create(name, what, Access.DELETE, Disposition.OPEN, options)
        self.exchange(Command.CLOSE, close_request(opened.file_id), what)

    def _open(self, name: str, access: int, disposition: int) -> RemoteFile:
        what = f"file '{name}' of share '{self.name}'"
        opened = self._create(name, what, access, disposition, Option.NO_FOLDER)
        return RemoteFile(self, opened.file_id, opened.length, when(opened.modified), what)

    def _create(self, name: str, what: str, access: int, disposition: int, options: int) -> Created:
        reply = self.exchange(Command.CREATE, create_request(name, access, disposition, options), what)
        return reply.read(parse_create)

    @contextmanager
    def _closing(self, file_id: bytes, what: str) -> Iterator[None]:
        try:
            yield
        finally:
            if self.alive:
                with suppress(Exception):
                    self.exchange(Command.CLOSE, close_request(file_id), what)

    def _entries(self, file_id: bytes, what: str) -> Iterator[Entry]:
        body, count = query_directory_request(file_id), 0
        until = time.monotonic() + LISTING_SECONDS
        while count < MOST_ENTRIES and time.monotonic() < until:
            reply = self.connection.exchange(
                Command.QUERY_DIRECTORY, body, session=self.session, tree_id=self.tree_id
            )
            if reply.status in _NO_MORE:
                return
            if reply.status:
                raise of_status(reply.status, self.target.place, self.target.user, what)
            some = reply.read(parse_query_directory)
            if not some:
                raise Malformed(f"{self.target.place} listed {what} in an answer without an entry")
            yield from some
            count += len(some)
        raise Malformed(f"{self.target.place} had not come to the end of {what} after {count} entries")


def connect(
    target: SmbTarget, share: str, *, seconds: float = 10.0, security: Security | None = None
) -> Share:
    """Connect, log on and connect to a share, all within `seconds`.

    `security` takes the place of the target's own. Raises Unreachable, CredentialsRefused, NotThere,
    AccessDenied, NotOffered, Malformed.
    """
    if security is not None:
        target = replace(target, security=security)
    connection = open_connection(target.host, target.port, target.security, seconds=seconds)
    try:
        connection.until = time.monotonic() + seconds
        session = log_on(connection, target)
        opened = _tree_connect(target, share, session)
        validate_negotiation(session, opened.tree_id, target.security)
        connection.until = None
    except BaseException:
        connection.close()
        raise
    return opened


def _tree_connect(target: SmbTarget, share: str, session: Session) -> Share:
    what = f"share '{share}'"
    reply = session.connection.exchange(
        Command.TREE_CONNECT,
        tree_connect_request(rf"\\{target.host}\{share}"),
        session=session,
        # 3.1.1 wants this one signed in any case (MS-SMB2 3.2.4.1.1); the others take it.
        sign=session.key,
    )
    if reply.status:
        raise of_status(reply.status, target.place, target.user, what)
    kind, flags = reply.read(parse_tree_connect)
    if kind != _DISK:
        raise Malformed(f"{what} on {target.place} is no folder but of type {kind}")
    if flags & SHARE_ENCRYPT:
        session.seal(what)
    return Share(target, share, session, reply.header.tree_id)


def when(filetime: int) -> datetime:
    """A FILETIME (100 ns since 1601, UTC); one out of all bounds is its first moment."""
    try:
        return _EPOCH + timedelta(microseconds=filetime // 10)
    except OverflowError:
        return _EPOCH


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
