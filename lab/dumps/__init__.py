"""A dump file, up to physical pages and virtual memory."""

from lab.dumps.context import Context
from lab.dumps.dump import Dump, open_dump
from lab.dumps.header import DumpHeader
from lab.dumps.length import expected_length, why_not_whole
from lab.dumps.memory import Memory, NotInDump, NotPresent

__all__ = [
    "Context",
    "Dump",
    "DumpHeader",
    "Memory",
    "NotInDump",
    "NotPresent",
    "expected_length",
    "open_dump",
    "why_not_whole",
]
