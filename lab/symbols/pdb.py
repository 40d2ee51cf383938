"""PDB files: names, structures and fields of one image, read as they are asked for.

Stream 1 has the GUID, stream 2 the types (TPI), stream 3 (DBI) says which streams hold the symbol
records, the section headers and the OMAP (LLVM's "The PDB File Format").
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from lab.model import ConfigurationError
from lab.symbols.files import PositionedFile, RandomAccess
from lab.symbols.msf import Msf
from lab.symbols.nearest import Nearest
from lab.symbols.notes import Notes
from lab.symbols.pdb_names import Moved, Names
from lab.symbols.pdb_types import Types

_INFO, _TPI, _DBI = 1, 2, 3
_NO_STREAM = 0xFFFF
_MAX_STREAM = 64 << 20  # of one stream that is read whole; the largest kernel's is 5 MB
_MAX_MODULES = 16 << 20  # of the list of modules, and of the symbols of all of them together
_MIN_MODULE = 256  # of symbols that a module counts for at the least: opening each takes time as well
_MAX_MOVES = 8 << 20  # of OMAP; 8 bytes a piece of code that was moved
_MAX_SECTIONS = 0xFFFF

# Places in the optional debug header of the DBI stream.
_OMAP_FROM_SOURCE, _SECTIONS, _SECTIONS_AS_LINKED = 4, 5, 10

# Flags of an entry of the section map.
_SELECTOR, _ABSOLUTE = 0x100, 0x200

_FASTLINK = b"MINI"  # a feature of stream 1, which ends with the list of them


class Pdb:
    """The ModuleSymbols of one PDB. ConfigurationError when it is not one, or its beginnings are damaged.

    What is damaged further in is left out and told in `notes`.
    """

    def __init__(self, source: RandomAccess, name: str) -> None:
        self._msf = Msf(source, name)
        self._notes = Notes()
        self._name = name
        head = self._msf.read(_INFO, 0, 28)
        if len(head) < 28:
            raise self._msf.damaged("it has no id")
        _, _, age = struct.unpack_from("<III", head)
        data1, data2, data3 = struct.unpack_from("<IHH", head, 12)
        self.guid = f"{data1:08X}{data2:04X}{data3:04X}{head[20:28].hex().upper()}"
        self._dbi = self._msf.read(_DBI, 0, 64)
        if len(self._dbi) < 64 or self._dbi[:4] != b"\xff\xff\xff\xff":
            self._dbi = b""  # none, or of a form older than any x64 image
        # Images carry the age of the DBI stream; that of stream 1 grows when a tool rewrites the file. Some
        # tools leave the former at 0, which no image has.
        self.age: int = (struct.unpack_from("<I", self._dbi, 8)[0] if self._dbi else 0) or age
        features = self._msf.read(_INFO, max(self._msf.size(_INFO) - 16, 28))
        if _FASTLINK in (features[at : at + 4] for at in range(len(features) % 4, len(features), 4)):
            self._notes.append(
                "it was linked with /DEBUG:FASTLINK: types and names that are not public are in object files"
            )

    @property
    def source(self) -> str:
        return f"PDB {self._name}"

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be read so far, and why."""
        return tuple(f"{self._name}: {note}" for note in self._notes)

    # --- names -------------------------------------------------------------------------------

    def rva(self, name: str) -> int | None:
        return self._names.get(name)

    def nearest(self, rva: int) -> tuple[str, int] | None:
        return self._nearest.find(rva)

    def names(self) -> Iterator[tuple[str, int]]:
        return iter(self._names.items())

    @cached_property
    def _nearest(self) -> Nearest:
        return Nearest(self._names.items())

    @cached_property
    def _names(self) -> dict[str, int]:
        if not self._dbi:
            return {}
        try:
            found = Names(*self._segments(), self._notes)
            (records,) = struct.unpack_from("<H", self._dbi, 20)
            found.add_globals(self._stream(records))
            for module, data in self._modules():
                found.add_module(data, module)
        except ConfigurationError as error:
            self._notes.append(str(error))
            return {}
        return found.rvas

    def _segments(self) -> tuple[dict[int, int], Moved | None]:
        """(RVAs of the segments of symbols, how code was moved after linking)."""
        # modules, section contributions, section map, files, type servers
        sizes = struct.unpack_from("<5i", self._dbi, 24)
        header_size, edit_size = struct.unpack_from("<2i", self._dbi, 48)
        if min(*sizes, header_size, edit_size) < 0:
            raise self._msf.damaged("its DBI stream has parts of negative size")
        offset = 64 + sum(sizes) + edit_size
        packed = self._msf.read(_DBI, offset, min(header_size, 64))
        streams = struct.unpack(f"<{len(packed) // 2}H", packed[: len(packed) // 2 * 2])

        def stream(place: int, limit: int = _MAX_STREAM) -> bytes:
            return self._stream(streams[place], limit) if place < len(streams) else b""

        moves = stream(_OMAP_FROM_SOURCE, _MAX_MOVES)
        pairs = sorted(struct.iter_unpack("<II", moves[: len(moves) // 8 * 8]))
        moved = Moved(*(tuple(column) for column in zip(*pairs, strict=True))) if pairs else None
        headers = stream(_SECTIONS_AS_LINKED) if moved else b""
        headers = headers or stream(_SECTIONS)
        if not headers:
            self._notes.append("it has no section headers, so that its names have no addresses")
        count = min(len(headers) // 40, _MAX_SECTIONS)
        starts = {i + 1: struct.unpack_from("<I", headers, 40 * i + 12)[0] for i in range(count)}
        return self._mapped(starts, 64 + sizes[0] + sizes[1], sizes[2]), moved

    def _mapped(self, sections: dict[int, int], at: int, size: int) -> dict[int, int]:
        """RVAs of the segments, which the section map puts into sections by their number and an offset.

        Linkers write an entry for each section in order, so that a segment is a section, and one for what
        is absolute, which has no RVA. A map that says otherwise is followed; a PDB may do without.
        """
        packed = self._msf.read(_DBI, at, min(size, 4 + 20 * _MAX_SECTIONS))
        segments = dict(sections)
        for segment in range(1, (len(packed) - 4) // 20 + 1):
            flags, section, offset = struct.unpack_from("<H4xH4xI", packed, 20 * segment - 16)
            if flags & _ABSOLUTE:
                segments.pop(segment, None)
            elif flags & _SELECTOR and section in sections:
                segments[segment] = sections[section] + offset
        return segments

    def _modules(self) -> Iterator[tuple[str, bytes]]:
        """(name, symbol records) of the modules that have some. Public PDBs have none."""
        (size,) = struct.unpack_from("<i", self._dbi, 24)
        table = self._msf.read(_DBI, 64, min(size, _MAX_MODULES))
        at, left = 0, _MAX_MODULES
        while at + 64 < len(table):
            stream, symbols = struct.unpack_from("<HI", table, at + 34)
            name_end = table.find(b"\0", at + 64)
            object_end = table.find(b"\0", name_end + 1) if name_end >= 0 else -1
            if object_end < 0:
                self._notes.append("its list of modules is cut off")
                return
            if stream != _NO_STREAM and symbols > 4:
                left -= max(symbols, _MIN_MODULE)
                if left < 0:
                    self._notes.append("functions that are not public were not all read: there are too many")
                    return
                name = str(table[at + 64 : name_end], "utf-8", "replace")
                yield name.replace("\\", "/").rpartition("/")[2], self._msf.read(stream, 0, symbols)
            at = (object_end + 4) & ~3

    # --- types -------------------------------------------------------------------------------

    def offset(self, type_name: str, field: str) -> int | None:
        """Byte offset of a field; "Tail.Overlay.Thread" descends into the structures of fields."""
        return self._types.offset(type_name, field)

    def size(self, type_name: str) -> int | None:
        return self._types.size(type_name)

    def fields(self, type_name: str) -> tuple[tuple[str, int], ...]:
        return self._types.fields(type_name)

    @cached_property
    def _types(self) -> Types:
        try:
            head = self._msf.read(_TPI, 0, 56)
            if len(head) == 56:
                _, header_size, first, end, size = struct.unpack_from("<5I", head)
                if size <= _MAX_STREAM:
                    return Types(self._msf.read(_TPI, header_size, size), first, end, self._notes)
                self._notes.append(f"its types were not read: they have {size >> 20} MB")
        except ConfigurationError as error:
            self._notes.append(str(error))
        return Types(b"", 0x1000, 0x1000, self._notes)

    def _stream(self, number: int, limit: int = _MAX_STREAM) -> bytes:
        """A stream that is read whole; b"" for none. ConfigurationError when it is larger than `limit`."""
        if number == _NO_STREAM:
            return b""
        if number >= len(self._msf):
            raise self._msf.damaged(f"it refers to stream {number} of {len(self._msf)}")
        if self._msf.size(number) > limit:
            raise ConfigurationError(
                f"stream {number} was not read: it has {self._msf.size(number) >> 20} MB"
            )
        return self._msf.read(number)


def open_pdb(path: Path, name: str = "") -> Pdb:
    """The PDB at `path`, called `name` or as its file is.

    ConfigurationError when it cannot be read, is not a PDB, or is damaged.
    """
    return Pdb(PositionedFile(path), name or path.name)
