"""What can be wrong with a dump file: each kind by a stable name, with what can still be read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from lab.model import DumpError


class Severity(Enum):
    """REFUSED: never opened. INCOMPLETE: opened with `allow_incomplete`. REMARK: opened, with a warning."""

    REFUSED = "refused"
    INCOMPLETE = "incomplete"
    REMARK = "remark"


_HEADER = "The header: stop code and parameters, build, time, processors, and the registers."
_WAIT = "Wait until the file no longer grows and its writer has closed it."
_AGAIN = "Copy the file again from the machine that wrote it and compare sizes."
_UNPACK = "Unpack it and give the .dmp file inside."
_DEBUGGER = "Use the debugger of the Windows SDK for it."


class Defect(Enum):
    """`id` is stable and meant for programs; `left` says what can still be read; `help` what to do."""

    EMPTY = (
        "empty",
        Severity.REFUSED,
        "Nothing.",
        "Wait until Windows has written the dump, or copy it again.",
    )
    NOT_A_DUMP = ("not-a-dump", Severity.REFUSED, "Nothing.", "Give a .dmp file.")
    PACKED = ("packed", Severity.REFUSED, "Nothing before it is unpacked.", _UNPACK)
    USER_MODE = (
        "user-mode",
        Severity.REFUSED,
        "A summary: the process, its modules, its exception.",
        "It can be summarised; for a kernel crash take MEMORY.DMP or a file of Minidump.",
    )
    NOT_WRITTEN = ("not-written", Severity.REFUSED, "Nothing.", _WAIT)
    SYSTEM_32_BIT = (
        "system-32-bit",
        Severity.INCOMPLETE,
        "Stop code and parameters, build, time, number of processors; no memory, no registers.",
        _DEBUGGER,
    )
    OTHER_MACHINE = (
        "other-machine",
        Severity.INCOMPLETE,
        "Stop code and parameters, build, time, number of processors; no memory, no registers.",
        _DEBUGGER,
    )
    HEADER_CUT_OFF = (
        "header-cut-off",
        Severity.INCOMPLETE,
        "Those fields of the header that are there, stop code and parameters first.",
        _AGAIN,
    )
    UNFINISHED = ("unfinished", Severity.INCOMPLETE, _HEADER, _WAIT)
    UNKNOWN_TYPE = ("unknown-type", Severity.INCOMPLETE, _HEADER, _DEBUGGER)
    HEADER_ONLY = (
        "header-only",
        Severity.INCOMPLETE,
        _HEADER,
        "Set CrashDumpEnabled to 2 (kernel), 3 (small) or 7 (automatic) and crash the machine again.",
    )
    ENCRYPTED = (
        "encrypted",
        Severity.INCOMPLETE,
        _HEADER,
        "Decrypt it with the private key that belongs to the dump encryption of its machine.",
    )
    CUT_OFF = (
        "cut-off",
        Severity.INCOMPLETE,
        "All pages before the cut; those behind it count as not in the dump.",
        _AGAIN,
    )
    PAGE_MAP_CUT_OFF = ("page-map-cut-off", Severity.INCOMPLETE, _HEADER, _AGAIN)
    PAGE_MAP_DAMAGED = (
        "page-map-damaged",
        Severity.INCOMPLETE,
        "The header. Memory only where the page map can be made sense of, and not to be relied on.",
        _AGAIN,
    )
    PAGES_NOT_WRITTEN = (
        "pages-not-written",
        Severity.INCOMPLETE,
        _HEADER,
        "Wait until the copy or the writing of the file has ended.",
    )
    NO_PAGE_TABLES = (
        "no-page-tables",
        Severity.INCOMPLETE,
        "The header, and physical pages by their number; no virtual address.",
        _AGAIN,
    )
    SMALL_DAMAGED = (
        "small-dump-damaged",
        Severity.INCOMPLETE,
        "Those parts of the small dump that are whole.",
        _AGAIN,
    )
    KERNEL_UNREADABLE = (
        "kernel-unreadable",
        Severity.REMARK,
        "The header and whatever else the page tables lead to; the list of drivers may be missing.",
        "Take a dump that was written at a stop, not a snapshot of a running machine.",
    )
    LEFT_OUT = (
        "left-out",
        Severity.REMARK,
        "All pages that did fit.",
        "Give the page file or the dedicated dump file more room.",
    )
    COUNTS_DIFFER = ("counts-differ", Severity.REMARK, "Everything.", _AGAIN)
    SHORTER_THAN_PLANNED = (
        "shorter-than-planned",
        Severity.REMARK,
        "All pages; data that drivers added behind them may be missing.",
        _AGAIN,
    )
    DRIVERS_LEFT_OUT = (
        "drivers-left-out",
        Severity.REMARK,
        "Everything but the rest of the driver list.",
        "Take a kernel dump.",
    )

    def __init__(self, id: str, severity: Severity, left: str, help: str) -> None:
        self.id, self.severity, self.left, self.help = id, severity, left, help


@dataclass(frozen=True)
class Finding:
    """One defect of one file. `sentence` names no file: "the dump is cut off: 1 of 2 bytes are there"."""

    defect: Defect
    sentence: str


class DefectiveDump(DumpError):
    """A file that is no dump we can read, or no whole one. `defect` says in which way."""

    def __init__(self, name: str, finding: Finding) -> None:
        super().__init__(f"{name}: {finding.sentence}", help=finding.defect.help)
        self.defect = finding.defect
