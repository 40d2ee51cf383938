"""Questions about the whole: `vertarget`, `.dumpdebug`, processors, memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from typing import Annotated

import typer

from lab.cli.dump.answer import Answer, Kernel, answer
from lab.cli.dump.place import address as place
from lab.dumps import Dump, NotInDump, NotPresent
from lab.kernel.modules import LoadedModule
from lab.kernel.processors import read_processors
from lab.model import ConfigurationError
from lab.report import words
from lab.report.debugger import memory as shown
from lab.report.debugger import processors as running
from lab.report.debugger import version

MOST = 1 << 20
"""Most bytes that one question may ask for."""

_PAGE = 0x1000
_ROW = 16
_AT_MOST = f"Ask for at most {MOST:#x} bytes at once."


def _length(text: str) -> int:
    """A count of bytes as an option has it: "16" or "0x10"."""
    try:
        value = int(str(text), 0)
    except ValueError:
        raise typer.BadParameter(f"{text} is no number of bytes: write 16 or 0x10") from None
    if not 0 < value <= MOST:
        raise typer.BadParameter(f"{text} is not in the range of 1 to {MOST:#x}")
    return value


def info(kernel: Kernel) -> Answer:
    """Which system stopped, when and of what kind the file is, and what of it is whole."""
    symbols = kernel.nt_symbols.source if kernel.nt_symbols else ""
    return _info(kernel.dump, kernel.nt, symbols)


def header_info(dump: Dump) -> Answer:
    """`info` of a dump in which no kernel can be found."""
    return _info(dump, None, "")


def _info(dump: Dump, nt: LoadedModule | None, symbols: str) -> Answer:
    facts, header = dump.facts(), dump.header
    base, pdb = (nt.base, nt.pdb) if nt else (0, None)
    value = {
        "dump": facts,
        "bugcheck": dump.bugcheck,
        "header": header,
        "kernel_base": base,
        "kernel_pdb": pdb.folder if pdb else "",
        "kernel_symbols": symbols,
        "secondary_data": dump.blobs,
    }

    def form(value: dict[str, object]) -> list[str]:
        lines = list(version.vertarget(facts, header, base))
        image = words.line(f"{pdb.name} {pdb.folder}") if pdb else "not in the dump"
        lines += [
            f"Kernel PDB: {image}, symbols: {words.line(symbols) or 'none'}",
            "",
            dump.bugcheck.title,
            "",
        ]
        lines += version.dumpdebug(facts, header)
        lines += [f"Secondary data: {blob.tag}, {blob.size} bytes" for blob in dump.blobs]
        return lines

    return answer(value, form)


def processors(kernel: Kernel) -> Answer:
    """What each processor was doing."""
    return answer(read_processors(kernel), running.running)


def memory(
    kernel: Kernel,
    address: Annotated[str, typer.Argument(help="An address, or a symbol: nt!KiProcessorBlock.")],
    length: Annotated[
        int, typer.Option("--length", "-n", parser=_length, metavar="N", help="Bytes: 16 or 0x10.")
    ] = 128,
    quads: Annotated[bool, typer.Option("--quads", "-q", help="64-bit values, as dq.")] = False,
    named: Annotated[bool, typer.Option("--with-symbols", help="64-bit values with names, as dqs.")] = False,
) -> Answer:
    """Virtual memory, as far as the dump holds it."""
    if length > MOST:
        raise ConfigurationError(f"{length:#x} bytes are too many for one question", help=_AT_MOST)
    start = place(kernel, address)
    data, why = _read(kernel, start, length)
    if named:
        lines = list(shown.dqs(start, data, lambda value: _name(kernel, value)))
    elif quads:
        lines = list(shown.dq(start, data))
    else:
        lines = list(shown.db(start, data))
    if why:
        lines.append(f"??: {why}")
    first = bytes(byte for byte in takewhile(lambda byte: byte is not None, data) if byte is not None)
    return Answer({"address": start, "bytes": first.hex(), "missing": why}, tuple(lines))


def _read(kernel: Kernel, start: int, length: int) -> tuple[list[int | None], str]:
    """(bytes, None for those that are not there; why the first of them is not). The first must be there."""
    kernel.memory.read(start, 1)
    data: list[int | None] = []
    why = ""
    for at, size in _chunks(start, length, _PAGE):
        try:
            data += kernel.memory.read(at, size)
        except (NotInDump, NotPresent) as error:
            why = why or error.message
            # Only small dumps hold parts of pages.
            data += [None] * size if kernel.dump.triage is None else _rows(kernel, at, size)
    return data, why


def _rows(kernel: Kernel, start: int, length: int) -> Iterator[int | None]:
    """The bytes of a page that is not whole."""
    for at, size in _chunks(start, length, _ROW):
        row = _there(kernel, at, size)
        if row is None and size > 1 and (_there(kernel, at, 1) or _there(kernel, at + size - 1, 1)):
            for each in range(at, at + size):
                yield from _there(kernel, each, 1) or (None,)
        else:
            yield from row or (None,) * size


def _there(kernel: Kernel, at: int, size: int) -> bytes | None:
    try:
        return kernel.memory.read(at, size)
    except (NotInDump, NotPresent):
        return None


def _chunks(start: int, length: int, unit: int) -> Iterator[tuple[int, int]]:
    """(address, size) of the parts of a range between multiples of `unit`."""
    at = start
    while at < start + length:
        size = min(start + length - at, unit - at % unit)
        yield at, size
        at += size


def _name(kernel: Kernel, value: int) -> str:
    return words.line(kernel.symbol(value)) if kernel.module_at(value) else ""
