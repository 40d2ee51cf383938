"""A loaded PE image in dump memory: sections, PDB id, and the table of functions (.pdata)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lab.dumps.memory import Memory
from lab.model import DumpError
from lab.symbols.port import PdbId

_MAX_SECTIONS = 96  # what the loader accepts
_MAX_DEBUG_ENTRIES = 32
_MAX_IMAGE = 1 << 30
_MAX_CHAIN = 32
_EXECUTE = 0x2000_0000
_CODEVIEW = 2


@dataclass(frozen=True)
class Section:
    """A section; `rva` and `size` in memory."""

    name: str
    rva: int
    size: int
    executable: bool


@dataclass(frozen=True)
class Image:
    """PE headers. `pdata` is (RVA, size in bytes) of the function table, (0, 0) when there is none."""

    base: int
    size: int
    timestamp: int
    sections: tuple[Section, ...]
    pdata: tuple[int, int]
    pdb: PdbId | None
    resources: tuple[int, int] = (0, 0)  # (RVA, size) of the resource directory, (0, 0) when there is none

    def executable(self, rva: int) -> bool:
        """Whether `rva` lies in a section that may be executed."""
        return any(s.executable and s.rva <= rva < s.rva + s.size for s in self.sections)


@dataclass(frozen=True)
class Function:
    """A RUNTIME_FUNCTION (all RVAs). `root` is where the function that it is a part of begins.

    Code that an indirect entry stands for lies outside `begin` to `end`.
    """

    begin: int
    end: int
    unwind: int  # UNWIND_INFO
    root: int


def read_image(memory: Memory, base: int) -> Image | None:
    """The headers of the image at `base`; None when they are not in the dump or are not PE32+."""
    try:
        dos = memory.read(base, 0x40)
        (offset,) = struct.unpack_from("<I", dos, 0x3C)
        if dos[:2] != b"MZ" or offset > 0x1000:
            return None
        nt = memory.read(base + offset, 0x18 + 0xF0)
        if nt[:4] != b"PE\0\0" or struct.unpack_from("<H", nt, 0x18)[0] != 0x20B:
            return None
        sections_count, timestamp = struct.unpack_from("<HI", nt, 6)
        (optional_size,) = struct.unpack_from("<H", nt, 0x14)
        (size,) = struct.unpack_from("<I", nt, 0x18 + 0x38)
        (directories,) = struct.unpack_from("<I", nt, 0x18 + 0x6C)
        if not 0 < size <= _MAX_IMAGE:
            return None
        count = min(sections_count, _MAX_SECTIONS)
        table = memory.read(base + offset + 0x18 + optional_size, count * 40)
    except DumpError:
        return None
    directory = [struct.unpack_from("<II", nt, 0x18 + 0x70 + 8 * i) for i in range(min(directories, 7))]
    pdata, debug = _inside(directory, 3, size), _inside(directory, 6, size)
    return Image(
        base=base,
        size=size,
        timestamp=timestamp,
        sections=tuple(_section(table[i * 40 : i * 40 + 40]) for i in range(count)),
        pdata=pdata,
        pdb=_codeview(memory, base, size, debug[0], debug[1]),
        resources=_inside(directory, 2, size),
    )


def _inside(directory: list[tuple[int, int]], index: int, size: int) -> tuple[int, int]:
    """(RVA, size) of a data directory that lies inside the image; (0, 0) for one that does not exist."""
    rva, length = directory[index] if len(directory) > index else (0, 0)
    return (rva, length) if rva and rva + length <= size else (0, 0)


def _section(raw: bytes) -> Section:
    size, rva, raw_size = struct.unpack_from("<III", raw, 8)
    (flags,) = struct.unpack_from("<I", raw, 36)
    name = raw[:8].rstrip(b"\0").decode("ascii", "replace")
    return Section(name, rva, size or raw_size, bool(flags & _EXECUTE))


def _codeview(memory: Memory, base: int, image_size: int, rva: int, size: int) -> PdbId | None:
    """The RSDS record of the debug directory."""
    if not rva:
        return None
    for index in range(min(size // 28, _MAX_DEBUG_ENTRIES)):
        try:
            kind, length, data = struct.unpack_from("<III", memory.read(base + rva + 28 * index, 28), 12)
            if kind != _CODEVIEW or not 25 <= length <= 0x1000 or data + length > image_size:
                continue
            raw = memory.read(base + data, length)
        except DumpError:
            continue
        if raw[:4] == b"RSDS":
            return parse_rsds(raw)
    return None


def parse_rsds(raw: bytes) -> PdbId:
    """PDB id of a CodeView record "RSDS": GUID, age, name in UTF-8 up to a NUL."""
    first, second, third = struct.unpack_from("<IHH", raw, 4)
    guid = f"{first:08X}{second:04X}{third:04X}{raw[12:20].hex().upper()}"
    (age,) = struct.unpack_from("<I", raw, 20)
    name = raw[24:].split(b"\0", 1)[0].decode("utf-8", "replace")
    return PdbId(name.replace("\\", "/").rpartition("/")[2], guid, age, name)


def find_function(memory: Memory, image: Image, rva: int) -> Function | None:
    """The entry of .pdata that covers `rva`; None for a leaf function.

    DumpError when the table, or the part of it that matters, is not in the dump.
    """
    table, size = image.pdata
    low, high = 0, size // 12
    if not high:
        raise DumpError(f"the image at {image.base:#x} has no function table")
    while low < high:
        middle = (low + high) // 2
        begin, end, unwind = struct.unpack("<III", memory.read(image.base + table + 12 * middle, 12))
        if rva < begin:
            high = middle
        elif rva >= end:
            low = middle + 1
        else:
            return _resolved(memory, image, begin, end, unwind)
    return None


def _resolved(memory: Memory, image: Image, begin: int, end: int, unwind: int) -> Function:
    """Follow indirection and the chain of split functions, as far as the dump has them.

    An indirect entry (bit 0) stands for another one, which need not cover the same code.
    """
    for _ in range(8):
        if not unwind & 1:
            break
        begin, end, unwind = struct.unpack("<III", memory.read(image.base + (unwind & ~1), 12))
    root, info = begin, unwind
    for _ in range(_MAX_CHAIN):
        try:
            parent = chained(memory, image, info)
        except DumpError:
            break
        if parent is None:
            break
        root, _end, info = parent
    return Function(begin, end, unwind, root)


def chained(memory: Memory, image: Image, unwind: int) -> tuple[int, int, int] | None:
    """(begin, end, unwind) of the parent of a chained UNWIND_INFO; None when it is the root."""
    flags, _prologue, count, _frame = memory.read(image.base + unwind, 4)
    if not flags >> 3 & 4:  # UNW_FLAG_CHAININFO
        return None
    at = image.base + unwind + 4 + 2 * (count + (count & 1))
    begin, end, parent = struct.unpack("<III", memory.read(at, 12))
    return begin, end, parent & ~1
