"""EXCEPTION_RECORD64, as the header of a dump has it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lab.dumps.header import UNSET32

EXCEPTION_SIZE = 0x98


@dataclass(frozen=True)
class ExceptionRecord:
    """`address` is where it was raised. `parameters` are what its code defines."""

    code: int
    flags: int
    record: int  # address of the exception that this one is about, 0 when none
    address: int
    parameters: tuple[int, ...]


def parse_exception(data: bytes) -> ExceptionRecord | None:
    """The record at the start of `data`; None when it is not whole or was never written."""
    if len(data) < EXCEPTION_SIZE:
        return None
    code, flags, record, address, count = struct.unpack_from("<IIQQI", data)
    if code in (0, UNSET32):
        return None
    return ExceptionRecord(
        code, flags, record, address, struct.unpack_from(f"<{min(count, 15)}Q", data, 0x20)
    )
