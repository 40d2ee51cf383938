"""Writing a kernel dump of any type.

DUMP_HEADER64, and behind it a page map with the pages, or what a small dump holds. Field offsets are those
that the open readers of such files agree on. Bytes that Windows does not write hold the pattern "PAGE".
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from lab.twin.crash import CrashState
from lab.twin.memory.machine import Machine, page_of, saved_context
from lab.twin.memory.pagemaps import (
    BITMAP_KERNEL,
    DUMP_TYPES,
    FULL,
    HEADER,
    KERNEL_SUMMARY,
    TRIAGE,
    page_map,
)
from lab.twin.memory.physical import PAGE
from lab.twin.memory.records import Record, filetime
from lab.twin.memory.smalldump import fields, small_dump


def usual_type(build: int) -> int:
    """The type of a kernel dump that Windows of this build writes."""
    return KERNEL_SUMMARY if build == 7601 else BITMAP_KERNEL


def write_file(machine: Machine, state: CrashState, path: Path, kind: int) -> None:
    """Write the file beside `path` and move it there when it is whole. ValueError for an unknown `kind`."""
    if kind not in DUMP_TYPES:
        raise ValueError(f"dump type {kind} is not one of {DUMP_TYPES}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as out:
        unfinished = Path(out.name)
        try:
            _write(machine, state, kind, out)
        except BaseException:
            unfinished.unlink()
            raise
    unfinished.chmod(0o644)
    unfinished.replace(path)


def _write(machine: Machine, state: CrashState, kind: int, out: IO[bytes]) -> None:
    if kind == TRIAGE:
        contents = small_dump(machine, state)
        out.write(_header(machine, state, kind, HEADER + len(contents)) + contents)
        return
    frames = machine.frames
    bits = max(first + count for first, count in machine.runs)
    between = page_map(kind, frames, bits)
    stored = sum(count for _, count in machine.runs) if kind == FULL else len(frames)
    size = HEADER + len(between) + PAGE * stored
    out.write(_header(machine, state, kind, size) + between)
    if kind != FULL:
        for frame in frames:
            out.write(page_of(machine, frame))
        return
    for frame, position in _positions(machine, frames):
        out.seek(position)
        out.write(page_of(machine, frame))
    out.truncate(size)


def _positions(machine: Machine, frames: list[int]) -> Iterator[tuple[int, int]]:
    """Each frame, and where a full dump has it: all frames of the runs one after the other."""
    start = HEADER
    left = iter(frames)
    frame = next(left, None)
    for first, count in machine.runs:
        while frame is not None and frame < first + count:
            yield frame, start + (frame - first) * PAGE
            frame = next(left, None)
        start += count * PAGE


def _header(machine: Machine, state: CrashState, kind: int, size: int) -> bytes:
    at = machine.layout
    head = Record(HEADER)
    head.bytes(0, b"PAGE" * (HEADER // 4))
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
    if kind != TRIAGE:
        runs = machine.runs
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
    head.u32(0x1038, fields(state) if kind == TRIAGE else 0)
    head.u32(0x103C, 0)
    head.u32(0x1040, 3)
    head.u32(0x1044, 0x110)
    head.u8(0x104D, 0)
    head.u32(0x1050, 8 if kind == TRIAGE else 0)
    head.u32(0x1054, state.seed % 997 + 1)
    return bytes(head.data)
