"""What reads a dump from its source: each reader in its own thread, on its own way there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import closing
from types import TracebackType

from lab.capture.partial import Partial
from lab.capture.patience import Patience, Replaced
from lab.capture.source import HEAD, DumpRef, DumpSource, RandomAccessFile, Repeatable, Streamed
from lab.model import InfrastructureError


class Reader:
    """Reads a dump by position; opens it again after a loss, and sees that it is still the same.

    `head` are the dump's first bytes. The source is closed with the reader.
    """

    def __init__(self, source: DumpSource, ref: DumpRef, head: bytes) -> None:
        self._source, self._ref, self._head = source, ref, head
        self._file: RandomAccessFile | None = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def read(self, offset: int, size: int) -> bytes:
        """Those bytes, all of them. Raises Replaced, or the source's error for the caller to try again."""
        return b"".join(self.stream(offset, size))

    def stream(self, offset: int, size: int) -> Generator[bytes | memoryview]:
        """The same in pieces; closed when not walked to its end."""
        try:
            with closing(self._pieces(self._opened(), offset, size)) as pieces:
                for data in pieces:
                    size -= len(data)
                    yield data
        except InfrastructureError:
            self._close_file()
            raise
        if size:
            raise Replaced(self._ref)

    def close(self) -> None:
        self._close_file()
        self._source.close()

    def _opened(self) -> RandomAccessFile:
        if self._file is None:
            self._file = self._source.open(self._ref)
            if self._file.read_at(0, HEAD) != self._head:
                raise Replaced(self._ref)
        return self._file

    @staticmethod
    def _pieces(file: RandomAccessFile, offset: int, size: int) -> Generator[bytes | memoryview]:
        if isinstance(file, Streamed):
            yield from file.stream(offset, size)
        else:
            yield file.read_at(offset, size)

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class InPlace:
    """A dump for reading while it is fetched: what is here comes from here, what is not becomes part of it.

    What another reader has on its way is asked for all the same: waiting for it would take longer. `urgent`
    is told when a read begins (1) and ends (-1), `failed` when what was read cannot be kept.
    """

    def __init__(
        self,
        partial: Partial,
        reader: Reader,
        patiently: Patience,
        urgent: Callable[[int], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._partial, self._reader, self._patiently = partial, reader, patiently
        self._urgent, self._failed = urgent, failed
        self.bytes_read = 0  # from the source

    def read_at(self, offset: int, size: int) -> bytes:
        """`size` bytes; fewer only at the end of the file."""
        self._urgent(1)
        try:
            end = min(offset + size, self._partial.length)
            return b"".join(
                self._fetched(start, stop) if data is None else data
                for (start, stop), data in self._partial.read(offset, end)
            )
        finally:
            self._urgent(-1)

    def close(self) -> None:
        self._reader.close()

    def _fetched(self, start: int, end: int) -> bytes:
        data = self._patiently(lambda: self._reader.read(start, end - start))
        self.bytes_read += len(data)
        try:
            self._partial.put(start, data)
        except InfrastructureError as error:
            self._failed(error)
        return data


def ways(source: DumpSource) -> tuple[Callable[[], DumpSource], int]:
    """What gives readers their sources, and how many may read at once."""
    if isinstance(source, Repeatable):
        return source.another, 1 << 10
    shared = _InTurns(source)
    return lambda: shared, 1


class _InTurns:
    """One source for several threads: one read at a time. Whoever made the source closes it."""

    def __init__(self, source: DumpSource) -> None:
        self._source, self._lock = source, threading.Lock()

    def dumps(self) -> list[DumpRef]:
        with self._lock:
            return self._source.dumps()

    def open(self, ref: DumpRef) -> RandomAccessFile:
        with self._lock:
            return _FileInTurns(self._source.open(ref), self._lock)

    def close(self) -> None:
        pass


class _FileInTurns:
    def __init__(self, file: RandomAccessFile, lock: threading.Lock) -> None:
        self._file, self._lock = file, lock

    def read_at(self, offset: int, size: int) -> bytes:
        with self._lock:
            return self._file.read_at(offset, size)

    def close(self) -> None:
        with self._lock:
            self._file.close()
