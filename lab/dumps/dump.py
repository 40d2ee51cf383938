"""A dump file, opened: header, facts, memory, processor context."""

from __future__ import annotations

import struct
from functools import cached_property
from pathlib import Path
from types import TracebackType

from lab.dumps.blocks import Block, BlockMemory
from lab.dumps.context import CONTEXT_SIZE, Context, parse_context
from lab.dumps.header import (
    BITMAP_COMPLETE,
    BITMAP_KERNEL,
    COMPLETE,
    HEADER_ONLY,
    HEADER_SIZE,
    LIVE_COMPLETE,
    LIVE_KERNEL,
    LIVE_KERNEL_USER,
    SUMMARY,
    TRIAGE,
    DumpHeader,
    parse_header,
)
from lab.dumps.memory import Memory
from lab.dumps.physical import BitmapMap, PageMap, Physical, RunMap, bitmap_layouts, live_runs
from lab.dumps.source import FileSource, Source
from lab.dumps.triage import Triage, read_triage
from lab.dumps.virtual import PagedMemory
from lab.model import Bugcheck, DumpError, DumpFacts

_X64, _ARM64, _X86 = 0x8664, 0xAA64, 0x14C
_MACHINES = {_X64: "x64", _ARM64: "ARM64", _X86: "x86", 0x200: "Itanium", 0x1C4: "ARM"}
_LIVE_TYPES = (LIVE_KERNEL, LIVE_KERNEL_USER, LIVE_COMPLETE)


class Dump:
    """An opened 64-bit kernel dump. A context manager; use `open_dump` to make one.

    `physical` is None for small dumps and where there are no pages; `triage` is None for all others.
    `problems` say in which way the dump is not whole; empty when it is.
    """

    def __init__(self, source: Source, path: Path, header: DumpHeader) -> None:
        self._source = source
        self.path = path
        self.header = header
        self.physical: Physical | None = None
        self.triage: Triage | None = None
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def __enter__(self) -> Dump:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._source.close()

    @cached_property
    def memory(self) -> Memory:
        """Virtual memory of the crashing processor's context."""
        if self.physical is not None:
            return PagedMemory(self.physical, self.header.directory_table_base or 0)
        blocks: list[Block] = list(self.triage.blocks) if self.triage else []
        return BlockMemory(self._source, blocks)

    @cached_property
    def context(self) -> Context:
        """Registers of the processor that stopped. DumpError when the dump has none."""
        offset = 0x348
        if self.triage is not None and self.triage.context_offset:
            offset = self.triage.context_offset
        return parse_context(self._source.read(offset, CONTEXT_SIZE))

    @property
    def bugcheck(self) -> Bugcheck:
        """The stop, as the header has it. Code 0 when it was never written."""
        return Bugcheck(self.header.bugcheck_code or 0, self.header.bugcheck_parameters)

    def facts(self) -> DumpFacts:
        """The file itself, as plain values."""
        header = self.header
        return DumpFacts(
            path=str(self.path),
            size=self._source.size,
            dump_type=header.dump_type or 0,
            dump_type_name=header.type_name,
            build=header.build,
            machine=_MACHINES.get(header.machine or 0, f"{header.machine or 0:#x}"),
            processors=header.processors or 0,
            system_time=header.system_time_iso,
            uptime=header.up_seconds,
            complete=not self.problems,
            warnings=(*self.problems, *self.warnings),
        )


def open_dump(path: Path | str, *, allow_incomplete: bool = False) -> Dump:
    """Open a 64-bit kernel dump of any type.

    DumpError says what the file is instead, or in which way it is not whole. With `allow_incomplete`
    a dump that is cut off, unfinished, encrypted or only a header is opened all the same: `facts()`
    says so, and reads of what lacks raise NotInDump. ConfigurationError when there is no such file.
    """
    path = Path(path)
    source = FileSource(path)
    try:
        dump = Dump(source, path, _checked_header(source, path))
        try:
            _load(dump, source)
        except struct.error as error:  # a field behind the end of the file
            raise DumpError(f"{path.name} is damaged: {error}") from error
        if dump.problems and not allow_incomplete:
            raise DumpError(f"{path.name}: {dump.problems[0]}")
    except BaseException:
        source.close()
        raise
    return dump


def _checked_header(source: Source, path: Path) -> DumpHeader:
    """The header, if the file is a 64-bit x64 kernel dump at all; else DumpError with what it is."""
    start = source.read(0, HEADER_SIZE)
    name = path.name
    if not start:
        raise DumpError(f"{name} is empty", help="Wait until Windows has written the dump, or copy it again.")
    if start[:4] == b"MDMP":
        raise DumpError(
            f"{name} is a dump of a user-mode process, not of the kernel",
            help="It can be summarised; for a kernel crash take MEMORY.DMP or a file of Minidump.",
        )
    if start[:8] == b"PAGEDUMP":
        raise DumpError(
            f"{name} is a dump of a 32-bit system; only x64 systems are supported",
            help="Use the debugger of the Windows SDK for it.",
        )
    if start[:8] != b"PAGEDU64":
        if start[:4] == b"PAGE" or not any(start):
            raise DumpError(
                f"{name} is still being written: its header is not finished",
                help="Wait until the file no longer grows and its writer has closed it.",
            )
        raise DumpError(
            f"{name} is not a Windows dump: it begins with {start[:8]!r}", help="Give a .dmp file."
        )
    if len(start) < HEADER_SIZE:
        raise DumpError(f"{name} is cut off within its header: {len(start)} of {HEADER_SIZE} bytes are there")
    header = parse_header(start)
    if header.machine is not None and header.machine != _X64:
        machine = _MACHINES.get(header.machine, f"machine type {header.machine:#x}")
        raise DumpError(
            f"{name} is a dump of an {machine} system; only x64 systems are supported",
            help="Use the debugger of the Windows SDK for it.",
        )
    return header


def _load(dump: Dump, source: Source) -> None:
    header = dump.header
    kind = header.dump_type
    if kind is None:
        dump.problems.append("the dump is still being written: its type is not set yet")
        return
    if header.encrypted:
        dump.problems.append("the dump is encrypted: decrypt it with the key of the machine that wrote it")
        return
    if header.ran_out_of_space:
        dump.warnings.append("the dump file was too small: Windows left pages out")
    if kind == HEADER_ONLY or (source.size <= HEADER_SIZE and kind != TRIAGE):
        dump.problems.append("the dump holds only its header, no memory")
        return
    if kind == TRIAGE:
        _load_triage(dump, source)
        return
    if kind not in (COMPLETE, SUMMARY, BITMAP_COMPLETE, BITMAP_KERNEL, *_LIVE_TYPES):
        raise DumpError(f"{dump.path.name}: there is no dump type {kind:#x}", help="Use the debugger for it.")
    pages = _page_map(dump, source, kind)
    if pages is None:
        return
    dump.physical = Physical(source, pages)
    if pages.end > source.size:
        share = 100 * source.size // pages.end
        dump.problems.append(f"the dump is cut off: {source.size} of {pages.end} bytes are there ({share} %)")
    root = header.directory_table_base
    if root is None:
        dump.problems.append("the header does not say where the page tables are")
    elif pages.offset_of((root & 0x000F_FFFF_FFFF_F000) >> 12) is None:
        dump.problems.append("the root of the page tables is not in the dump: no address can be read")


def _page_map(dump: Dump, source: Source, kind: int) -> PageMap | None:
    header = dump.header
    name = dump.path.name
    if kind == COMPLETE:
        if header.runs is None:
            raise DumpError(f"{name} is damaged: its table of memory runs is not readable")
        runs = RunMap(list(header.runs), HEADER_SIZE)
        if header.run_pages is not None and runs.pages != header.run_pages:
            dump.warnings.append(f"the header counts {header.run_pages} pages, its memory runs {runs.pages}")
        return runs
    if kind in _LIVE_TYPES:
        start = source.read(0, 0x2040)
        if len(start) < 0x2040:
            dump.problems.append("the dump is cut off within its second header")
            return None
        first = min(int.from_bytes(start[0x2018:0x2020], "little"), 1 << 22)
        live, data = live_runs(source.read(0, first), kind, source.size)
        return RunMap(live, data)
    start = source.read(0, HEADER_SIZE + 0x38)
    if len(start) < HEADER_SIZE + 0x38:
        dump.problems.append("the dump is cut off within its second header")
        return None
    layouts = bitmap_layouts(start, kind)
    if not layouts:
        raise DumpError(f"{name} is damaged: its second header makes no sense")
    maps = []
    for layout in layouts:
        if layout.bitmap + layout.bytes > source.size:
            dump.problems.append("the dump is cut off within its page bitmap")
            return None
        maps.append(BitmapMap(source, layout))
        if maps[-1].pages == layout.pages:
            return maps[-1]
    dump.problems.append(
        f"the page bitmap is damaged: {maps[0].pages} pages are marked, the header counts {layouts[0].pages}"
    )
    return maps[0]


def _load_triage(dump: Dump, source: Source) -> None:
    if source.size < HEADER_SIZE + 0x80:
        dump.problems.append("the dump is cut off before its contents begin")
        return
    dump.triage = read_triage(source, dump.header)
    dump.problems.extend(dump.triage.warnings)
    if dump.triage.drivers_truncated:
        dump.warnings.append("the driver list is not whole: it did not fit into the small dump")
