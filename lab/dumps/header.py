"""DUMP_HEADER64: the first 0x2000 bytes of every 64-bit kernel dump, and what they say by themselves."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

HEADER_SIZE = 0x2000
PAGE = 0x1000

COMPLETE, SUMMARY, HEADER_ONLY, TRIAGE, BITMAP_COMPLETE, BITMAP_KERNEL = 1, 2, 3, 4, 5, 6
AUTOMATIC, LIVE_KERNEL, LIVE_KERNEL_USER, LIVE_COMPLETE = 7, 8, 9, 0xA

BITMAP_TYPES = frozenset({SUMMARY, BITMAP_COMPLETE, BITMAP_KERNEL, AUTOMATIC})
"""A bitmap tells which pages follow. Type 7 is a name only: Windows writes 6 for it."""

RANGE_TYPES = frozenset({LIVE_KERNEL, LIVE_KERNEL_USER, LIVE_COMPLETE})
"""A table of page ranges (RDMP), as debuggers write it since 2022."""

TYPE_NAMES = {
    COMPLETE: "complete",
    SUMMARY: "kernel (summary)",
    HEADER_ONLY: "header only",
    TRIAGE: "small (triage)",
    BITMAP_COMPLETE: "complete (bitmap)",
    BITMAP_KERNEL: "kernel (bitmap)",
    AUTOMATIC: "automatic",
    LIVE_KERNEL: "kernel, written by a debugger",
    LIVE_KERNEL_USER: "kernel and user, written by a debugger",
    LIVE_COMPLETE: "complete, written by a debugger",
}
"""DumpType in words."""

_PATTERN = b"PAGE" * (HEADER_SIZE // 4)
UNSET32 = 0x45474150
"""The pattern PAGE, with which Windows fills all before it writes fields."""
_UNSET64 = 0x4547415045474150
_MAX_RUNS = 42  # what fits into the 700 bytes of PhysicalMemoryBlockBuffer

INSUFFICIENT_SPACE = 1 << 2
ENCRYPTED = 1 << 8
DECRYPTED = 1 << 9


@dataclass(frozen=True)
class DumpHeader:
    """Fields of DUMP_HEADER64. A field that was never written (the pattern `PAGE`) is None."""

    major_version: int | None
    build: int  # MinorVersion, the NT build number; 0 when never written
    directory_table_base: int | None  # CR3 of the crashing processor
    pfn_database: int | None
    module_list: int | None  # PsLoadedModuleList, address of the list head
    process_list: int | None  # PsActiveProcessHead, address of the list head
    machine: int | None
    processors: int | None
    bugcheck_code: int | None
    bugcheck_parameters: tuple[int, int, int, int]  # 0 where never written
    debugger_data: int | None  # KdDebuggerDataBlock, address of KDDEBUGGER_DATA64
    runs: tuple[tuple[int, int], ...] | None  # (first page frame, pages), as physical memory lay
    run_pages: int | None  # NumberOfPages of PhysicalMemoryBlock
    dump_type: int | None
    required_space: int | None  # bytes the writer wanted; a small dump may be smaller
    system_time: int | None  # FILETIME
    up_time: int | None  # in 100 ns
    comment: str
    triage_fields: int | None  # MiniDumpFields
    secondary_state: int | None
    product_type: int | None
    suite_mask: int | None
    writer_status: int | None
    secondary_version: int | None  # KdSecondaryVersion
    attributes: int | None
    boot_id: int | None

    @property
    def type_name(self) -> str:
        if self.dump_type is None:
            return "not set"
        return TYPE_NAMES.get(self.dump_type, f"unknown ({self.dump_type:#x})")

    @property
    def system_time_iso(self) -> str:
        """When the system stopped, UTC, ISO 8601; "" when unknown or impossible."""
        return filetime_iso(self.system_time)

    @property
    def up_seconds(self) -> float:
        """Seconds since the boot; 0.0 when unknown."""
        return (self.up_time or 0) / 10_000_000

    @property
    def encrypted(self) -> bool:
        attributes = self.attributes or 0
        return bool(attributes & ENCRYPTED) and not attributes & DECRYPTED

    @property
    def ran_out_of_space(self) -> bool:
        """The writer left pages out because the dump file was too small."""
        return bool((self.attributes or 0) & INSUFFICIENT_SPACE)


def filetime_iso(filetime: int | None) -> str:
    """FILETIME (100 ns since 1601) as UTC ISO 8601 to the second; "" when absent or impossible."""
    if not filetime:
        return ""
    try:
        moment = datetime(1601, 1, 1, tzinfo=UTC) + timedelta(microseconds=filetime // 10)
    except OverflowError:
        return ""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def parse_header(data: bytes) -> DumpHeader:
    """The header in `data`. Signatures are the caller's to check; what lies behind its end is unset."""
    data = data[:HEADER_SIZE] + _PATTERN[len(data) :]
    major, build, table, pfns, modules, processes, machine, processors, code = _FIRST.unpack_from(data, 8)
    one, two, three, four = struct.unpack_from("<4Q", data, 0x40)
    count, run_pages = struct.unpack_from("<I4xQ", data, 0x88)
    runs = None
    if count <= _MAX_RUNS:
        runs = tuple(struct.iter_unpack("<QQ", data[0x98 : 0x98 + 16 * count]))
    kind, space, time = struct.unpack_from("<I4xQQ", data, 0xF98)
    up, fields, secondary, product, suite, status, attributes, boot = _LAST.unpack_from(data, 0x1030)
    return DumpHeader(
        major_version=_u32(major),
        build=_u32(build) or 0,
        directory_table_base=_u64(table),
        pfn_database=_u64(pfns),
        module_list=_u64(modules),
        process_list=_u64(processes),
        machine=_u32(machine),
        processors=_u32(processors),
        bugcheck_code=_u32(code),
        bugcheck_parameters=(_u64(one) or 0, _u64(two) or 0, _u64(three) or 0, _u64(four) or 0),
        debugger_data=_u64(int.from_bytes(data[0x80:0x88], "little")),
        runs=runs,
        run_pages=_u64(run_pages),
        dump_type=_u32(kind),
        required_space=_u64(space),
        system_time=_u64(time),
        up_time=_u64(up),
        comment=_comment(data[0xFB0:0x1030]),
        triage_fields=_u32(fields),
        secondary_state=_u32(secondary),
        product_type=_u32(product),
        suite_mask=_u32(suite),
        writer_status=_u32(status),
        secondary_version=None if data[0x104C:0x1050] == b"PAGE" else data[0x104D],
        attributes=_u32(attributes),
        boot_id=_u32(boot),
    )


def parse_header32(data: bytes) -> DumpHeader:
    """What DUMP_HEADER32 (0x1000 bytes, 32-bit systems) says of the stop; the rest is None."""
    data = data[:0x1000] + _PATTERN[len(data) : 0x1000]
    major, build, machine, processors, code = struct.unpack_from("<II16xIII", data, 8)
    one, two, three, four = struct.unpack_from("<4I", data, 0x2C)
    (kind,) = struct.unpack_from("<I", data, 0xF88)
    space, up, time = struct.unpack_from("<Q16xQQ", data, 0xFA0)
    return DumpHeader(
        major_version=_u32(major),
        build=_u32(build) or 0,
        directory_table_base=None,
        pfn_database=None,
        module_list=None,
        process_list=None,
        machine=_u32(machine),
        processors=_u32(processors),
        bugcheck_code=_u32(code),
        bugcheck_parameters=(_u32(one) or 0, _u32(two) or 0, _u32(three) or 0, _u32(four) or 0),
        debugger_data=None,
        runs=None,
        run_pages=None,
        dump_type=_u32(kind),
        required_space=_u64(space),
        system_time=_u64(time),
        up_time=_u64(up),
        comment=_comment(data[0x820:0x8A0]),
        triage_fields=None,
        secondary_state=None,
        product_type=None,
        suite_mask=None,
        writer_status=None,
        secondary_version=None,
        attributes=None,
        boot_id=None,
    )


_FIRST = struct.Struct("<IIQQQQIII")
_LAST = struct.Struct("<QIIIII4xII")


def _u32(value: int) -> int | None:
    return None if value == UNSET32 else value


def _u64(value: int) -> int | None:
    return None if value == _UNSET64 else value


def _comment(raw: bytes) -> str:
    text = raw.split(b"\0", 1)[0]
    return "" if text.startswith(b"PAGE") else text.decode("ascii", "replace")
