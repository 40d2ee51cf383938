"""A dump file, up to physical pages and virtual memory."""

from lab.dumps.context import Context
from lab.dumps.defects import Defect, DefectiveDump, Finding, Severity
from lab.dumps.dump import Dump, open_dump
from lab.dumps.header import DumpHeader
from lab.dumps.length import expected_length, why_not_whole
from lab.dumps.memory import Memory, NotInDump, NotPresent
from lab.dumps.source import RemoteSource

__all__ = [
    "Context",
    "Defect",
    "DefectiveDump",
    "Dump",
    "DumpHeader",
    "Finding",
    "Memory",
    "NotInDump",
    "NotPresent",
    "RemoteSource",
    "Severity",
    "expected_length",
    "open_dump",
    "why_not_whole",
]
