"""Little-endian structures filled field by field."""

from __future__ import annotations

import struct


class Record:
    """A structure of `size` bytes, zero until written. Offsets are from its start."""

    def __init__(self, size: int) -> None:
        self.data = bytearray(size)

    def u8(self, offset: int, value: int) -> None:
        self.data[offset] = value & 0xFF

    def u16(self, offset: int, value: int) -> None:
        struct.pack_into("<H", self.data, offset, value & 0xFFFF)

    def u32(self, offset: int, value: int) -> None:
        struct.pack_into("<I", self.data, offset, value & 0xFFFFFFFF)

    def u64(self, offset: int, value: int) -> None:
        struct.pack_into("<Q", self.data, offset, value & 0xFFFFFFFFFFFFFFFF)

    def bytes(self, offset: int, value: bytes | bytearray) -> None:
        self.data[offset : offset + len(value)] = value

    def loop(self, offset: int, base: int) -> None:
        """An empty LIST_ENTRY at `offset` of a structure that will live at `base`."""
        self.u64(offset, base + offset)
        self.u64(offset + 8, base + offset)


def filetime(seconds: float) -> int:
    """100 ns since 1601 of a UNIX time."""
    return int((seconds + 11644473600) * 10_000_000)


def up(value: int, step: int = 0x1000) -> int:
    """`value` rounded up to a multiple of `step`."""
    return -(-value // step) * step
