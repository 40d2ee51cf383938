"""Virtual memory through the page tables of x64."""

from __future__ import annotations

import struct
from collections import OrderedDict

from lab.dumps.header import PAGE
from lab.dumps.memory import NotInDump, NotPresent
from lab.dumps.physical import Physical
from lab.model import DumpError

MAX_READ = 16 << 20
"""Most bytes of one read."""

_FRAME = 0x000F_FFFF_FFFF_F000
_PRESENT, _LARGE, _PROTOTYPE, _TRANSITION = 1, 1 << 7, 1 << 10, 1 << 11
_TOP = 1 << 64
_CACHED_PAGES = 2048  # 8 MiB of page tables and data
_CACHED_ENTRIES = 1 << 16
_WORDS = struct.Struct("<Q")


class PagedMemory:
    """Four-level paging (Intel SDM volume 3, 4.5) with Windows' software PTEs (_MMPTE_*).

    Pages in transition are still in memory and are read; pages of a prototype PTE are followed once.
    """

    def __init__(self, physical: Physical, directory_table_base: int) -> None:
        self._physical = physical
        self._root = directory_table_base & _FRAME
        self._pages: OrderedDict[int, bytes] = OrderedDict()
        self._frames: dict[int, int] = {}

    def read(self, address: int, size: int) -> bytes:
        """Exactly `size` bytes, at most 16 MiB."""
        if not 0 <= size <= MAX_READ:
            raise DumpError(f"a read of {size} bytes at {address:#x} is more than is sensible")
        if not 0 <= address <= _TOP - size:
            raise NotPresent(f"{address:#x} is not an address")
        inside = address & (PAGE - 1)
        if inside + size <= PAGE:  # by far the most frequent
            return self._page(self._frame(address - inside))[inside : inside + size] if size else b""
        parts = []
        while size:
            inside = address & (PAGE - 1)
            count = min(size, PAGE - inside)
            parts.append(self._page(self._frame(address - inside))[inside : inside + count])
            address += count
            size -= count
        return b"".join(parts)

    def translate(self, address: int) -> int:
        """Physical address of a virtual one. NotPresent when unmapped, NotInDump when tables lack."""
        return self._frame(address & ~(PAGE - 1)) * PAGE + (address & (PAGE - 1))

    def _page(self, frame: int) -> bytes:
        page = self._pages.get(frame)
        if page is None:
            page = self._physical.page(frame)
            self._pages[frame] = page
            if len(self._pages) > _CACHED_PAGES:
                self._pages.popitem(last=False)
        else:
            self._pages.move_to_end(frame)
        return page

    def _frame(self, address: int) -> int:
        frame = self._frames.get(address)
        if frame is None:
            frame = self._walk(address)
            if len(self._frames) >= _CACHED_ENTRIES:
                self._frames.clear()
            self._frames[address] = frame
        return frame

    def _entry(self, table: int, index: int, address: int) -> int:
        try:
            page = self._page(table >> 12)
        except NotInDump as error:
            raise NotInDump(f"{address:#x}: a page table is not in the dump ({error})") from error
        return int(_WORDS.unpack_from(page, index * 8)[0])

    def _walk(self, address: int, depth: int = 0) -> int:
        if address >> 47 not in (0, 0x1FFFF):
            raise NotPresent(f"{address:#x} is not a canonical address")
        table = self._root
        for shift in (39, 30, 21):
            entry = self._entry(table, address >> shift & 0x1FF, address)
            if not entry & _PRESENT:
                # Page tables of pageable areas can themselves be in transition.
                table = self._soft(entry, address, depth=1) << 12
                continue
            if entry & _LARGE and shift != 39:
                inside = (1 << shift) - 1
                return ((entry & _FRAME & ~inside) | (address & inside)) >> 12
            table = entry & _FRAME
        return self._leaf(self._entry(table, address >> 12 & 0x1FF, address), address, depth)

    def _leaf(self, entry: int, address: int, depth: int) -> int:
        if entry & _PRESENT:
            return (entry & _FRAME) >> 12
        return self._soft(entry, address, depth)

    def _soft(self, entry: int, address: int, depth: int) -> int:
        """The frame of a PTE whose valid bit is clear."""
        if entry == 0:
            raise NotPresent(f"{address:#x} is not mapped")
        if entry & _PROTOTYPE:
            pointer = entry >> 16
            if pointer >> 47:
                pointer |= 0xFFFF << 48
            # All ones means that a VAD describes the page; deeper chains do not exist.
            if depth or pointer in (0, 0xFFFF_FFFF_FFFF_0000) or not pointer >> 47 or pointer & 7:
                raise NotPresent(f"{address:#x} is described by a prototype that leads nowhere")
            inside = pointer & (PAGE - 1)
            page = self._page(self._walk(pointer - inside, depth=1))
            return self._leaf(int(_WORDS.unpack_from(page, inside)[0]), address, depth + 1)
        if entry & _TRANSITION:
            frame = (entry & _FRAME) >> 12
            limit = self._physical.map.limit
            # Kernels with the L1TF mitigation set a high bit in frames of entries that are not valid.
            return frame if frame < limit else frame & ((1 << max(limit - 1, 1).bit_length()) - 1)
        raise NotPresent(f"{address:#x} was paged out")
