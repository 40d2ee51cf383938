"""Random access to the bytes of a symbol file."""

from __future__ import annotations

import os
import stat
import weakref
from pathlib import Path
from typing import Protocol

from lab.model import ConfigurationError


class RandomAccess(Protocol):
    """Bytes with a size. `read` returns fewer bytes only at the end."""

    size: int

    def read(self, offset: int, size: int) -> bytes: ...


class PositionedFile:
    """A regular file, read by position. It is closed when nobody holds it any more.

    ConfigurationError when it cannot be opened or read, or is not a regular file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{path} cannot be opened: {_why(error)}") from None
        weakref.finalize(self, os.close, self._file)
        status = os.fstat(self._file)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigurationError(f"{path} is not a file")
        self.size = status.st_size

    def read(self, offset: int, size: int) -> bytes:
        if offset < 0 or size <= 0 or offset >= self.size:
            return b""
        try:
            return os.pread(self._file, min(size, self.size - offset), offset)
        except OSError as error:
            raise ConfigurationError(f"{self._path} cannot be read: {_why(error)}") from None


class Bytes:
    """Bytes at hand."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def read(self, offset: int, size: int) -> bytes:
        return self._data[offset : offset + size] if offset >= 0 and size > 0 else b""


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
