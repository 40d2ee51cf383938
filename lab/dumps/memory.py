"""What the whole analyser stands on: bytes at addresses, and two different kinds of absence."""

from __future__ import annotations

import struct
from typing import Protocol

from lab.model import DumpError

MAX_READ = 16 << 20
"""Most bytes of one read."""

KERNEL_SPACE = 0xFF00_0000_0000_0000
"""Lowest address of kernels with five-level paging. Those with four begin at 0xFFFF8000`00000000; what lies
between is not canonical there, so that a read of it is NotPresent.
"""


class NotInDump(DumpError):
    """The page exists, but the dump does not hold it (left out by design, or truncated)."""

    help = "Small and kernel dumps leave pages out; a complete dump (CrashDumpEnabled 1) holds them all."


class NotPresent(DumpError):
    """The address is not mapped by the page tables."""

    help = "Check the address; what was paged out at the stop is in no dump."


class Memory(Protocol):
    """Byte-addressed memory.

    `read` returns exactly `size` bytes or raises NotInDump / NotPresent (naming the first address that
    could not be read). `size` is bounded by the implementation; DumpError beyond it.
    """

    def read(self, address: int, size: int) -> bytes: ...


def u16(memory: Memory, address: int) -> int:
    return int(struct.unpack("<H", memory.read(address, 2))[0])


def i16(memory: Memory, address: int) -> int:
    return int(struct.unpack("<h", memory.read(address, 2))[0])


def u32(memory: Memory, address: int) -> int:
    return int(struct.unpack("<I", memory.read(address, 4))[0])


def u64(memory: Memory, address: int) -> int:
    return int(struct.unpack("<Q", memory.read(address, 8))[0])


def unicode_string(memory: Memory, address: int, *, limit: int = 1024) -> str:
    """The text of the UNICODE_STRING64 {Length u16, MaximumLength u16, pad, Buffer u64} at `address`.

    At most `limit` bytes of text are read. Invalid UTF-16 is replaced.
    """
    length, _maximum, buffer = struct.unpack("<HH4xQ", memory.read(address, 16))
    if length == 0 or buffer == 0:
        return ""
    return memory.read(buffer, min(length, limit) & ~1).decode("utf-16-le", "replace")


def text_or_nothing(memory: Memory, address: int) -> str:
    """As `unicode_string`; "" when the text is not in the dump: it is paged pool more often than not."""
    try:
        return unicode_string(memory, address)
    except DumpError:
        return ""
