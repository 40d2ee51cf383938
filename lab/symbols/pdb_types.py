"""Structures of a PDB: sizes, and byte offsets of fields (CodeView type records, `cvinfo.h`)."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from typing import NamedTuple

from lab.symbols.nearest import in_order
from lab.symbols.notes import Notes
from lab.symbols.pdb_fields import Broken, Field, cstring, numeric, read_fields

_MAX_TYPES = 2_000_000  # the largest kernel's PDB has 30,000
_MAX_STRUCTURES = 100_000  # and 10,000 structures, with those that are only referred to
_MAX_LISTS = 64  # of 64 KB each, that the fields of one structure may fill
_MAX_TYPES_OF_A_FIELD = 256  # bases and nameless members that a search for one field may enter

_MODIFIER = 0x1001
_FIELD_LIST = 0x1203
_UNION = 0x1506
_UNION_2 = 0x160A
_STRUCTURES = frozenset((0x1504, 0x1505, 0x1519))  # LF_CLASS, LF_STRUCTURE, LF_INTERFACE
_STRUCTURES_2 = frozenset((0x1608, 0x1609, 0x160B))  # LF_CLASS2 ...: the same with wider properties
_NAMED = _STRUCTURES | _STRUCTURES_2 | {_UNION, _UNION_2}
_FORWARD = 0x80
_HAS_UNIQUE_NAME = 0x200
_NAMELESS = ("<unnamed-tag>", "<anonymous-tag>", "__unnamed")


class Structure(NamedTuple):
    """LF_STRUCTURE, LF_CLASS or LF_UNION. `fields` is the type index of its field list, 0 for none."""

    name: str
    unique_name: str
    size: int
    fields: int
    forward: bool


class Types:
    """The type records of one PDB, with type indexes from `first` (0x1000) up to but not `end`.

    The records are passed over once, to find where each begins and which define a structure; fields are
    read when they are first asked for. A forward reference is followed by its unique name, else by its
    name. Of several definitions of a name the first one counts. `notes` gets what could not be read, and
    which of the names asked for are of structures that differ.
    """

    def __init__(self, records: bytes, first: int, end: int, notes: Notes) -> None:
        self._records = records
        self._first = first
        self._starts = array("I")
        self._definitions: list[int] = []
        self._named: dict[str, int] = {}
        self._differing: set[str] = set()
        self._unique: dict[str, int] = {}
        self._fields: dict[int, tuple[Field, ...]] = {}
        self._notes = notes
        self._index(self._scan(end))

    def size(self, name: str) -> int | None:
        """Bytes of a structure; None when the PDB does not define it."""
        index = self._owner(name)
        found = self._structure(index) if index is not None else None
        return found.size if found is not None else None

    def offset(self, name: str, field: str) -> int | None:
        """Byte offset of a field; "Tail.Overlay.Thread" descends into the structures of fields.

        Fields of nameless members and of bases are found as the structure's own. A bit field has the
        offset of the unit that holds it.
        """
        owner = self._owner(name)
        total = 0
        for part in field.split("."):
            found = self._find(owner, part) if owner is not None else None
            if found is None:
                return None
            total += found.offset
            owner = self._definition(found.type)
        return total

    def fields(self, name: str) -> tuple[tuple[str, int], ...]:
        """(name, byte offset) of every field of a structure, those of nameless members and bases too."""
        owner = self._owner(name)
        found: dict[str, int] = {}
        for field in self._each(owner) if owner is not None else ():
            found.setdefault(field.name, field.offset)
        return in_order(found.items())

    def structures(self) -> Iterator[tuple[int, Structure, tuple[Field, ...]]]:
        """(type index, structure, its own fields) of everything that is defined here, in order."""
        for index in self._definitions:
            found = self._structure(index)
            if found is not None:
                yield index, found, self._fields_of(found)

    def _owner(self, name: str) -> int | None:
        if name in self._differing:
            self._notes.append(f"there are several {name} of different sizes: the first one is used")
        return self._named.get(name)

    # --- records -----------------------------------------------------------------------------

    def _scan(self, last: int) -> list[int]:
        """Where every record begins; type indexes of the named ones."""
        records, unpack, named = self._records, struct.Struct("<HH").unpack_from, []
        starts = self._starts
        at, end = 0, len(records) - 4
        while at <= end and len(starts) < _MAX_TYPES:
            length, kind = unpack(records, at)
            if kind in _NAMED:
                named.append(self._first + len(starts))
            starts.append(at)
            at += length + 2
        found = self._first + len(starts)
        if at != len(records) or found != last:
            self._notes.append(f"types were read only up to {found:#x} of {last:#x}")
        return named

    def _index(self, named: list[int]) -> None:
        damaged = 0
        if len(named) > _MAX_STRUCTURES:
            self._notes.append(f"of {len(named)} structures only {_MAX_STRUCTURES} were read")
        for index in named[:_MAX_STRUCTURES]:
            found = self._structure(index)
            if found is None:
                damaged += 1
            elif not found.forward:
                self._definitions.append(index)
                if found.name and not found.name.endswith(_NAMELESS):
                    first = self._named.setdefault(found.name, index)
                    other = self._structure(first) if first != index else None
                    if other is not None and other.size != found.size:
                        self._differing.add(found.name)
                if found.unique_name:
                    self._unique.setdefault(found.unique_name, index)
        if damaged:
            self._notes.append(f"{damaged} structures are damaged")

    def _record(self, index: int) -> tuple[int, int, int]:
        """(kind, begin, end) of the record of a type index; the kind is 0 when there is none."""
        number = index - self._first
        if not 0 <= number < len(self._starts):
            return 0, 0, 0
        at = self._starts[number]
        length, kind = struct.unpack_from("<HH", self._records, at)
        return kind, at + 4, min(at + 2 + length, len(self._records))

    def _structure(self, index: int) -> Structure | None:
        """None when the record is of another kind, or damaged."""
        kind, at, end = self._record(index)
        data = self._records
        try:
            if kind in _STRUCTURES:
                _, flags, fields = struct.unpack_from("<HHI", data, at)
                size, at = numeric(data, at + 16, end)
            elif kind == _UNION:
                _, flags, fields = struct.unpack_from("<HHI", data, at)
                size, at = numeric(data, at + 8, end)
            elif kind in _STRUCTURES_2 or kind == _UNION_2:
                flags, fields = struct.unpack_from("<II", data, at)
                _, at = numeric(data, at + (8 if kind == _UNION_2 else 16), end)
                size, at = numeric(data, at, end)
            else:
                return None
            name, at = cstring(data, at, end)
            unique = cstring(data, at, end)[0] if flags & _HAS_UNIQUE_NAME else ""
        except (Broken, struct.error):
            return None
        return Structure(name, unique, size, fields, bool(flags & _FORWARD))

    def _definition(self, index: int) -> int | None:
        """The type index of the structure that `index` stands for, modifiers and forward references
        followed; None for anything that is not a structure."""
        for _ in range(8):
            kind, at, _ = self._record(index)
            if kind != _MODIFIER or at + 4 > len(self._records):
                break
            (index,) = struct.unpack_from("<I", self._records, at)
        found = self._structure(index)
        if found is None or not found.forward:
            return index if found is not None else None
        if found.unique_name:
            return self._unique.get(found.unique_name)
        return self._named.get(found.name)

    # --- fields ------------------------------------------------------------------------------

    def _find(self, owner: int, name: str) -> Field | None:
        return next((field for field in self._each(owner) if field.name == name), None)

    def _each(self, owner: int) -> Iterator[Field]:
        """Fields with a name: the structure's own, then those of its nameless members and bases."""
        entered = {owner}
        level = [(owner, 0)]
        while level:
            inner: list[tuple[int, int]] = []
            for index, start in level:
                structure = self._structure(index)
                for field in self._fields_of(structure) if structure else ():
                    if field.name:
                        yield Field(field.name, start + field.offset, field.type)
                        continue
                    target = self._definition(field.type)
                    if target is not None and target not in entered:
                        entered.add(target)
                        inner.append((target, start + field.offset))
            level = inner if len(entered) < _MAX_TYPES_OF_A_FIELD else []

    def _fields_of(self, structure: Structure) -> tuple[Field, ...]:
        if structure.fields not in self._fields:
            self._fields[structure.fields] = self._read_fields(structure)
        return self._fields[structure.fields]

    def _read_fields(self, structure: Structure) -> tuple[Field, ...]:
        found: list[Field] = []
        lists, seen = [structure.fields], {0}
        while lists and len(seen) <= _MAX_LISTS:
            index = lists.pop()
            if index in seen:
                continue
            seen.add(index)
            kind, at, end = self._record(index)
            try:
                if kind != _FIELD_LIST:
                    raise Broken
                fields, more = read_fields(self._records, at, end)
            except Broken:
                self._notes.append(f"the fields of {structure.name} are damaged")
                return tuple(found)
            found += fields
            lists += more
        return tuple(found)
