"""Physical memory: pages by their frame number."""

from __future__ import annotations

from lab.dumps.header import PAGE
from lab.dumps.memory import NotInDump
from lab.dumps.pagemap import PageMap
from lab.dumps.source import Source


class Physical:
    """Physical memory, as far as the dump holds it."""

    def __init__(self, source: Source, pages: PageMap) -> None:
        self._source = source
        self.map = pages

    def page(self, frame: int) -> bytes:
        """The 4096 bytes of a page frame. NotInDump when the file does not hold them."""
        offset = self.map.offset_of(frame)
        if offset is None:
            raise NotInDump(f"physical page {frame:#x} is not in the dump")
        data = self._source.read(offset, PAGE)
        if len(data) < PAGE:
            raise NotInDump(f"physical page {frame:#x} lies behind the end of the file: the dump is cut off")
        return data
