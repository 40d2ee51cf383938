"""TRIAGE_DUMP64: what a small dump (type 4) holds instead of physical memory."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lab.dumps.blocks import Block
from lab.dumps.header import HEADER_SIZE, DumpHeader
from lab.dumps.source import Source
from lab.model import DumpError

_MAX_DRIVERS = 4096
_MAX_BLOCKS = 1 << 16
_MAX_UNLOADED = 256
_MAX_NAME = 1024  # UTF-16 units
_KERNEL = 0xFFFF_8000_0000_0000


@dataclass(frozen=True)
class TriageDriver:
    """An entry of the driver list: a copy of the loader's record. `path` as loaded."""

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


@dataclass(frozen=True)
class Triage:
    """The parts of a small dump. Addresses are 0 or None where the dump does not tell."""

    size: int  # SizeOfDump: bytes without secondary data
    drivers: tuple[TriageDriver, ...]
    drivers_truncated: bool
    unloaded: tuple[TriageUnloaded, ...]
    verifier_level: int | None  # MmVerifyDriverLevel
    thread_address: int | None  # KTHREAD of the crashing thread
    process_address: int | None
    prcb: bytes  # copy of the KPRCB of the crashing processor, b"" when absent
    context_offset: int
    blocks: tuple[Block, ...]
    warnings: tuple[str, ...]


def read_triage(source: Source, header: DumpHeader) -> Triage:
    """Everything of a small dump. DumpError when its own header is damaged or cut off.

    Parts that are damaged are left out and named in `warnings`.
    """
    raw = source.read(HEADER_SIZE, 0x80)
    if len(raw) < 0x80:
        raise DumpError("the small dump is cut off before its contents begin")
    fields = struct.unpack_from("<18I", raw)
    valid = fields[2]
    warnings: list[str] = []
    if valid + 4 > source.size:
        warnings.append(f"the dump is cut off: {source.size} of {fields[1]} bytes are there")
    elif source.read(valid, 4) != b"TRGD":
        warnings.append("the end mark TRGD is not where the header says: the dump is damaged or not whole")
    prcb, thread, process, prcb_bytes, copies = _processor(source, header.build, fields)
    top_of_stack, page_address, page_offset, page_size = struct.unpack_from("<Q16xQII", raw, 0x48)
    debugger, debugger_size, blocks_at, blocks_count = struct.unpack_from("<4I", raw, 0x70)
    # The stack is put first: where copies overlap, the crashing thread's own is the freshest.
    blocks = [Block(top_of_stack, fields[11], fields[10])] if fields[10] else []
    blocks += copies
    if page_offset:
        blocks.append(Block(page_address, page_size, page_offset))
    if header.debugger_data and debugger:
        blocks.append(Block(header.debugger_data, debugger_size, debugger))
    blocks += _data_blocks(source, blocks_at, blocks_count, warnings)
    return Triage(
        size=fields[1],
        drivers=tuple(_drivers(source, fields[12], fields[13], fields[14], warnings)),
        drivers_truncated=fields[17] != 0xFFFF_FFFF and bool(fields[17] & 0x100),
        unloaded=tuple(_unloaded(source, fields[6])),
        verifier_level=_verifier_level(source, fields[5]),
        thread_address=thread,
        process_address=process,
        prcb=prcb_bytes if prcb else b"",
        context_offset=fields[3],
        blocks=tuple(blocks),
        warnings=tuple(warnings),
    )


def _processor(
    source: Source, build: int, fields: tuple[int, ...]
) -> tuple[int, int | None, int | None, bytes, list[Block]]:
    """Copies of KPRCB, process and thread. Their sizes are not stored: each reaches to the next part."""
    prcb, process, thread = fields[7], fields[8], fields[9]
    starts = sorted(offset for offset in (*fields[2:11], fields[12], fields[14]) if offset)

    def size_of(offset: int) -> int:
        after = next((start for start in starts if start > offset), offset)
        return min(after - offset, 0x10000)

    prcb_bytes = source.read(prcb, size_of(prcb)) if prcb else b""
    copies: list[Block] = []
    thread_address = process_address = None
    if len(prcb_bytes) >= 0x10:
        (current,) = struct.unpack_from("<Q", prcb_bytes, 8)  # KPRCB.CurrentThread
        thread_address = current if current >= _KERNEL else None
    if thread and thread_address:
        copies.append(Block(thread_address, size_of(thread), thread))
        # KTHREAD.Process; 0x210 in 7601, 0x220 since 9200.
        pointer = source.read(thread + (0x220 if build >= 9200 else 0x210), 8)
        if len(pointer) == 8 and int.from_bytes(pointer, "little") >= _KERNEL:
            process_address = int.from_bytes(pointer, "little")
    if process and process_address:
        copies.append(Block(process_address, size_of(process), process))
    return prcb, thread_address, process_address, prcb_bytes, copies


def _data_blocks(source: Source, offset: int, count: int, warnings: list[str]) -> list[Block]:
    if not offset or not count:
        return []
    raw = source.read(offset, min(count, _MAX_BLOCKS) * 16)
    if len(raw) < count * 16:
        warnings.append(f"of {count} data blocks only {len(raw) // 16} are listed")
    blocks = [Block(va, size, at) for va, at, size in struct.iter_unpack("<QII", raw[: len(raw) & ~15])]
    lost = sum(1 for block in blocks if block.offset + block.size > source.size)
    if lost:
        warnings.append(f"{lost} of {count} data blocks lie behind the end of the file")
    return blocks


def _drivers(source: Source, offset: int, count: int, names: int, warnings: list[str]) -> list[TriageDriver]:
    if not offset or not count:
        return []
    # The entry is a KLDR_DATA_TABLE_ENTRY that grew over the years; names follow the list directly.
    stride = (names - offset) // count if names > offset else 0
    if count > _MAX_DRIVERS or not 0x58 <= stride <= 0x400:
        warnings.append(f"the driver list is damaged: {count} drivers")
        return []
    drivers = []
    raw = source.read(offset, count * stride)
    for at in range(0, len(raw) - stride + 1, stride):
        (name,) = struct.unpack_from("<I", raw, at)
        base, size = struct.unpack_from("<Q8xI", raw, at + 0x38)
        (timestamp,) = struct.unpack_from("<I", raw, at + 0x88) if stride >= 0x8C else (0,)
        if base < _KERNEL or not size:
            continue
        drivers.append(TriageDriver(_name(source, name), base, size, timestamp))
    if len(drivers) < count:
        warnings.append(f"of {count} drivers only {len(drivers)} are listed")
    return drivers


def _name(source: Source, offset: int) -> str:
    """A string of the pool: u32 length in UTF-16 units, then the text."""
    raw = source.read(offset, 4)
    if len(raw) < 4:
        return ""
    units = min(int.from_bytes(raw, "little"), _MAX_NAME)
    return source.read(offset + 4, units * 2).decode("utf-16-le", "replace").rstrip("\0")


def _unloaded(source: Source, offset: int) -> list[TriageUnloaded]:
    raw = source.read(offset, 8) if offset else b""
    if len(raw) < 8:
        return []
    count = min(int.from_bytes(raw, "little"), _MAX_UNLOADED)
    table = source.read(offset + 8, count * 0x38)
    found = []
    for at in range(0, len(table) - 0x37, 0x38):
        (length,) = struct.unpack_from("<H", table, at)
        start, end = struct.unpack_from("<QQ", table, at + 0x28)
        if start < _KERNEL or end <= start:
            continue
        name = table[at + 16 : at + 16 + min(length & ~1, 24)].decode("utf-16-le", "replace")
        found.append(TriageUnloaded(name.rstrip("\0"), start, end))
    return found


def _verifier_level(source: Source, offset: int) -> int | None:
    """MmVerifyDriverLevel of DUMP_MM_STORAGE64. All ones is what Windows keeps while verifier is off."""
    raw = source.read(offset, 0x18) if offset else b""
    if len(raw) < 0x18:
        return None
    version, size, level = struct.unpack_from("<II8xI", raw)
    if version == 0 or size < 0x18 or level == 0x45474150:
        return None
    return 0 if level == 0xFFFF_FFFF else int(level)
