"""DUMP_HEADER64: the first 0x2000 bytes of every 64-bit kernel dump, and what they say by themselves."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

HEADER_SIZE = 0x2000
PAGE = 0x1000

COMPLETE, SUMMARY, HEADER_ONLY, TRIAGE, BITMAP_COMPLETE, BITMAP_KERNEL = 1, 2, 3, 4, 5, 6
LIVE_KERNEL, LIVE_KERNEL_USER, LIVE_COMPLETE = 8, 9, 0xA

TYPE_NAMES = {
    COMPLETE: "complete",
    SUMMARY: "kernel (summary)",
    HEADER_ONLY: "header only",
    TRIAGE: "small (triage)",
    BITMAP_COMPLETE: "complete (bitmap)",
    BITMAP_KERNEL: "kernel (bitmap)",
    7: "automatic",
    LIVE_KERNEL: "kernel, written by a debugger",
    LIVE_KERNEL_USER: "kernel and user, written by a debugger",
    LIVE_COMPLETE: "complete, written by a debugger",
}
"""DumpType in words."""

_UNSET32 = 0x45474150  # "PAGE": Windows fills the header with it before it writes fields
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
    bugcheck_parameters: tuple[int, int, int, int]
    debugger_data: int | None  # KdDebuggerDataBlock, address of KDDEBUGGER_DATA64
    runs: tuple[tuple[int, int], ...] | None  # (first page frame, pages), as physical memory lay
    run_pages: int | None  # NumberOfPages of PhysicalMemoryBlock
    exception_code: int | None
    exception_flags: int | None
    exception_address: int | None
    exception_parameters: tuple[int, ...]
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
    secondary_version: int
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
    """The header in `data`, at least 0x2000 bytes long. Signatures are the caller's to check."""
    u32, u64 = partial(_u32, data), partial(_u64, data)
    count = u32(0x88)
    runs = None
    if count is not None and count <= _MAX_RUNS:
        runs = tuple(struct.unpack_from("<QQ", data, 0x98 + 16 * i) for i in range(count))
    informations = min(u32(0xF18) or 0, 15)
    return DumpHeader(
        major_version=u32(0x8),
        build=u32(0xC) or 0,
        directory_table_base=u64(0x10),
        pfn_database=u64(0x18),
        module_list=u64(0x20),
        process_list=u64(0x28),
        machine=u32(0x30),
        processors=u32(0x34),
        bugcheck_code=u32(0x38),
        bugcheck_parameters=struct.unpack_from("<4Q", data, 0x40),
        debugger_data=u64(0x80),
        runs=runs,
        run_pages=u64(0x90),
        exception_code=u32(0xF00),
        exception_flags=u32(0xF04),
        exception_address=u64(0xF10),
        exception_parameters=struct.unpack_from(f"<{informations}Q", data, 0xF20),
        dump_type=u32(0xF98),
        required_space=u64(0xFA0),
        system_time=u64(0xFA8),
        up_time=u64(0x1030),
        comment=_comment(data[0xFB0:0x1030]),
        triage_fields=u32(0x1038),
        secondary_state=u32(0x103C),
        product_type=u32(0x1040),
        suite_mask=u32(0x1044),
        writer_status=u32(0x1048),
        secondary_version=data[0x104D],
        attributes=u32(0x1050),
        boot_id=u32(0x1054),
    )


def _u32(data: bytes, offset: int) -> int | None:
    value = int(struct.unpack_from("<I", data, offset)[0])
    return None if value == _UNSET32 else value


def _u64(data: bytes, offset: int) -> int | None:
    value = int(struct.unpack_from("<Q", data, offset)[0])
    return None if value == _UNSET64 else value


def _comment(raw: bytes) -> str:
    text = raw.split(b"\0", 1)[0]
    return "" if text.startswith(b"PAGE") else text.decode("ascii", "replace")
