"""The drivers that a small dump lists: loaded ones, and those unloaded before the stop."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lab.dumps.memory import KERNEL_SPACE
from lab.dumps.source import Source

_MAX_DRIVERS = 4096
_MAX_UNLOADED = 256
_MAX_NAME = 1024  # UTF-16 units
_SMALLEST, _LARGEST = 0x58, 0x400
_STRIDES = (0x90, 0x98, 0xA8)
"""Sizes of an entry that are known: the loader's record in it is the debugger's, or the kernel's own one."""
_TIMESTAMPS = {0x90: 0x88, 0xA8: 0xA4}
"""Size of an entry -> offset of its TimeDateStamp is. The kernel's before Windows 8 (0x98) has none."""


@dataclass(frozen=True)
class TriageDriver:
    """An entry of the driver list: a copy of the loader's record. `path` as loaded.

    `timestamp` is that of the image, in seconds since 1970 or a hash of it; 0 where the record has none.
    """

    path: str
    base: int
    size: int
    timestamp: int


@dataclass(frozen=True)
class TriageUnloaded:
    """A driver that was unloaded before the stop."""

    name: str  # at most 12 characters are kept
    start: int
    end: int


def read_drivers(
    source: Source, offset: int, count: int, pool: int, pool_size: int, warnings: list[str]
) -> tuple[TriageDriver, ...]:
    """`count` entries at file offset `offset`; their names lie in the pool of strings.

    An entry: u32 offset of its name, then KLDR_DATA_TABLE_ENTRY at +8 with DllBase +0x30, SizeOfImage +0x40
    and TimeDateStamp +0x80 in the debugger's form of it (KLDR_DATA_TABLE_ENTRY64), +0x9C in the kernel's own.
    """
    if not offset or not count:
        return ()
    stride = _stride(source, offset, count, pool, pool_size)
    if stride is None:
        warnings.append(f"the driver list is damaged: {count} drivers")
        return ()
    drivers = []
    raw = source.read(offset, count * stride)
    names = source.read(pool, min(pool_size, _MAX_DRIVERS * 2 * _MAX_NAME)) if pool else b""
    for at in range(0, len(raw) - stride + 1, stride):
        (name,) = struct.unpack_from("<I", raw, at)
        base, size = struct.unpack_from("<Q8xI", raw, at + 0x38)
        stamp = at + _TIMESTAMPS[stride] if stride in _TIMESTAMPS else None
        timestamp = struct.unpack_from("<I", raw, stamp)[0] if stamp is not None else 0
        if base < KERNEL_SPACE or not size:
            continue
        inside = name - pool
        text = _string(names, inside) if 0 <= inside < len(names) else read_string(source, name)
        drivers.append(TriageDriver(text, base, size, timestamp))
    if len(drivers) < count:
        warnings.append(f"of {count} drivers only {len(drivers)} are listed")
    return tuple(drivers)


def _stride(source: Source, offset: int, count: int, pool: int, pool_size: int) -> int | None:
    """Bytes of an entry; None when the list makes no sense.

    Names follow the list directly, so that its length tells. Where the entries then are no drivers, it is
    the known size with which they are.
    """
    if count > _MAX_DRIVERS:
        return None
    derived = (pool - offset) // count if pool > offset else 0
    names = range(pool, pool + pool_size)
    for stride in (derived, *_STRIDES):
        if _SMALLEST <= stride <= _LARGEST and all(
            _is_driver(source.read(offset + index * stride, _SMALLEST), names)
            for index in {0, min(1, count - 1), count - 1}
        ):
            return stride
    return derived if _SMALLEST <= derived <= _LARGEST else None


def _is_driver(entry: bytes, names: range) -> bool:
    if len(entry) < _SMALLEST:
        return False
    name, base, size = struct.unpack_from("<I52xQ8xI", entry)
    return name in names and base >= KERNEL_SPACE and base & 0xFFF == 0 and size > 0


def read_string(source: Source, offset: int) -> str:
    """DUMP_STRING at a file offset: u32 length in UTF-16 units, then the text."""
    return _string(source.read(offset, 4 + 2 * _MAX_NAME), 0)


def _string(data: bytes, at: int) -> str:
    units = min(int.from_bytes(data[at : at + 4], "little"), _MAX_NAME)
    return data[at + 4 : at + 4 + units * 2].decode("utf-16-le", "replace").rstrip("\0")


def read_unloaded(source: Source, offset: int) -> tuple[TriageUnloaded, ...]:
    """u64 count, then DUMP_UNLOADED_DRIVERS64 of 0x38 bytes each."""
    raw = source.read(offset, 8) if offset else b""
    if len(raw) < 8:
        return ()
    count = min(int.from_bytes(raw, "little"), _MAX_UNLOADED)
    table = source.read(offset + 8, count * 0x38)
    found = []
    for at in range(0, len(table) - 0x37, 0x38):
        (length,) = struct.unpack_from("<H", table, at)
        start, end = struct.unpack_from("<QQ", table, at + 0x28)
        if start < KERNEL_SPACE or end <= start:
            continue
        name = table[at + 16 : at + 16 + min(length & ~1, 24)].decode("utf-16-le", "replace")
        found.append(TriageUnloaded(name.rstrip("\0"), start, end))
    return tuple(found)
