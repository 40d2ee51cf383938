"""Questions about the whole: `vertarget`, `.dumpdebug`, processors, memory."""

from __future__ import annotations

from typing import Annotated

import typer

from lab.cli.dump.answer import Answer, Kernel, answer
from lab.cli.dump.place import address as place
from lab.dumps import Dump, NotInDump, NotPresent
from lab.kernel.modules import LoadedModule
from lab.kernel.processors import read_processors
from lab.report import words
from lab.report.debugger import memory as shown
from lab.report.debugger import processors as running
from lab.report.debugger import version

MOST = 1 << 20
"""Most bytes that one question may ask for."""

_PAGE = 0x1000


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
    length: Annotated[int, typer.Option("--length", "-n", min=1, max=MOST, help="Bytes.")] = 128,
    quads: Annotated[bool, typer.Option("--quads", "-q", help="64-bit values, as dq.")] = False,
    named: Annotated[bool, typer.Option("--with-symbols", help="64-bit values with names, as dqs.")] = False,
) -> Answer:
    """Virtual memory, as far as the dump holds it."""
    start = place(kernel, address)
    data, why = _read(kernel, start, length)
    if named:
        lines = list(shown.dqs(start, data, lambda value: _name(kernel, value)))
    elif quads:
        lines = list(shown.dq(start, data))
    else:
        lines = list(shown.db(start, data))
    if why:
        lines.append(f"{words.address(start + len(data))}  {why}")
    return Answer({"address": start, "bytes": data.hex(), "missing": why}, tuple(lines))


def _read(kernel: Kernel, start: int, length: int) -> tuple[bytes, str]:
    """(the bytes up to the first page that lacks, why it lacks). The first page must be there."""
    data = b""
    while len(data) < length:
        at = start + len(data)
        try:
            data += kernel.memory.read(at, min(length - len(data), _PAGE - at % _PAGE))
        except (NotInDump, NotPresent) as error:
            if not data:
                raise
            return data, error.message
    return data, ""


def _name(kernel: Kernel, value: int) -> str:
    return words.line(kernel.symbol(value)) if kernel.module_at(value) else ""
