"""Random access to the bytes of a dump file."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Protocol

from lab.model import ConfigurationError


class Source(Protocol):
    """Bytes with a size. `read` returns fewer bytes only at the end."""

    size: int

    def read(self, offset: int, size: int) -> bytes: ...
    def close(self) -> None: ...


class FileSource:
    """A file, read by position.

    Not mapped into memory: a file that is cut short or unreachable while it is mapped would end the
    whole process (SIGBUS), and page-sized reads cost about the same.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise ConfigurationError(f"cannot open {path}: {error.strerror}") from error
        status = os.fstat(self._file)
        if not stat.S_ISREG(status.st_mode):
            os.close(self._file)
            raise ConfigurationError(f"{path} is not a file")
        self.size = status.st_size

    def read(self, offset: int, size: int) -> bytes:
        if offset < 0 or size <= 0 or offset >= self.size:
            return b""
        return os.pread(self._file, min(size, self.size - offset), offset)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class BytesSource:
    """Bytes at hand, for small dumps that came some other way."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def read(self, offset: int, size: int) -> bytes:
        return self._data[offset : offset + size] if offset >= 0 and size > 0 else b""

    def close(self) -> None:
        """Nothing to close."""
