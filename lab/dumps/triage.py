"""TRIAGE_DUMP64: what a small dump (type 4) holds instead of physical memory."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lab.dumps.blocks import Block
from lab.dumps.drivers import TriageDriver, TriageUnloaded, read_drivers, read_string, read_unloaded
from lab.dumps.header import HEADER_SIZE, UNSET32, DumpHeader
from lab.dumps.memory import KERNEL_SPACE
from lab.dumps.source import Source
from lab.model import DumpError

_MAX_BLOCKS = 1 << 16
_MAX_COPY = 0x10000  # bytes of a KPRCB, process or thread
_OVERFLOWED = 0x100  # of TriageOptions


@dataclass(frozen=True)
class MmStorage:
    """DUMP_MM_STORAGE64: the memory manager's numbers. Sizes are in pages; None was not written."""

    special_pool_tag: int
    action_taken: int  # MiTriageActionTaken
    verifier_level: int  # MmVerifyDriverLevel; 0 while verifier is off
    kernel_verifier: int  # not 0 when the kernel itself is verified
    nonpaged_pool_maximum: int | None = None
    nonpaged_pool: int | None = None
    paged_pool_maximum: int | None = None
    paged_pool: int | None = None
    committed: int | None = None
    committed_peak: int | None = None
    commit_limit: int | None = None


@dataclass(frozen=True)
class Triage:
    """The parts of a small dump. Addresses are 0 or None where the dump does not tell."""

    size: int  # SizeOfDump: bytes without secondary data
    service_pack: int  # ServicePackBuild
    drivers: tuple[TriageDriver, ...]
    drivers_truncated: bool
    broken_driver: str  # the driver that the system itself blames, "" when none
    unloaded: tuple[TriageUnloaded, ...]
    mm: MmStorage | None
    thread_address: int | None  # KTHREAD of the crashing thread
    process_address: int | None
    prcb: bytes  # copy of the KPRCB of the crashing processor, b"" when absent
    context_offset: int
    exception_offset: int
    stack: Block | None  # of the crashing thread, from its top as it then was
    debugger_data: Block | None  # KDDEBUGGER_DATA64
    blocks: tuple[Block, ...]  # all memory there is, the above included
    warnings: tuple[str, ...]

    @property
    def verifier_level(self) -> int | None:
        return self.mm.verifier_level if self.mm else None


def read_triage(source: Source, header: DumpHeader) -> Triage:
    """Everything of a small dump. DumpError when its own header is damaged or cut off.

    Parts that are damaged are left out and named in `warnings`. Every offset is one into the file.
    """
    raw = source.read(HEADER_SIZE, 0x80)
    if len(raw) < 0x80:
        raise DumpError("the dump is cut off before its contents begin")
    fields = struct.unpack_from("<18I", raw)
    service_pack, size, valid, context, exception, mm, unloaded, prcb, process, thread = fields[:10]
    stack_at, stack_size, list_at, count, pool, pool_size, broken, options = fields[10:]
    top_of_stack, page_address, page, page_size = struct.unpack_from("<Q16xQII", raw, 0x48)
    debugger, debugger_size, blocks_at, blocks_count = struct.unpack_from("<4I", raw, 0x70)
    warnings: list[str] = []
    if valid + 4 > source.size:
        warnings.append(f"the dump is cut off: {source.size} of {size} bytes are there")
    elif source.read(valid, 4) != b"TRGD":
        warnings.append("the end mark TRGD is not where the header says: the dump is damaged or not whole")
    starts = sorted(
        {*fields[2:11], list_at, pool, broken, page, debugger, blocks_at, min(size, source.size)} - {0}
    )
    copies = _copies(source, starts, header.build, prcb, process, thread)
    stack = Block(top_of_stack, stack_size, stack_at) if stack_at and stack_size else None
    kdbg = Block(header.debugger_data, debugger_size, debugger) if header.debugger_data and debugger else None
    data_page = Block(page_address, page_size, page) if page and page_size else None
    # The stack is put first: where copies overlap, the crashing thread's own is the freshest.
    blocks = [block for block in (stack, *copies.blocks, data_page, kdbg) if block is not None]
    blocks += _data_blocks(source, blocks_at, blocks_count, warnings)
    return Triage(
        size=size,
        service_pack=service_pack,
        drivers=read_drivers(source, list_at, count, pool, pool_size, warnings),
        drivers_truncated=options != 0xFFFF_FFFF and bool(options & _OVERFLOWED),
        broken_driver=read_string(source, broken) if broken else "",
        unloaded=read_unloaded(source, unloaded),
        mm=_mm_storage(source, mm),
        thread_address=copies.thread_address,
        process_address=copies.process_address,
        prcb=copies.prcb,
        context_offset=context,
        exception_offset=exception,
        stack=stack,
        debugger_data=kdbg,
        blocks=tuple(blocks),
        warnings=tuple(warnings),
    )


@dataclass(frozen=True)
class _Copies:
    """Copies of the crashing processor's KPRCB, and of the thread and process it ran."""

    prcb: bytes
    thread_address: int | None
    process_address: int | None
    blocks: tuple[Block, ...]


def _copies(source: Source, starts: list[int], build: int, prcb: int, process: int, thread: int) -> _Copies:
    """Their sizes are not stored: each reaches to the next part of the file."""

    def size_of(offset: int) -> int:
        after = next((start for start in starts if start > offset), offset)
        return min(after - offset, _MAX_COPY)

    raw = source.read(prcb, size_of(prcb)) if prcb else b""
    thread_address, process_address = _address(raw[8:16]), None  # KPRCB.CurrentThread
    blocks = []
    if thread and thread_address:
        blocks.append(Block(thread_address, size_of(thread), thread))
        # KTHREAD.Process; 0x210 in 7601, 0x220 since 9200.
        process_address = _address(source.read(thread + (0x220 if build >= 9200 else 0x210), 8))
    if process and process_address:
        blocks.append(Block(process_address, size_of(process), process))
    return _Copies(raw, thread_address, process_address, tuple(blocks))


def _address(raw: bytes) -> int | None:
    value = int.from_bytes(raw, "little")
    return value if len(raw) == 8 and value >= KERNEL_SPACE else None


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


def _mm_storage(source: Source, offset: int) -> MmStorage | None:
    """Version and size come first; later numbers are there as far as the size says."""
    raw = source.read(offset, 0x50) if offset else b""
    if len(raw) < 0x18:
        return None
    version, size, tag, action, level, kernel = struct.unpack_from("<6I", raw)
    if version in (0, UNSET32) or size < 0x18 or level == UNSET32:
        return None
    later = struct.unpack_from(f"<{(min(len(raw), size, 0x50) - 0x18) // 8}Q", raw, 0x18)
    # All ones is what Windows keeps as level while verifier is off.
    return MmStorage(tag, action, 0 if level == 0xFFFF_FFFF else level, kernel, *later)
