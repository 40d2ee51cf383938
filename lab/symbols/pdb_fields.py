"""The parts of a CodeView type record: numbers, names, and the entries of a field list."""

from __future__ import annotations

import struct
from typing import NamedTuple


class Broken(Exception):
    """A record does not hold what its kind says."""


class Field(NamedTuple):
    """A data member, or a base class (`base`); a nameless member is an anonymous structure."""

    name: str
    offset: int
    type: int
    base: bool = False


_NUMBERS = {
    0x8000: struct.Struct("<b"),  # LF_CHAR
    0x8001: struct.Struct("<h"),
    0x8002: struct.Struct("<H"),
    0x8003: struct.Struct("<i"),
    0x8004: struct.Struct("<I"),
    0x8009: struct.Struct("<q"),  # LF_QUADWORD
    0x800A: struct.Struct("<Q"),
}
_WORD = struct.Struct("<H")
_HEAD = struct.Struct("<HHI")  # kind, attributes, type index

# Entries of a field list by what follows kind, attributes and type index.
_MEMBER = 0x150D  # offset, name
_BASES = frozenset((0x1400, 0x151A))  # LF_BCLASS, LF_BINTERFACE: offset
_VIRTUAL_BASES = frozenset((0x1401, 0x1402))  # pointer's type, two numbers
_INDEX = 0x1404  # the list goes on in another one
_NOTHING = frozenset((0x1409, 0x140A))  # LF_VFUNCTAB, LF_FRIENDCLS
_VFUNCOFF = 0x140C  # offset, 32 bits
_NAME = frozenset((0x150C, 0x150E, 0x150F, 0x1510, 0x1512, 0x1513))
"""LF_FRIENDFCN, LF_STMEMBER, LF_METHOD, LF_NESTTYPE, LF_NESTTYPEEX, LF_MEMBERMODIFY: a name."""
_ONE_METHOD = 0x1511  # offset in the table if it introduces a virtual function, name
_INTRODUCES = (4, 6)
_ENUMERATE = 0x1502  # number and name, right after the attributes


def numeric(data: bytes, at: int, end: int) -> tuple[int, int]:
    """(value, position behind it) of a numeric leaf."""
    if at + 2 > end:
        raise Broken
    (value,) = _WORD.unpack_from(data, at)
    if value < 0x8000:
        return value, at + 2
    form = _NUMBERS.get(value)
    if form is None or at + 2 + form.size > end:
        raise Broken
    return form.unpack_from(data, at + 2)[0], at + 2 + form.size


def cstring(data: bytes, at: int, end: int) -> tuple[str, int]:
    """(text, position behind its zero)."""
    stop = data.find(b"\0", at, end)
    if stop < 0:
        raise Broken
    return str(data[at:stop], "utf-8", "replace"), stop + 1


def read_fields(data: bytes, at: int, end: int) -> tuple[list[Field], list[int]]:
    """(data members and bases, lists where this field list goes on) of `data[at:end]`.

    Methods, nested types, static members and enumerators are passed over; a virtual base has no fixed
    offset, so it is left out. Raises Broken.
    """
    fields: list[Field] = []
    more: list[int] = []
    while at < end:
        if data[at] >= 0xF0:  # LF_PAD1 ...: so many bytes up to the next entry
            at += max(data[at] & 0xF, 1)
            continue
        if at + 4 > end:
            raise Broken
        if _WORD.unpack_from(data, at)[0] == _ENUMERATE:
            _, at = numeric(data, at + 4, end)
            _, at = cstring(data, at, end)
            continue
        if at + 8 > end:
            raise Broken
        kind, attributes, index = _HEAD.unpack_from(data, at)
        at += 8
        if kind == _MEMBER:
            offset, at = numeric(data, at, end)
            name, at = cstring(data, at, end)
            fields.append(Field(name, offset, index))
        elif kind in _NAME:
            _, at = cstring(data, at, end)
        elif kind == _ONE_METHOD:
            at += 4 if attributes >> 2 & 7 in _INTRODUCES else 0
            _, at = cstring(data, at, end)
        elif kind in _BASES:
            offset, at = numeric(data, at, end)
            fields.append(Field("", offset, index, base=True))
        elif kind in _VIRTUAL_BASES:
            _, at = numeric(data, at + 4, end)
            _, at = numeric(data, at, end)
        elif kind == _INDEX:
            more.append(index)
        elif kind == _VFUNCOFF:
            at += 4
        elif kind not in _NOTHING:
            raise Broken
    return fields, more
