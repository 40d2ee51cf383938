"""Virtual memory through the page tables of x64."""

from __future__ import annotations

import struct
from collections import OrderedDict

from lab.dumps.header import PAGE
from lab.dumps.memory import MAX_READ, NotInDump, NotPresent
from lab.dumps.physical import Physical
from lab.model import DumpError

FRAME = 0x000F_FFFF_FFFF_F000
"""Bits of an entry, or of CR3, that are the physical address of a page."""

_PRESENT, _SWIZZLE, _LARGE, _PROTOTYPE, _TRANSITION = 1, 1 << 4, 1 << 7, 1 << 10, 1 << 11
_TABLES = {4: (39, 30, 21), 5: (48, 39, 30, 21)}
_TOP = 1 << 64
_CACHED_PAGES = 2048  # 8 MiB of page tables and data
_CACHED_ENTRIES = 1 << 16
_WORD = struct.Struct("<Q")


class PagedMemory:
    """Four- or five-level paging (Intel SDM volume 3, 4.5) with Windows' software PTEs (_MMPTE_*).

    Pages in transition are still in memory and are read; a prototype PTE is followed once.
    """

    def __init__(self, physical: Physical, root: int, levels: int = 4) -> None:
        """`root` is a CR3: of its bits only those of the page count. `levels` is 4 or 5."""
        self._physical = physical
        self._root = root & FRAME
        self._tables = _TABLES[levels]
        self._sign = self._tables[0] + 8  # the highest bit of an address that is translated
        self._pages: OrderedDict[int, bytes] = OrderedDict()
        self._frames: dict[int, int] = {}

    @property
    def levels(self) -> int:
        return len(self._tables) + 1

    def read(self, address: int, size: int) -> bytes:
        """Exactly `size` bytes, at most 16 MiB."""
        if not 0 <= size <= MAX_READ:
            raise DumpError(f"a read of {size} bytes at {address:#x} is more than is sensible")
        if not 0 <= address <= _TOP - size:
            raise NotPresent(f"{address:#x} is not an address")
        inside = address & (PAGE - 1)
        if inside + size <= PAGE:  # by far the most frequent
            return self._data(address)[inside : inside + size] if size else b""
        parts = []
        while size:
            inside = address & (PAGE - 1)
            count = min(size, PAGE - inside)
            parts.append(self._data(address)[inside : inside + count])
            address += count
            size -= count
        return b"".join(parts)

    def translate(self, address: int) -> int:
        """Physical address of a virtual one. NotPresent when unmapped, NotInDump when tables lack."""
        return self._frame(address) * PAGE + (address & (PAGE - 1))

    def _data(self, address: int) -> bytes:
        """The whole page that holds `address`."""
        frame = self._frame(address)
        try:
            return self._page(frame)
        except NotInDump as error:
            raise NotInDump(f"{address:#x}: {error.message}") from error

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
        page = address & ~(PAGE - 1)
        frame = self._frames.get(page)
        if frame is None:
            frame = self._walk(address)  # with all of it: an error names the address that was asked for
            if len(self._frames) >= _CACHED_ENTRIES:
                self._frames.clear()
            self._frames[page] = frame
        return frame

    def _entry(self, table: int, index: int, address: int) -> int:
        try:
            page = self._page(table >> 12)
        except NotInDump as error:
            raise NotInDump(f"{address:#x}: a page table is not in the dump ({error.message})") from error
        return int(_WORD.unpack_from(page, index * 8)[0])

    def _walk(self, address: int, *, prototypes: bool = True) -> int:
        """The frame behind `address`. `prototypes` are followed only from here, never from one another."""
        if address >> self._sign not in (0, (1 << 64 - self._sign) - 1):
            raise NotPresent(f"{address:#x} is not a canonical address")
        table = self._root
        for shift in self._tables:
            entry = self._entry(table, address >> shift & 0x1FF, address)
            if not entry & _PRESENT:
                # Page tables of pageable areas can themselves be in transition, but never shared.
                table = self._soft(entry, address, prototypes=False) << 12
                continue
            if entry & _LARGE and shift <= 30:
                inside = (1 << shift) - 1  # bit 12 is PAT here, and bits up to the page's size are reserved
                return ((entry & FRAME & ~inside) | (address & inside)) >> 12
            table = entry & FRAME
        entry = self._entry(table, address >> 12 & 0x1FF, address)
        return (
            (entry & FRAME) >> 12 if entry & _PRESENT else self._soft(entry, address, prototypes=prototypes)
        )

    def _soft(self, entry: int, address: int, *, prototypes: bool) -> int:
        """The frame of an entry whose valid bit is clear."""
        if entry == 0:
            raise NotPresent(f"{address:#x} is not mapped")
        if entry & _PROTOTYPE:
            if not prototypes:
                raise NotPresent(f"{address:#x} belongs to a file and was not in memory")
            return self._shared(entry, address)
        if entry & _TRANSITION:
            frame = (entry & FRAME) >> 12
            limit = self._physical.map.limit
            if frame < limit or entry & _SWIZZLE:
                return frame
            # With the L1TF mitigation the kernel sets high bits in such entries, unless bit 4 is set.
            return frame & ((1 << max(limit - 1, 1).bit_length()) - 1)
        raise NotPresent(f"{address:#x} was paged out")

    def _shared(self, entry: int, address: int) -> int:
        """The frame of a page that several address spaces share: its own entry says where it is."""
        pointer = _sign_extended(entry >> 16)
        if pointer in (0, 0xFFFF_FFFF_FFFF_0000) or not pointer >> 63 or pointer & 7:
            raise NotPresent(f"{address:#x} is described by a prototype that leads nowhere")
        try:
            shared = self._prototype(pointer, address)
        except NotPresent as error:
            plain = None if entry & _SWIZZLE else self._without_mask(entry, address)
            if plain is None:
                raise NotPresent(
                    f"{address:#x}: its prototype is not to be read ({error.message})"
                ) from error
            shared = plain
        if shared & _PRESENT:
            return (shared & FRAME) >> 12
        return self._soft(shared, address, prototypes=False)

    def _without_mask(self, entry: int, address: int) -> int | None:
        """The prototype PTE when the L1TF mitigation has set one high physical bit in `entry`.

        Which bit is the machine's secret; it is above all memory. None unless just one candidate is mapped.
        """
        found = []
        for bit in range(12 + max(self._physical.map.limit - 1, 1).bit_length(), 52):
            if entry >> bit & 1:
                try:
                    found.append(self._prototype(_sign_extended((entry ^ 1 << bit) >> 16), address))
                except DumpError:
                    continue
        return found[0] if len(found) == 1 else None

    def _prototype(self, pointer: int, address: int) -> int:
        frame = self._walk(pointer & ~(PAGE - 1), prototypes=False)
        try:
            page = self._page(frame)
        except NotInDump as error:
            raise NotInDump(f"{address:#x}: its prototype is not in the dump ({error.message})") from error
        return int(_WORD.unpack_from(page, pointer & (PAGE - 1))[0])


def _sign_extended(pointer: int) -> int:
    """A 48-bit address as 64 bits."""
    return pointer | 0xFFFF << 48 if pointer >> 47 else pointer
