"""`db`, `dq` and `dqs`."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from lab.report import words


def db(address: int, data: bytes) -> Iterator[str]:
    """Sixteen bytes a line, with the characters that a terminal can show."""
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        cells = [f"{byte:02x}" for byte in row] + ["  "] * (16 - len(row))
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        yield f"{words.address(address + at)}  {' '.join(cells[:8])}-{' '.join(cells[8:])}  {text}"


def dq(address: int, data: bytes) -> Iterator[str]:
    """Two 64-bit values a line; bytes that fill no value are left out."""
    values = [value for (value,) in struct.iter_unpack("<Q", data[: len(data) & ~7])]
    for at in range(0, len(values), 2):
        row = " ".join(words.address(value) for value in values[at : at + 2])
        yield f"{words.address(address + 8 * at)}  {row}"


def dqs(address: int, data: bytes, symbol: Callable[[int], str]) -> Iterator[str]:
    """One 64-bit value a line with its symbol; `symbol` gives "" for what is in no module."""
    for at, (value,) in enumerate(struct.iter_unpack("<Q", data[: len(data) & ~7])):
        yield f"{words.address(address + 8 * at)}  {words.address(value)} {symbol(value)}".rstrip()
