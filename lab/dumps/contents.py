"""What follows the header: pages or the parts of a small dump, and in which way they are not whole."""

from __future__ import annotations

from dataclasses import dataclass, field

from lab.dumps.defects import Defect, Finding
from lab.dumps.header import (
    BITMAP_TYPES,
    COMPLETE,
    HEADER_ONLY,
    HEADER_SIZE,
    RANGE_TYPES,
    TRIAGE,
    DumpHeader,
)
from lab.dumps.layouts import SECOND_HEADER, bitmap_layouts, range_layout
from lab.dumps.memory import NotInDump
from lab.dumps.pagemap import BitmapMap, PageMap, RunMap
from lab.dumps.physical import Physical
from lab.dumps.source import Source
from lab.dumps.triage import Triage, read_triage
from lab.dumps.virtual import FRAME
from lab.model import DumpError


@dataclass
class Contents:
    """`physical` or `triage`, or neither when nothing but the header can be read."""

    physical: Physical | None = None
    triage: Triage | None = None
    findings: list[Finding] = field(default_factory=list)

    def found(self, defect: Defect, sentence: str) -> None:
        self.findings.append(Finding(defect, sentence))


def read_contents(source: Source, header: DumpHeader) -> Contents:
    """What is behind the header of an x64 dump. Never raises DumpError: all is in `findings`."""
    contents = Contents()
    kind = header.dump_type
    if kind is None:
        contents.found(Defect.UNFINISHED, "the dump is still being written: its type is not set yet")
    elif header.encrypted:
        contents.found(
            Defect.ENCRYPTED,
            "the dump is encrypted: decrypt it with the key of the machine that wrote it",
        )
    elif kind == HEADER_ONLY or source.size <= HEADER_SIZE:
        contents.found(Defect.HEADER_ONLY, "the dump holds only its header, no memory")
    elif kind == TRIAGE:
        _read_small(contents, source, header)
    elif kind == COMPLETE or kind in BITMAP_TYPES or kind in RANGE_TYPES:
        _read_pages(contents, source, header, kind)
    else:
        contents.found(Defect.UNKNOWN_TYPE, f"there is no dump type {kind:#x}")
    if header.ran_out_of_space:
        contents.found(Defect.LEFT_OUT, "the dump file was too small: Windows left pages out")
    return contents


def _read_small(contents: Contents, source: Source, header: DumpHeader) -> None:
    try:
        triage = contents.triage = read_triage(source, header)
    except DumpError as error:
        contents.found(Defect.SMALL_DAMAGED, error.message)
        return
    for warning in triage.warnings:
        contents.found(Defect.SMALL_DAMAGED, warning)
    if triage.drivers_truncated:
        contents.found(
            Defect.DRIVERS_LEFT_OUT, "the driver list is not whole: it did not fit into the small dump"
        )


def _read_pages(contents: Contents, source: Source, header: DumpHeader, kind: int) -> None:
    try:
        pages = _page_map(contents, source, header, kind)
    except DumpError as error:
        contents.found(Defect.PAGE_MAP_DAMAGED, error.message)
        return
    if pages is None:
        return
    contents.physical = Physical(source, pages)
    if pages.end > source.size:
        share = 100 * source.size // pages.end
        contents.found(
            Defect.CUT_OFF, f"the dump is cut off: {source.size} of {pages.end} bytes are there ({share} %)"
        )
    elif header.required_space is not None and header.required_space > source.size:
        contents.found(
            Defect.SHORTER_THAN_PLANNED,
            f"its writer planned {header.required_space} bytes, the file has {source.size}",
        )
    _check_root(contents, contents.physical, header)


def _check_root(contents: Contents, physical: Physical, header: DumpHeader) -> None:
    root = header.directory_table_base
    if root is None:
        contents.found(Defect.NO_PAGE_TABLES, "the header does not say where the page tables are")
        return
    try:
        page = physical.page((root & FRAME) >> 12)
    except NotInDump:
        contents.found(
            Defect.NO_PAGE_TABLES, "the root of the page tables is not in the dump: no address can be read"
        )
        return
    if not any(page):
        contents.found(
            Defect.PAGES_NOT_WRITTEN,
            "the root of the page tables holds nothing but zeros: the pages are not written yet",
        )


def _page_map(contents: Contents, source: Source, header: DumpHeader, kind: int) -> PageMap | None:
    """The page map, or None when the file ends within it. DumpError when it makes no sense."""
    if kind == COMPLETE:
        if header.runs is None:
            raise DumpError("the dump is damaged: its table of memory runs is not readable")
        return _counted(contents, RunMap(header.runs, HEADER_SIZE), header.run_pages, "memory runs")
    start = source.read(0, HEADER_SIZE + SECOND_HEADER)
    if len(start) < HEADER_SIZE + SECOND_HEADER:
        contents.found(Defect.PAGE_MAP_CUT_OFF, "the dump is cut off within its second header")
        return None
    if kind in RANGE_TYPES:
        layout = range_layout(start, kind)
        table = source.read(layout.table, layout.data - layout.table)
        if len(table) < layout.data - layout.table:
            contents.found(Defect.PAGE_MAP_CUT_OFF, "the dump is cut off within its table of page ranges")
            return None
        return _counted(contents, RunMap(layout.ranges(table), layout.data), layout.total, "page ranges")
    return _bitmap(contents, source, start, kind)


def _counted(contents: Contents, runs: RunMap, pages: int | None, what: str) -> RunMap:
    if runs.pages == 0:
        raise DumpError(f"the dump is damaged: its {what} hold no page")
    if pages is not None and runs.pages != pages:
        contents.found(Defect.COUNTS_DIFFER, f"the header counts {pages} pages, its {what} {runs.pages}")
    return runs


def _bitmap(contents: Contents, source: Source, start: bytes, kind: int) -> PageMap | None:
    layouts = bitmap_layouts(start, kind)
    if not layouts:
        raise DumpError("the dump is damaged: its second header makes no sense")
    maps = []
    for layout in layouts:
        if layout.bitmap + layout.bytes > source.size:
            contents.found(Defect.PAGE_MAP_CUT_OFF, "the dump is cut off within its page bitmap")
            return None
        maps.append(BitmapMap(source, layout))
        if maps[-1].pages == layout.pages:
            return maps[-1]
    contents.found(
        Defect.PAGE_MAP_DAMAGED,
        f"the page bitmap is damaged: {maps[0].pages} pages are marked, the header counts {layouts[0].pages}",
    )
    return maps[0]
