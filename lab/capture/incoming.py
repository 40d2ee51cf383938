"""A file on its way into the vault: locked, written anywhere, and given its name when it is whole."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from lab.model import InfrastructureError

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class VaultError(InfrastructureError):
    """The vault cannot take a dump in: its disk is full or not ours, or another process is at it."""


class Incoming:
    """An open file that no other process has. Read and written by position, from any thread.

    Raises VaultError when the disk is full or not writable, or when another process is writing the same file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._idle = threading.Condition()
        self._busy = 0
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = _locked(path)
        except BlockingIOError:
            raise VaultError(
                f"another process is receiving the same dump into {path}",
                help="Wait until it has finished.",
            ) from None
        except OSError as error:
            raise vault_error(error, path) from error

    def __enter__(self) -> Incoming:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill `buffer` from `offset` on; the number of bytes that were there."""
        done = 0
        with self._in_use() as file:
            while done < len(buffer) and (count := os.preadv(file, [buffer[done:]], offset + done)):
                done += count
        return done

    def read_at(self, offset: int, size: int) -> bytes:
        """`size` bytes; fewer only at the end."""
        buffer = bytearray(size)
        return bytes(buffer[: self.read_into(offset, memoryview(buffer))])

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """Write all of it. Zeros are not written where the file has a hole: that reads as zeros already."""
        view = memoryview(data)
        with self._in_use() as file:
            if _zeros(view) and _hole(file, offset, len(view)):
                os.ftruncate(file, max(os.fstat(file).st_size, offset + len(view)))
                return
            while view:
                written = os.pwrite(file, view, offset)
                offset += written
                view = view[written:]

    def set_length(self, length: int) -> None:
        with self._in_use() as file:
            os.ftruncate(file, length)

    def begin_to_disk(self, end: int) -> None:
        """Let what is before `end` go to the disk now: so that little is left to wait for at the end."""
        with self._in_use() as file:
            os.posix_fadvise(file, 0, end, os.POSIX_FADV_DONTNEED)  # starts the writing of what is dirty

    def move_to(self, place: Path) -> None:
        """Give the whole file its final name, at once; where that name exists, drop the file instead."""
        with self._in_use() as file:
            if place.exists():
                self.path.unlink()
                return
            os.fsync(file)
            place.parent.mkdir(mode=0o700, exist_ok=True)
            self.path.rename(place)

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Waits for reads and writes that are under way; later ones fail."""
        with self._idle:
            file, self._file = self._file, -1
            self._idle.wait_for(lambda: self._busy == 0)
        if file >= 0:
            os.close(file)

    @contextmanager
    def _in_use(self) -> Iterator[int]:
        """The descriptor, which is not closed meanwhile: its number could by then be another file's."""
        with self._idle:
            if self._file < 0:
                raise VaultError(f"{self.path} is closed already")
            file = self._file
            self._busy += 1
        try:
            yield file
        except OSError as error:
            raise vault_error(error, self.path) from error
        finally:
            with self._idle:
                self._busy -= 1
                self._idle.notify_all()


def _locked(path: Path) -> int:
    """Opened and locked. Not the file that had this name until another process moved it away."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(file), path.stat()):
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _zeros(data: memoryview) -> bool:
    return not any(data[:16]) and bytes(data) == bytes(len(data))


def _hole(file: int, offset: int, size: int) -> bool:
    """Whether nothing has been written there. No for file systems that know no holes."""
    try:
        return os.lseek(file, offset, os.SEEK_DATA) >= offset + size
    except OSError as error:
        return error.errno == errno.ENXIO  # no data from there to the end


def vault_error(error: OSError, path: Path) -> VaultError:
    """A failed write in the vault, as one sentence."""
    if error.errno in _NO_SPACE:
        return VaultError(
            f"the disk of the vault is full: {path.parent} takes nothing more",
            help="Free some space or choose another vault, then try again: what was received is kept.",
        )
    return VaultError(
        f"cannot write to the vault at {path}: {os.strerror(error.errno or errno.EIO).lower()}",
        help="Make the vault's directory writable or choose another one.",
    )
