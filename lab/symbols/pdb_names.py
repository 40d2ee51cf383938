"""Names and their addresses from the symbol records of a PDB (CodeView, `cvinfo.h`)."""

from __future__ import annotations

import struct
from bisect import bisect_right
from dataclasses import dataclass

from lab.symbols.notes import Notes

_PUB32 = 0x110E
_DATA = frozenset((0x110C, 0x110D))  # S_LDATA32, S_GDATA32
_GLOBAL = _DATA | {_PUB32}
_PROCEDURES = frozenset((0x110F, 0x1110, 0x1146, 0x1147))  # S_LPROC32, S_GPROC32, and with an item id
_MAX_RECORDS = 600_000  # the largest kernel has 150,000
_MAX_RVA = 1 << 32

# length, kind, flags or type, offset, segment; the name follows
_AT_ADDRESS = struct.Struct("<HHIIH")
# length, kind, parent, end, next, code size, debug start and end, type, offset, segment, flags
_PROCEDURE = struct.Struct("<HH7IIHB")


@dataclass(frozen=True)
class Moved:
    """OMAP_FROM_SRC: how code was moved about after linking. RVAs as linked, ascending, and in the image.

    An RVA of 0 in the image says that the code is gone.
    """

    linked: tuple[int, ...]
    image: tuple[int, ...]

    def place(self, rva: int) -> int | None:
        index = bisect_right(self.linked, rva) - 1
        if index < 0 or self.image[index] == 0:
            return None
        return self.image[index] + rva - self.linked[index]


class Names:
    """Collects name -> RVA. A public's address goes before that of a data record of the same name.

    `segments` are their RVAs by number, as linked when `moved` is given. Symbols of any other segment
    (absolute ones, or code that the linker threw away) are left out. `notes` gets where reading ended
    before its time.
    """

    def __init__(self, segments: dict[int, int], moved: Moved | None, notes: Notes) -> None:
        self._segments = segments
        self._moved = moved
        self._left = _MAX_RECORDS  # records that may still be read
        self._notes = notes
        self.rvas: dict[str, int] = {}

    def add_globals(self, records: bytes) -> None:
        """Publics and data of the symbol record stream."""
        publics: dict[str, int] = {}
        data: dict[str, int] = {}
        unpack, segments = _AT_ADDRESS.unpack_from, self._segments
        at, end = 0, len(records) - _AT_ADDRESS.size
        limit = self._left
        while at <= end and limit:
            limit -= 1
            length, kind, _, offset, segment = unpack(records, at)
            if kind in _GLOBAL and segment in segments:
                stop = records.find(b"\0", at + 14, at + 2 + length)
                name = str(records[at + 14 : stop if stop >= 0 else at + 2 + length], "utf-8", "replace")
                (publics if kind == _PUB32 else data)[name] = segments[segment] + offset
            at += length + 2
        self._left = limit
        self._check(at, len(records), "the symbol records")
        self._add(publics)
        self._add(data)

    def add_module(self, records: bytes, module: str) -> None:
        """Functions and data of one module; what is inside functions is passed over."""
        found: dict[str, int] = {}
        at, end = 4, len(records) - _AT_ADDRESS.size
        while at <= end and self._left:
            self._left -= 1
            length, kind, _, offset, segment = _AT_ADDRESS.unpack_from(records, at)
            following = at + length + 2
            if kind in _PROCEDURES and at + _PROCEDURE.size <= len(records):
                fields = _PROCEDURE.unpack_from(records, at)
                offset, segment = fields[9], fields[10]
                start = at + _PROCEDURE.size
                inner_end = fields[3]
                after = inner_end if following <= inner_end < len(records) else following
            elif kind in _DATA:
                start, after = at + _AT_ADDRESS.size, following
            else:
                at = following
                continue
            if segment in self._segments:
                stop = records.find(b"\0", start, following)
                name = str(records[start : stop if stop >= 0 else following], "utf-8", "replace")
                found.setdefault(name, self._segments[segment] + offset)
            at = after
        self._check(at, len(records), f"the symbols of {module}")
        self._add(found)

    def _add(self, found: dict[str, int]) -> None:
        found.pop("", None)
        if self._moved is not None:
            places = ((name, self._moved.place(rva)) for name, rva in found.items())
            found = {name: rva for name, rva in places if rva is not None}
        if found and max(found.values()) >= _MAX_RVA:
            found = {name: rva for name, rva in found.items() if rva < _MAX_RVA}
        self.rvas = found | self.rvas

    def _check(self, at: int, size: int, what: str) -> None:
        if not self._left:
            self._notes.append(f"{what} were read only in part: there are too many")
        elif at > size:
            self._notes.append(f"{what} end in the middle of one")
