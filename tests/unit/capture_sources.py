"""Dump sources in memory, with the troubles of real ones."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from lab.capture import DumpRef
from lab.smb import Unreachable


def dump(pages: int = 3, fill: int = 0x11, time: int = 1) -> bytes:
    """A kernel dump (type 6) as far as its two headers go, with `pages` pages of one byte."""
    header = bytearray(b"PAGEDU64" + b"PAGE" * 2046)
    struct.pack_into("<II", header, 0x8, 0xF, 17763)
    struct.pack_into("<I", header, 0x30, 0x8664)
    struct.pack_into("<I", header, 0xF98, 6)
    struct.pack_into("<Q", header, 0xFA8, time)
    second = bytearray(0x38)
    second[:8] = b"SDMPDUMP"
    second[8:12] = b"FULL"
    bits = 64
    data = 0x3000
    struct.pack_into("<3Q", second, 0x20, data, pages, bits)
    body = bytes(header) + bytes(second) + (0xFFFF_FFFF_FFFF_FFFF >> (64 - pages)).to_bytes(8, "little")
    return body.ljust(data, b"\0") + bytes([fill]) * (pages * 0x1000)


class HandClock:
    """Time that passes only when somebody sleeps; `then` is called after each sleep."""

    def __init__(self, then: Callable[[float], None] = lambda now: None) -> None:
        self.time, self._then = 0.0, then

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        self._then(self.time)


@dataclass
class MemorySource:
    """Files by name. `fail_reads` are numbers of reads (from 1) that lose the connection."""

    files: dict[str, bytes] = field(default_factory=dict)
    fail_reads: set[int] = field(default_factory=set)
    down: bool = False
    reads: int = 0
    opened: int = 0
    bytes_read: int = 0
    modified: str = "2026-01-01T00:00:00Z"
    on_read: Callable[[int], None] = lambda number: None

    def dumps(self) -> list[DumpRef]:
        self._up()
        return [DumpRef(name, len(data), self.modified) for name, data in self.files.items()]

    def open(self, ref: DumpRef) -> MemoryFile:
        self._up()
        self.opened += 1
        return MemoryFile(self, ref.name)

    def close(self) -> None:
        pass

    def _up(self) -> None:
        if self.down:
            raise Unreachable("the host does not answer")


@dataclass
class MemoryFile:
    source: MemorySource
    name: str
    lost: bool = False

    def read_at(self, offset: int, size: int) -> bytes:
        self.source.reads += 1
        self.source.on_read(self.source.reads)
        if self.lost or self.source.down or self.source.reads in self.source.fail_reads:
            self.lost = True
            raise Unreachable("the connection was lost")
        data = self.source.files[self.name][offset : offset + size]
        self.source.bytes_read += len(data)
        return data

    def close(self) -> None:
        pass


@dataclass
class ManySource:
    """The same files, to be opened several times. `lose` says of (way, offset) whether that read is lost."""

    files: dict[str, bytes]
    lose: Callable[[int, int], bool] = lambda way, offset: False
    on_read: Callable[[int, int, int], None] = lambda way, offset, size: None
    way: int = 0
    asked: list[tuple[int, int, int]] = field(default_factory=list)
    ways: list[int] = field(default_factory=lambda: [0])
    closed: list[int] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def another(self) -> ManySource:
        with self.lock:
            self.ways.append(len(self.ways))
            return ManySource(
                self.files,
                self.lose,
                self.on_read,
                self.ways[-1],
                self.asked,
                self.ways,
                self.closed,
                self.lock,
            )

    def dumps(self) -> list[DumpRef]:
        return [DumpRef(name, len(data), "2026-01-01T00:00:00Z") for name, data in self.files.items()]

    def open(self, ref: DumpRef) -> ManyFile:
        return ManyFile(self, ref.name)

    def close(self) -> None:
        self.closed.append(self.way)


@dataclass
class ManyFile:
    source: ManySource
    name: str

    def read_at(self, offset: int, size: int) -> bytes:
        source = self.source
        source.on_read(source.way, offset, size)
        if source.lose(source.way, offset):
            raise Unreachable("the connection was lost")
        with source.lock:
            source.asked.append((source.way, offset, size))
        return source.files[self.name][offset : offset + size]

    def close(self) -> None:
        pass


class StreamSource(MemorySource):
    """The same with files that come in pieces of 100,000 bytes; `fail_reads` counts those. For one reader."""

    def another(self) -> StreamSource:
        return self

    def open(self, ref: DumpRef) -> StreamFile:
        self._up()
        self.opened += 1
        return StreamFile(self, ref.name)


class StreamFile(MemoryFile):
    def stream(self, offset: int, size: int) -> Iterator[bytes]:
        end = offset + size
        while offset < end and (data := self.read_at(offset, min(100_000, end - offset))):
            yield data
            offset += len(data)
