"""A user-mode minidump in a few lines: what it is, and that it is not our business."""

from __future__ import annotations

from collections.abc import Iterator

from lab.dumps.user import UserDumpSummary


def describe(summary: UserDumpSummary) -> str:
    """The summary as text."""
    return "\n".join(_lines(summary))


def _lines(summary: UserDumpSummary) -> Iterator[str]:
    build = f", build {summary.build}" if summary.build is not None else ""
    yield f"{summary.path}: a user-mode minidump (MDMP), {summary.machine}, {summary.system}{build}"
    yield "It tells of one process, not of the kernel; no driver can be found from it."
    if summary.exception_code is not None:
        name = f" ({summary.exception_name})" if summary.exception_name else ""
        where = f" at 0x{summary.exception_address:x}" if summary.exception_address is not None else ""
        module = f" in {summary.exception_module}" if summary.exception_module else ""
        yield f"exception 0x{summary.exception_code:08X}{name}{where}{module}"
    yield f"{len(summary.modules)} modules"
    yield from (f"warning: {warning}" for warning in summary.warnings)
