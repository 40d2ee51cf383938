"""`db`, `dq` and `dqs`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from lab.report import words

Cells = Sequence[int | None]
"""Bytes of memory, None for one that is not there: the debugger writes "??" for it."""


def db(address: int, data: Cells) -> Iterator[str]:
    """Sixteen bytes a line, with the characters that a terminal can show."""
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        cells = ["??" if byte is None else f"{byte:02x}" for byte in row] + ["  "] * (16 - len(row))
        text = "".join(_character(byte) for byte in row)
        yield f"{words.address(address + at)}  {' '.join(cells[:8])}-{' '.join(cells[8:])}  {text}"


def _character(byte: int | None) -> str:
    if byte is None:
        return "?"
    return chr(byte) if 0x20 <= byte < 0x7F else "."


def dq(address: int, data: Cells) -> Iterator[str]:
    """Two 64-bit values a line; bytes that fill no value are left out."""
    values = _quads(data)
    for at in range(0, len(values), 2):
        row = " ".join(_quad(value) for value in values[at : at + 2])
        yield f"{words.address(address + 8 * at)}  {row}"


def _quads(data: Cells) -> list[int | None]:
    """64-bit values; None where one of a value's bytes is not there."""
    rows = (data[at : at + 8] for at in range(0, len(data) & ~7, 8))
    return [_value(row) for row in rows]


def _value(row: Cells) -> int | None:
    known = [byte for byte in row if byte is not None]
    return int.from_bytes(known, "little") if len(known) == len(row) else None


def _quad(value: int | None) -> str:
    return "????????`????????" if value is None else words.address(value)


def dqs(address: int, data: Cells, symbol: Callable[[int], str]) -> Iterator[str]:
    """One 64-bit value a line with its symbol; `symbol` gives "" for what is in no module."""
    for at, value in enumerate(_quads(data)):
        name = "" if value is None else symbol(value)
        yield f"{words.address(address + 8 * at)}  {_quad(value)} {name}".rstrip()
