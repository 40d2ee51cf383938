"""Writing a kernel dump: type 2 (kernel summary, 2008 R2) and type 6 (kernel bitmap, since 2012).

DUMP_HEADER64, and behind it the page map. The field offsets are those that the open readers of such files
agree on. Bytes that Windows does not write hold the pattern "PAGE".
"""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

from lab.twin.crash import CrashState
from lab.twin.memory.machine import Machine, saved_context, stored_pages
from lab.twin.memory.physical import PAGE
from lab.twin.memory.records import Record, filetime, up

KERNEL_SUMMARY, KERNEL_BITMAP = 2, 6
_HEADER = 0x2000


def write_file(machine: Machine, state: CrashState, path: Path) -> None:
    """Write the file beside `path` and move it there when it is whole."""
    frames = sorted({*machine.memory.pages, *machine.memory.lazy})
    bits = max(first + count for first, count in machine.memory.runs)
    bitmap = bytearray(-(-bits // 8))
    for frame in frames:
        bitmap[frame >> 3] |= 1 << (frame & 7)
    kind = KERNEL_SUMMARY if state.build == 7601 else KERNEL_BITMAP
    first_page = up(_HEADER + 0x38 + len(bitmap))
    size = first_page + PAGE * len(frames)
    head = Record(first_page)
    head.bytes(0, _header(machine, state, kind, size))
    head.bytes(_HEADER, _page_map(kind, first_page, len(frames), bits) + bitmap)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as out:
        unfinished = Path(out.name)
        try:
            out.write(head.data)
            for _, page in stored_pages(machine):
                out.write(page)
        except BaseException:
            unfinished.unlink()
            raise
    unfinished.chmod(0o644)
    unfinished.replace(path)


def _page_map(kind: int, first_page: int, pages: int, bits: int) -> bytes:
    if kind == KERNEL_SUMMARY:
        return struct.pack("<4s4sIIIIIIQ", b"SDMP", b"DUMP", 1, first_page, bits, pages, bits, 0, 0)
    return struct.pack("<4s4sI20xQQQ", b"SDMP", b"DUMP", 0, first_page, pages, bits)


def _header(machine: Machine, state: CrashState, kind: int, size: int) -> bytes:
    at = machine.layout
    head = Record(_HEADER)
    head.bytes(0, b"PAGE" * (_HEADER // 4))
    head.bytes(0, b"PAGEDU64")
    head.u32(0x8, 0xF)
    head.u32(0xC, state.build)
    head.u64(0x10, at.cr3)
    head.u64(0x18, at.pfn_database)
    head.u64(0x20, at.variable("PsLoadedModuleList"))
    head.u64(0x28, at.variable("PsActiveProcessHead"))
    head.u32(0x30, 0x8664)
    head.u32(0x34, state.processors)
    head.u32(0x38, machine.code)
    head.bytes(0x40, struct.pack("<4Q", *machine.parameters))
    head.u8(0x60, 0)
    head.u64(0x80, at.variable("KdDebuggerDataBlock"))
    runs = machine.memory.runs
    head.u32(0x88, len(runs))
    head.u64(0x90, sum(count for _, count in runs))
    for index, run in enumerate(runs):
        head.bytes(0x98 + 16 * index, struct.pack("<QQ", *run))
    head.bytes(0x348, saved_context(machine))
    head.bytes(0xF00, struct.pack("<IIQQI4x", 0x80000003, 1, 0, machine.registers.rip, 0) + bytes(120))
    head.u32(0xF98, kind)
    head.u64(0xFA0, size)
    head.u64(0xFA8, filetime(state.system_time))
    head.bytes(0xFB0, bytes(4))
    head.u64(0x1030, int(state.uptime_seconds * 10_000_000))
    head.u32(0x1038, 0)
    head.u32(0x103C, 0)
    head.u32(0x1040, 3)
    head.u32(0x1044, 0x110)
    head.u8(0x104D, 0)
    head.u32(0x1050, 0)
    head.u32(0x1054, state.seed % 997 + 1)
    return bytes(head.data)
