"""Where dumps come from, as a port, and what is asked of every such place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable

HEAD = 0x3000
"""Bytes that identify a dump: its header, and the second header that tells its length."""


@dataclass(frozen=True)
class DumpRef:
    """A dump file as its source names it: length in bytes, time of last write in UTC ISO 8601."""

    name: str
    length: int
    modified: str


class RandomAccessFile(Protocol):
    """A file read by position, only where needed."""

    def read_at(self, offset: int, size: int) -> bytes:
        """`size` bytes; fewer only at the end of the file."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class Streamed(Protocol):
    """A file that can also be read while its next bytes are on their way."""

    def stream(self, offset: int, size: int) -> Iterator[bytes | memoryview]:
        """The bytes that `read_at` would give, in pieces and in order. Closed when not walked to its end."""
        ...


class DumpSource(Protocol):
    """A place that holds dump files. Errors are InfrastructureError; a later call may succeed again."""

    def dumps(self) -> list[DumpRef]: ...
    def open(self, ref: DumpRef) -> RandomAccessFile: ...
    def close(self) -> None: ...


@runtime_checkable
class Repeatable(Protocol):
    """A dump source that may be opened several times at once."""

    def another(self) -> Self:
        """The same dumps, over a connection of its own, for another thread."""
        ...


def find(source: DumpSource, name: str) -> DumpRef | None:
    """The dump of that name, compared without case; None when there is none."""
    return next((ref for ref in source.dumps() if ref.name.casefold() == name.casefold()), None)


def head_of(source: DumpSource, ref: DumpRef) -> bytes:
    """The first bytes of a dump: `HEAD`, or all when it is shorter."""
    with closing(source.open(ref)) as file:
        return file.read_at(0, HEAD)


def header_of(source: DumpSource, name: str) -> bytes | None:
    """The first bytes of the dump of that name, or None: to know the old dump again after a trial."""
    ref = find(source, name)
    return None if ref is None else head_of(source, ref)
