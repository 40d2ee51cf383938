"""A file on its way into the vault: written in order, hashed while it comes, resumable."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from pathlib import Path
from types import TracebackType

from lab.model import InfrastructureError, LabError

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Incoming:
    """An open, locked, growing file. What is in it when opened counts as received and is hashed first.

    Raises InfrastructureError when the disk is full or not writable, or when another process is
    writing the same file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = 0
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise vault_error(error, path, 0) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise InfrastructureError(
                f"another process is receiving the same dump into {path}",
                help="Wait until it has finished.",
            ) from None
        self._hash = hashlib.sha256()
        while data := os.read(self._file, 1 << 20):
            self._hash.update(data)
            self.offset += len(data)

    def __enter__(self) -> Incoming:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of what has been received."""
        return self._hash.copy().hexdigest()

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                written = os.write(self._file, view)
                self._hash.update(view[:written])
                self.offset += written
                view = view[written:]
        except OSError as error:
            raise vault_error(error, self.path, self.offset) from error

    def restart(self) -> None:
        """Forget what has been received."""
        os.lseek(self._file, 0, os.SEEK_SET)
        os.ftruncate(self._file, 0)
        self._hash = hashlib.sha256()
        self.offset = 0

    def move_to(self, place: Path) -> None:
        """Give the whole file its final name, at once; where that name exists, drop the file instead."""
        try:
            if place.exists():
                self.path.unlink()
                return
            os.fsync(self._file)
            place.parent.mkdir(mode=0o700, exist_ok=True)
            self.path.rename(place)
        except OSError as error:
            raise vault_error(error, self.path, self.offset) from error

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def vault_error(error: OSError, path: Path, received: int) -> LabError:
    """A failed write in the vault, as one sentence."""
    if error.errno in _NO_SPACE:
        return InfrastructureError(
            f"the disk of the vault is full: {path.parent} took {received} bytes of a dump and no more",
            help="Free some space or choose another vault, then try again.",
        )
    return InfrastructureError(
        f"cannot write to the vault at {path}: {os.strerror(error.errno or errno.EIO).lower()}",
        help="Make the vault's directory writable or choose another one.",
    )
