"""A dump file, opened: header, facts, memory, processor context."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from types import TracebackType

from lab.dumps.blocks import BlockMemory
from lab.dumps.contents import Contents, read_contents
from lab.dumps.context import CONTEXT_SIZE, Context, parse_context
from lab.dumps.defects import Defect, DefectiveDump, Finding, Severity
from lab.dumps.exception import EXCEPTION_SIZE, ExceptionRecord, parse_exception
from lab.dumps.foreign import MACHINES, X64, look
from lab.dumps.header import HEADER_SIZE, DumpHeader
from lab.dumps.memory import Memory
from lab.dumps.paging import Paging, find_paging
from lab.dumps.physical import Physical
from lab.dumps.secondary import Blob, read_blobs
from lab.dumps.source import FileSource, Source
from lab.dumps.triage import Triage
from lab.dumps.virtual import PagedMemory
from lab.model import Bugcheck, DumpError, DumpFacts

_CONTEXT, _EXCEPTION = 0x348, 0xF00
_MAX_BLOB = 64 << 20


class Dump:
    """An opened kernel dump. A context manager; use `open_dump` to make one.

    `physical` is None for small dumps and where there are no pages; `triage` is None for all others.
    """

    def __init__(self, source: Source, path: Path, header: DumpHeader, contents: Contents) -> None:
        self._source = source
        self._contents = contents
        self.path = path
        self.header = header

    def __enter__(self) -> Dump:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._source.close()

    # --- what is wrong with it ---------------------------------------------------------------

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """Everything that is wrong with the file; remarks last."""
        found = list(self._contents.findings)
        if self.physical is not None and not self.problems and not self.paging.readable:
            sentence = "no list of the kernel can be read through the page tables of the header"
            found.append(Finding(Defect.KERNEL_UNREADABLE, sentence))
        return tuple(sorted(found, key=lambda finding: finding.defect.severity is Severity.REMARK))

    @property
    def defects(self) -> tuple[Defect, ...]:
        return tuple(dict.fromkeys(finding.defect for finding in self.findings))

    @property
    def problems(self) -> tuple[str, ...]:
        """In which ways the dump is not whole; empty when it is."""
        found = self._contents.findings
        return tuple(f.sentence for f in found if f.defect.severity is Severity.INCOMPLETE)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What else is worth knowing of it."""
        return tuple(f.sentence for f in self.findings if f.defect.severity is Severity.REMARK)

    # --- memory ------------------------------------------------------------------------------

    @property
    def physical(self) -> Physical | None:
        return self._contents.physical

    @property
    def triage(self) -> Triage | None:
        return self._contents.triage

    @cached_property
    def memory(self) -> Memory:
        """Virtual memory of the crashing processor's context."""
        if self.physical is not None:
            return self.with_root(self.header.directory_table_base or 0)
        return BlockMemory(self._source, list(self.triage.blocks) if self.triage else [])

    def with_root(self, root: int) -> PagedMemory:
        """Virtual memory as the page tables of `root` map it: a CR3, or KPROCESS.DirectoryTableBase.

        For other processes; and for the kernel, when the header has a CR3 that maps only user space (a
        snapshot taken while a user-mode thread ran). DumpError when the dump has no physical pages.
        """
        if self.physical is None:
            raise DumpError(f"{self.path.name} holds no physical pages: it has no page tables")
        paging = self.paging if self.paging.readable else find_paging(self.physical, root, self.header)
        return PagedMemory(self.physical, root, paging.levels)

    @cached_property
    def paging(self) -> Paging:
        """Levels of the page tables. Four where nothing tells."""
        root = self.header.directory_table_base
        if self.physical is None or root is None:
            return Paging(4, False)
        return find_paging(self.physical, root, self.header)

    # --- the stop ----------------------------------------------------------------------------

    @cached_property
    def context(self) -> Context:
        """Registers of the processor that stopped. DumpError when the dump has none."""
        if self.header.machine not in (None, X64):
            raise DumpError(f"{self.path.name} holds no registers of an x64 processor")
        offset = (self.triage.context_offset if self.triage else 0) or _CONTEXT
        return parse_context(self._source.read(offset, CONTEXT_SIZE))

    @cached_property
    def exception(self) -> ExceptionRecord | None:
        """The exception record of the header; None when there is none."""
        if self.header.machine not in (None, X64):
            return None
        offset = (self.triage.exception_offset if self.triage else 0) or _EXCEPTION
        return parse_exception(self._source.read(offset, EXCEPTION_SIZE))

    @property
    def bugcheck(self) -> Bugcheck:
        """The stop, as the header has it. Zeros where it was never written."""
        return Bugcheck(self.header.bugcheck_code or 0, self.header.bugcheck_parameters)

    # --- secondary data ----------------------------------------------------------------------

    @cached_property
    def blobs(self) -> tuple[Blob, ...]:
        """What drivers added in their bugcheck callbacks, behind the last page or the small dump."""
        if self.physical is not None:
            return read_blobs(self._source, self.physical.map.end)
        return read_blobs(self._source, self.triage.size) if self.triage else ()

    def blob_bytes(self, blob: Blob) -> bytes:
        """The bytes of one of `blobs`, at most 64 MiB."""
        return self._source.read(blob.offset, min(blob.size, _MAX_BLOB))

    def facts(self) -> DumpFacts:
        """The file itself, as plain values."""
        header = self.header
        return DumpFacts(
            path=str(self.path),
            size=self._source.size,
            dump_type=header.dump_type or 0,
            dump_type_name=header.type_name,
            build=header.build,
            machine=MACHINES.get(header.machine or 0, f"{header.machine or 0:#x}"),
            processors=header.processors or 0,
            system_time=header.system_time_iso,
            uptime=header.up_seconds,
            complete=not self.problems,
            warnings=(*self.problems, *self.warnings),
            defects=tuple(defect.id for defect in self.defects),
        )


def open_dump(file: Path | str | Source, *, name: str = "", allow_incomplete: bool = False) -> Dump:
    """Open a kernel dump of any type, at a path or over any random-access file.

    `name` is what messages call it; a path's own name is the default. A source is closed with the dump,
    and also when this fails. DefectiveDump (a DumpError) says what the file is instead, or in which way it
    is not whole; with `allow_incomplete` whatever says anything of a kernel is opened: `defects` say what
    is wrong, and reads of what lacks raise NotInDump. ConfigurationError when there is no such file.
    """
    if isinstance(file, str | Path):
        path = Path(name or file)
        source: Source = FileSource(Path(file))
    else:
        path, source = Path(name or "dump"), file
    try:
        header, finding = look(source.read(0, HEADER_SIZE), source.size)
        if header is None or (finding is not None and not allow_incomplete):
            assert finding is not None
            raise DefectiveDump(path.name, finding)
        contents = Contents(findings=[finding]) if finding else read_contents(source, header)
        dump = Dump(source, path, header, contents)
        if dump.problems and not allow_incomplete:
            first = next(f for f in contents.findings if f.defect.severity is Severity.INCOMPLETE)
            raise DefectiveDump(path.name, first)
    except BaseException:
        source.close()
        raise
    return dump
