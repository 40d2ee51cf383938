"""Fields of one structure in memory, read in one piece where that is possible."""

from __future__ import annotations

from lab.dumps.memory import Memory
from lab.model import DumpError

LARGEST = 0x4000


class Record:
    """Fields of the structure at `address`.

    The first `size` bytes are read at once; a field that lies outside of them, or all when a part of them is
    not in the dump, is read by itself. A field whose offset is not known (None), or that is not in the dump,
    is None.
    """

    def __init__(self, memory: Memory, address: int, size: int = 0) -> None:
        self.address = address
        self._memory = memory
        try:
            self._raw = memory.read(address, min(size, LARGEST)) if size else b""
        except DumpError:
            self._raw = b""

    def number(self, offset: int | None, size: int, *, signed: bool = False) -> int | None:
        """The `size` bytes at `offset` as a number, little-endian."""
        raw = self.bytes(offset, size)
        return int.from_bytes(raw, "little", signed=signed) if raw is not None else None

    def bytes(self, offset: int | None, size: int) -> bytes | None:
        """The `size` bytes at `offset`."""
        if offset is None:
            return None
        if offset + size <= len(self._raw):
            return self._raw[offset : offset + size]
        try:
            return self._memory.read(self.address + offset, size)
        except DumpError:
            return None
