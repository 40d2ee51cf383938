"""Sparse physical memory behind real page tables of four or five levels.

Paging: Intel SDM volume 3, 4-level and 5-level paging. Frames below 4 GiB back 4 KiB pages; the nonpaged
pool is mapped by 2 MiB pages above 4 GiB, as Windows does, and only its pages in use exist.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random

PAGE = 0x1000
_MASK = 0x000F_FFFF_FFFF_F000
_LARGE = 0x80
_KERNEL_PAGE = 0x963  # present, writable, accessed, dirty, global, software bit as Windows sets it
_TABLE = 0x863  # present, writable, accessed, dirty
_NO_EXECUTE = 1 << 63
_FIRST_LARGE = 0x100000


class Memory:
    """Kernel virtual memory: writing maps. Equal sequences of calls give equal memory."""

    def __init__(self, rng: Random, *, directory: int, self_map: int, five_levels: bool = False) -> None:
        """`directory` is the frame of the top table; `self_map` its entry that points to itself."""
        self.pages: dict[int, bytearray] = {}
        self.lazy: dict[int, Callable[[], bytes]] = {}
        self._rng = rng
        self._next = 0x2000 + rng.randrange(0x800)
        self._next_large = _FIRST_LARGE
        self._top = self.pages.setdefault(directory, bytearray(PAGE))
        self._shifts = (48, 39, 30, 21) if five_levels else (39, 30, 21)
        self.absent: set[int] = set()  # frames that a dump leaves out
        self._views: dict[int, bytearray] = {}
        self._large: dict[int, int] = {}
        self._large_areas: list[tuple[int, int]] = []
        struct.pack_into("<Q", self._top, self_map * 8, directory << 12 | _TABLE)

    @property
    def runs(self) -> tuple[tuple[int, int], ...]:
        """Physical memory of the machine as (first frame, frames), with the usual holes."""
        above = max(0x40000, self._next_large - _FIRST_LARGE)
        return (0x1, 0x9E), (0x100, 0xBFE00), (_FIRST_LARGE, above)

    def large_area(self, start: int, end: int) -> None:
        """Addresses of [start, end) are mapped by 2 MiB pages when they are first written."""
        self._large_areas.append((start, end))

    def write(self, address: int, data: bytes | bytearray) -> None:
        offset = address & (PAGE - 1)
        if offset + len(data) <= PAGE:
            self._view(address)[offset : offset + len(data)] = data
            return
        position = 0
        while position < len(data):
            offset = (address + position) & (PAGE - 1)
            size = min(PAGE - offset, len(data) - position)
            self._view(address + position)[offset : offset + size] = data[position : position + size]
            position += size

    def u64(self, address: int, value: int) -> None:
        self.write(address, struct.pack("<Q", value & 0xFFFFFFFFFFFFFFFF))

    def u32(self, address: int, value: int) -> None:
        self.write(address, struct.pack("<I", value & 0xFFFFFFFF))

    def read_u64(self, address: int) -> int:
        """For structures that link to ones written before. Reading maps, too."""
        return int(struct.unpack_from("<Q", self._view(address), address & (PAGE - 1))[0])

    def read(self, address: int, size: int) -> bytes:
        """Bytes of structures that were written before."""
        out = b""
        while len(out) < size:
            at = address + len(out)
            offset = at & (PAGE - 1)
            out += bytes(self._view(at)[offset : offset + min(PAGE - offset, size - len(out))])
        return out

    def holds(self, address: int, size: int) -> bool:
        """Whether all of it has been written to."""
        return all(page in self._views for page in range(address >> 12, (address + size - 1 >> 12) + 1))

    def fill_later(self, address: int, content: Callable[[], bytes]) -> None:
        """Map the page at `address` (in a large area); `content()` gives its bytes when it is stored."""
        self.lazy[self._large_frame(address)] = content

    @property
    def frames(self) -> list[int]:
        """Frames that exist and are not left out, sorted."""
        return sorted({*self.pages, *self.lazy} - self.absent)

    def leave_out(self, address: int, size: int) -> None:
        """Dumps do not hold the pages that this touches. They must have been written."""
        views = {id(page): frame for frame, page in self.pages.items()}
        for page in range(address >> 12, (address + size - 1 >> 12) + 1):
            self.absent.add(views[id(self._views[page])])

    def forbid_execution(self, address: int) -> None:
        """Set the no-execute bit of a 4 KiB page that is mapped."""
        table, at = self._table(address, 12), address >> 9 & 0xFF8
        struct.pack_into("<Q", table, at, struct.unpack_from("<Q", table, at)[0] | _NO_EXECUTE)

    def _view(self, address: int) -> bytearray:
        page = address >> 12
        found = self._views.get(page)
        if found is None:
            found = self._views[page] = self._create(address)
        return found

    def _create(self, address: int) -> bytearray:
        if any(start <= address < end for start, end in self._large_areas):
            return self.pages.setdefault(self._large_frame(address), bytearray(PAGE))
        frame, page = self._frame()
        struct.pack_into("<Q", self._table(address, 12), address >> 9 & 0xFF8, frame << 12 | _KERNEL_PAGE)
        return page

    def _large_frame(self, address: int) -> int:
        block = address >> 21
        if block not in self._large:
            self._large[block] = first = self._next_large
            self._next_large += 0x200
            entry = first << 12 | _LARGE | _KERNEL_PAGE
            struct.pack_into("<Q", self._table(address, 21), address >> 18 & 0xFF8, entry)
        return self._large[block] + (address >> 12 & 0x1FF)

    def _frame(self) -> tuple[int, bytearray]:
        """A new 4 KiB frame: mostly the next one, sometimes after a gap."""
        self._next += 1 if self._rng.random() < 0.7 else self._rng.randrange(2, 40)
        page = self.pages[self._next] = bytearray(PAGE)
        return self._next, page

    def _table(self, address: int, level: int) -> bytearray:
        """The table whose entries map 1 << `level` bytes each, for `address`."""
        table = self._top
        for shift in self._shifts:
            if shift == level:
                break
            at = (address >> shift & 0x1FF) * 8
            (entry,) = struct.unpack_from("<Q", table, at)
            if entry == 0:
                frame, below = self._frame()
                struct.pack_into("<Q", table, at, frame << 12 | _TABLE)
                table = below
            else:
                table = self.pages[(entry & _MASK) >> 12]
        return table


class Pool:
    """Nonpaged pool: blocks behind POOL_HEADERs, at addresses that look scattered."""

    def __init__(self, memory: Memory, start: int, size: int, rng: Random) -> None:
        self.memory = memory
        self.start, self.end = start, start + size
        self._next = start
        self._rng = rng
        memory.large_area(start, self.end)

    def take(self, size: int, tag: bytes, *, align: int = 16, add: int = 0) -> int:
        """Address of a new zeroed block of `size` bytes.

        Its address is `add` bytes after a multiple of `align`.
        """
        at = self._next + 16 + self._rng.randrange(0, 24) * 16
        at = -(-(at - add) // align) * align + add
        self._next = at + size
        if self._next > self.end:
            raise MemoryError("the simulated nonpaged pool is full")
        blocks = -(-size // 16) + 1
        header = struct.pack("<BBBB4sQ", 0, 0, blocks & 0xFF, 2, tag, 0)
        self.memory.write(at - 16, header + bytes(size))
        return at

    def skip_page(self) -> None:
        """The next block begins on a page of its own."""
        self._next = -(-self._next // PAGE) * PAGE

    def put(self, data: bytes | bytearray, tag: bytes) -> int:
        """Address of a new block holding `data`."""
        at = self.take(len(data), tag)
        self.memory.write(at, data)
        return at

    def string(self, text: str, tag: bytes = b"Strg") -> bytes:
        """A UNICODE_STRING whose buffer is a new block (empty text: no buffer)."""
        if not text:
            return bytes(16)
        raw = text.encode("utf-16-le")
        return struct.pack("<HHIQ", len(raw), len(raw) + 2, 0, self.put(raw + b"\0\0", tag))
