"""One SMB2 connection with one session and one share on it, owned by one thread."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from lab.smb.errors import Unreachable
from lab.smb.legacy import wire
from lab.smb.legacy.file import RemoteFile
from lab.smb.legacy.flight import Flights
from lab.smb.legacy.translate import translated
from lab.smb.target import SmbTarget, revealed

FAREWELL_SECONDS = 1.0
"""How long a clean close may take in all before the connection is simply dropped."""

_READ = 0x0012_0089  # FILE_GENERIC_READ (MS-SMB2 2.2.13.1.1)
_READ_ATTRIBUTES = 0x0010_0080  # FILE_READ_ATTRIBUTES | SYNCHRONIZE: never a sharing violation
_READ_WRITE = 0x0012_019F  # FILE_GENERIC_READ | FILE_GENERIC_WRITE
_SHARE_ALL = 7  # read, write, delete: we never stand in a writer's way


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

    def __init__(
        self, target: SmbTarget, name: str, connection: Any, session: Any, tree: Any, seconds: float
    ) -> None:
        self.target, self.name, self.seconds = target, name, seconds
        self._connection, self._session, self._tree = connection, session, tree

    def __enter__(self) -> Share:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """False once the connection is known to be lost. True says nothing of a silent server."""
        return bool(self._connection.transport.connected) and self._connection._t_exc is None

    @property
    def unbuffered(self) -> bool:
        """Whether the dialect knows SMB2_READFLAG_READ_UNBUFFERED (3.0.2 and later)."""
        return int(self._connection.dialect) >= 0x0302

    def flights(self, now: Callable[[], float] = time.monotonic) -> Flights:
        return Flights(self._connection, self._session.session_id, now)

    def open(self, name: str) -> RemoteFile:
        """Open a file for reading, sharing it with writers and deleters."""
        return self._open(name, _READ, wire.Disposition.FILE_OPEN)

    def create(self, name: str) -> RemoteFile:
        """Make a file for writing, in the place of one that is there.

        Supersede, not overwrite: some servers echo the disposition as the create action, and of the
        two only supersede has a value that is a valid action (MS-SMB2 2.2.14).
        """
        return self._open(name, _READ_WRITE, wire.Disposition.FILE_SUPERSEDE)

    def stat(self, name: str) -> FileInfo:
        """Length and time of last write as the server knows them now, also while the file grows.

        Opens the file for its attributes, because NTFS brings a directory entry's length up to date
        only when the writer closes the file.
        """
        with self._open(name, _READ_ATTRIBUTES, wire.Disposition.FILE_OPEN) as file:
            return FileInfo(name, file.length, _iso(file.modified))

    def list(self, folder: str = "") -> tuple[FileInfo, ...]:
        """The files (not folders) of a folder, by name; lengths as the directory has them."""
        what = f"folder '{folder or chr(92)}' of share '{self.name}'"
        handle = wire.Open(self._tree, folder)
        self._create(handle, what, 0x0010_0081, wire.Disposition.FILE_OPEN, wire.Options.FILE_DIRECTORY_FILE)
        found: list[FileInfo] = []
        try:
            for entry in self._entries(handle, what):
                name = entry["file_name"].get_value().decode("utf-16-le")
                if not entry["file_attributes"].has_flag(wire.Attributes.FILE_ATTRIBUTE_DIRECTORY):
                    path = f"{folder}\\{name}" if folder else name
                    when = entry["last_write_time"].get_value()
                    found.append(FileInfo(path, int(entry["end_of_file"].get_value()), _iso(when)))
        finally:
            with suppress(Exception):
                self.exchange(*handle.close(send=False), what=what)
        return tuple(sorted(found, key=lambda info: info.name.casefold()))

    def _entries(self, handle: Any, what: str) -> Iterator[Any]:
        kind = wire.DirectoryClass.FILE_FULL_DIRECTORY_INFORMATION
        while True:
            query, parse = handle.query_directory("*", kind, flags=0, send=False)
            try:
                entries = self._exchange(query, parse)
            except wire.ResponseError as error:
                if wire.status_name(error.status) in ("STATUS_NO_MORE_FILES", "STATUS_NO_SUCH_FILE"):
                    return
                raise translated(error, self.target, what) from None
            except Exception as error:
                raise translated(error, self.target, what) from None
            yield from entries

    def _open(self, name: str, access: int, disposition: int) -> RemoteFile:
        what = f"file '{name}' of share '{self.name}'"
        handle = wire.Open(self._tree, name)
        self._create(handle, what, access, disposition, wire.Options.FILE_NON_DIRECTORY_FILE)
        return RemoteFile(self, handle, what)

    def _create(self, handle: Any, what: str, access: int, disposition: int, options: int) -> None:
        message, parse = handle.create(
            wire.Impersonation.Impersonation,
            access,
            wire.Attributes.FILE_ATTRIBUTE_NORMAL if options == wire.Options.FILE_NON_DIRECTORY_FILE else 0,
            _SHARE_ALL,
            disposition,
            options,
            send=False,
        )
        self.exchange(message, parse, what=what)

    def exchange(self, message: Any, parse: Callable[[Any], Any], *, what: str) -> Any:
        """Send one message, wait for its final response, and return `parse(request)`."""
        try:
            return self._exchange(message, parse)
        except Exception as error:  # of smbprotocol, of the socket, or of its parser
            raise translated(error, self.target, what) from None

    def _exchange(self, message: Any, parse: Callable[[Any], Any], *, tree: bool = True) -> Any:
        tree_id = self._tree.tree_connect_id if tree else None
        request = self._connection.send(message, sid=self._session.session_id, tid=tree_id)
        self._wait(request)
        return parse(request)

    def _wait(self, request: Any) -> None:
        deadline = time.monotonic() + self.seconds
        while True:
            if not request.response_event.wait(max(0.0, deadline - time.monotonic())):
                raise Unreachable(f"{self.target.place} has not answered for {self.seconds:g} s")
            with request.response_event_lock:
                response = request.response
                if response is None or response["status"].get_value() != wire.NtStatus.STATUS_PENDING:
                    return
                request.response_event.clear()

    def close(self, *, politely: bool = True) -> None:
        """Disconnect the tree, log off and close the connection; never raises.

        `politely=False` drops the connection at once, for a server known to be dead.
        """
        self.seconds = min(self.seconds, FAREWELL_SECONDS / 2)
        if politely and self.alive:
            with suppress(Exception):
                self._exchange(wire.TreeDisconnect(), self._connection.receive)
                self._exchange(wire.Logoff(), self._connection.receive, tree=False)
        with suppress(Exception):
            self._connection.disconnect(close=False)


def connect(target: SmbTarget, share: str, *, seconds: float = 10.0) -> Share:
    """Connect, log on and connect to `share`, within about `seconds`.

    Raises `Unreachable` (refused, reset, no answer in time), `CredentialsRefused`, `NotThere` (no
    such share) or `AccessDenied`.
    """
    connection = wire.new_connection(uuid.uuid4(), target.host, target.port)
    what = "the negotiation"
    try:
        with _deadline(connection, seconds) as expired:
            try:
                connection.connect(timeout=seconds)
                what = f"the logon of '{target.user}'"
                session = wire.Session(
                    connection, target.user, revealed(target.password), require_encryption=False
                )
                session.connect()
                what = f"share '{share}'"
                tree = wire.TreeConnect(session, rf"\\{target.host}\{share}")
                tree.connect()
            except Exception:
                if expired.is_set():
                    raise Unreachable(f"{target.place} gave no answer within {seconds:g} s") from None
                raise
    except Exception as error:  # smbprotocol passes on whatever a strange server made its parser raise
        with suppress(Exception):
            connection.disconnect(close=False)
        raise translated(error, target, what) from None
    except BaseException:
        with suppress(Exception):
            connection.disconnect(close=False)
        raise
    return Share(target, share, connection, session, tree, seconds)


@contextmanager
def _deadline(connection: Any, seconds: float) -> Iterator[threading.Event]:
    """Close the connection's socket after `seconds`: smbprotocol's logon has no time-out of its own."""
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        if connection.transport is not None:
            connection.transport.close()

    timer = threading.Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()


def _iso(when: datetime) -> str:
    """smbprotocol gives naive datetimes in UTC."""
    return when.replace(tzinfo=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
