"""`vertarget` and `.dumpdebug`: the system that stopped, and the file it was written to."""

from __future__ import annotations

from collections.abc import Iterator

from lab.dumps import DumpHeader
from lab.model import DumpFacts
from lab.report import words

PRODUCTS = {1: "WinNt", 2: "LanManNt", 3: "Server"}
SUITES = {
    0x1: "SmallBusiness",
    0x2: "Enterprise",
    0x10: "TerminalServer",
    0x20: "SmallBusinessRestricted",
    0x40: "EmbeddedNT",
    0x80: "DataCenter",
    0x100: "SingleUserTS",
    0x200: "Personal",
    0x400: "Blade",
}
"""VER_SUITE_* of the Windows SDK, in the debugger's words."""


def vertarget(facts: DumpFacts, header: DumpHeader, kernel_base: int) -> Iterator[str]:
    """Build, product, kernel base, time and uptime."""
    more = f" MP ({facts.processors} procs)" if facts.processors > 1 else " UP"
    yield f"Windows Kernel Version {facts.build}{more} Free {facts.machine}"
    if header.product_type is not None:
        product = PRODUCTS.get(header.product_type, f"{header.product_type:#x}")
        yield f"Product: {product}, suite: {_suites(header.suite_mask or 0)}"
    if kernel_base:
        head = words.address(header.module_list) if header.module_list is not None else "unknown"
        yield f"Kernel base = 0x{words.address(kernel_base)} PsLoadedModuleList = 0x{head}"
    yield f"Debug session time: {words.moment(facts.system_time) or 'unknown'}"
    yield f"System Uptime: {uptime(facts.uptime)}"


def _suites(mask: int) -> str:
    known = [name for bit, name in SUITES.items() if mask & bit]
    rest = mask & ~sum(SUITES)
    return " ".join([*known, *([f"{rest:#x}"] if rest else [])]) or "none"


def uptime(seconds: float) -> str:
    """`3 days 4:05:06.789`, as the debugger writes it."""
    whole = int(seconds)
    days, rest = divmod(whole, 86400)
    thousandths = int(round(seconds - whole, 3) * 1000) % 1000
    clock = f"{rest // 3600}:{rest // 60 % 60:02}:{rest % 60:02}.{thousandths:03}"
    return f"{days} day{'' if days == 1 else 's'} {clock}"


def dumpdebug(facts: DumpFacts, header: DumpHeader) -> Iterator[str]:
    """The header's fields by the names of DUMP_HEADER64, and whether the file is whole."""
    yield f"----- 64 bit {facts.dump_type_name} dump, type {facts.dump_type}"
    yield ""
    yield "DUMP_HEADER64:"
    first, second, third, fourth = header.bugcheck_parameters
    for name, value, wide in (
        ("MajorVersion", header.major_version, False),
        ("MinorVersion", header.build, False),
        ("KdSecondaryVersion", header.secondary_version, False),
        ("DirectoryTableBase", header.directory_table_base, True),
        ("PfnDataBase", header.pfn_database, True),
        ("PsLoadedModuleList", header.module_list, True),
        ("PsActiveProcessHead", header.process_list, True),
        ("MachineImageType", header.machine, False),
        ("NumberProcessors", header.processors, False),
        ("BugCheckCode", header.bugcheck_code, False),
        ("BugCheckParameter1", first, True),
        ("BugCheckParameter2", second, True),
        ("BugCheckParameter3", third, True),
        ("BugCheckParameter4", fourth, True),
        ("KdDebuggerDataBlock", header.debugger_data, True),
        ("SecondaryDataState", header.secondary_state, False),
        ("ProductType", header.product_type, False),
        ("SuiteMask", header.suite_mask, False),
        ("WriterStatus", header.writer_status, False),
        ("Attributes", header.attributes, False),
        ("RequiredDumpSpace", header.required_space, True),
    ):
        text = "not written" if value is None else words.address(value) if wide else f"{value:08x}"
        yield f"{name:<19} {text}"
    if header.comment:
        yield f"{'Comment':<19} {header.comment}"
    if header.runs:
        yield ""
        yield f"Physical Memory Description: {len(header.runs)} runs, {header.run_pages or 0:#x} pages"
        for start, pages in header.runs:
            yield f"  BasePage {start:016x}  PageCount {pages:016x}"
    yield ""
    yield f"File: {facts.path}, {facts.size} bytes, {'whole' if facts.complete else 'NOT WHOLE'}"
    yield from (f"Warning: {warning}" for warning in facts.warnings)
