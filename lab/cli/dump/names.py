"""Questions about images and names: `lm`, `lmv`, `ln`, `x`, `dt`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import islice
from typing import Annotated

import typer

from lab.analysis.gather.modules import read_modules, read_unloaded
from lab.cli.dump.answer import Answer, Kernel, answer
from lab.cli.dump.place import address as place
from lab.cli.dump.place import named, number
from lab.kernel.modules import LoadedModule
from lab.model import ConfigurationError, DumpError, Origin
from lab.report import words
from lab.report.debugger import modules as lm
from lab.symbols.port import ModuleSymbols

MOST_NAMES = 1000


def modules(
    kernel: Kernel,
    name: Annotated[
        str | None, typer.Argument(help="One module: fltmgr, srv2.sys or nt; or those like 'qm*'.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Version, maker and PDB, as lmv.")] = False,
    third_party: Annotated[bool, typer.Option("--third-party", help="Only those not of Windows.")] = False,
) -> Answer:
    """The loaded modules, where their symbols come from, and which are not known to come with Windows."""
    chosen = _chosen(kernel, name)
    bases = {module.base for module in chosen}
    found = tuple(
        m
        for m in read_modules(kernel, {}, touched=bases, named=(), instances=(), notes=[])
        if m.base in bases
    )
    if third_party:
        found = tuple(module for module in found if module.origin is not Origin.IN_BOX)
    sources = {module.base: _symbols(kernel, module) for module in chosen}
    short = {module.base: words.line(kernel.short_name(module)) for module in chosen}
    if verbose:
        return answer(found, lambda value: lm.lmv(value, short, sources))
    return answer(found, lambda value: lm.lm(value, short, sources))


def _chosen(kernel: Kernel, name: str | None) -> tuple[LoadedModule, ...]:
    if name is None:
        return kernel.modules
    if "*" not in name and "?" not in name:
        return (_module(kernel, name),)
    wanted = name.casefold()
    found = tuple(
        module
        for module in kernel.modules
        if any(fnmatchcase(n.casefold(), wanted) for n in (module.name, kernel.short_name(module)))
    )
    if not found:
        raise ConfigurationError(
            f"no module's name is like {name}", help="'lab dump modules DUMP' lists them."
        )
    return found


def _symbols(kernel: Kernel, module: LoadedModule) -> str:
    """As the debugger: nothing is loaded for a list; what was loaded already says where from."""
    symbols = kernel.nt_symbols if module.base == kernel.nt.base else None
    return words.line(symbols.source) if symbols else "deferred" if module.pdb else "no PDB id in the dump"


def _module(kernel: Kernel, name: str) -> LoadedModule:
    found = kernel.module(name)
    if found is None:
        raise ConfigurationError(f"no module is called {name}", help="'lab dump modules DUMP' lists them.")
    return found


def unloaded(kernel: Kernel) -> Answer:
    """Drivers that had been unloaded before the stop."""
    return answer(read_unloaded(kernel), lm.unloaded)


@dataclass(frozen=True)
class Place:
    """A name and where it is."""

    symbol: str
    address: int


def symbol(
    kernel: Kernel,
    name: Annotated[
        str, typer.Argument(metavar="NAME|ADDRESS", help="nt!KeBugCheckEx, srv2!Smb2*, or an address.")
    ],
) -> Answer:
    """The address of a name, or the name nearest to an address."""
    value = number(name) if "!" not in name else None
    if value is not None:
        found: tuple[Place, ...] = (Place(kernel.symbol(value), value),)
    elif "*" in name or "?" in name:
        found = tuple(_matching(kernel, name))
    else:
        known = named(kernel, name) if "+" not in name else ()
        found = tuple(Place(*each) for each in known) or (Place(name, place(kernel, name)),)
    return answer(found, lambda places: [f"{words.address(p.address)}          {p.symbol}" for p in places])


def _matching(kernel: Kernel, pattern: str) -> Iterator[Place]:
    prefix, _, wanted = pattern.rpartition("!")
    module = _module(kernel, prefix or "nt")
    symbols = _symbols_of(kernel, module)
    short = kernel.short_name(module)
    matching = (pair for pair in symbols.names() if fnmatchcase(pair[0].casefold(), wanted.casefold()))
    for name, rva in sorted(islice(matching, MOST_NAMES), key=lambda pair: pair[1]):
        yield Place(f"{short}!{name}", module.base + rva)


def _symbols_of(kernel: Kernel, module: LoadedModule) -> ModuleSymbols:
    found = kernel.module_symbols(module)
    if found is None:
        wanted = f" (wanted: {module.pdb.name} {module.pdb.folder})" if module.pdb else ""
        raise ConfigurationError(
            f"there are no symbols of {module.name}{wanted}",
            help=f"Give them with --symbols; looked in {', '.join(kernel.symbols.places) or 'no place'}.",
        )
    return found


@dataclass(frozen=True)
class Structure:
    """A type of one module: its size in bytes, and those fields that were asked for or can be listed."""

    name: str
    size: int | None
    fields: tuple[tuple[str, int], ...]
    source: str
    address: int | None = None
    values: tuple[tuple[str, int], ...] = ()
    """At `address`; a field whose bytes the dump does not hold is left out."""


def type_(
    kernel: Kernel,
    name: Annotated[str, typer.Argument(help="nt!_KTHREAD; without a module it is the kernel's.")],
    fields: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FIELD|ADDRESS]...", help="Only these fields; with an address, their values."
        ),
    ] = None,
) -> Answer:
    """Size and fields of a structure in this very build, as far as the symbols tell."""
    prefix, _, wanted = name.rpartition("!")
    module = _module(kernel, prefix or "nt")
    symbols = _symbols_of(kernel, module)
    size = symbols.size(wanted)
    places = [each for each in fields or () if _is_place(each)]
    fields = [each for each in fields or () if each not in places]
    if len(places) > 1:
        raise ConfigurationError("a type has one address at a time", help="Give one of them.")
    if fields:
        found = tuple((field, _offset(symbols, wanted, field)) for field in fields)
    else:
        found = symbols.fields(wanted)
    if size is None and not found:
        raise ConfigurationError(
            f"{symbols.source} does not know the type {wanted}",
            help="Write it as the debugger does, _KTHREAD for instance, or give the PDB with --symbols.",
        )
    value = Structure(f"{kernel.short_name(module)}!{wanted}", size, found, symbols.source)
    if places:
        value = _at(kernel, value, symbols.fields(wanted), place(kernel, places[0]))
    return answer(value, _dt)


def _is_place(text: str) -> bool:
    """Whether an argument is an address and no field: "Fade" might be both, so that it has 8 digits or 0x."""
    plain = text.replace("`", "")
    return "!" in text or (number(text) is not None and (len(plain) >= 8 or plain[:2].casefold() == "0x"))


def _at(kernel: Kernel, of: Structure, known: tuple[tuple[str, int], ...], address: int) -> Structure:
    """`of` with values: each as wide as there is room to the next of the `known` fields, at most 8 bytes.

    Symbols here tell no types of fields.
    """
    starts = sorted({offset for _, offset in (*known, *of.fields)} | {of.size or 0})
    if not of.fields:
        raise ConfigurationError(f"no fields of {of.name} are known, so that no values can be shown")
    kernel.memory.read(address, 1)
    values = []
    for name, offset in of.fields:
        room = next((start - offset for start in starts if start > offset), 8)
        width = next(w for w in (8, 4, 2, 1) if w <= room)
        try:
            data = kernel.memory.read(address + offset, width)
        except DumpError:
            continue
        values.append((name, int.from_bytes(data, "little")))
    return replace(of, address=address, values=tuple(values))


def _offset(symbols: ModuleSymbols, type_name: str, field: str) -> int:
    found = symbols.offset(type_name, field)
    if found is None:
        raise ConfigurationError(f"{symbols.source} does not know {type_name}.{field}")
    return found


def _dt(found: Structure) -> Iterator[str]:
    values = dict(found.values)
    yield found.name if found.address is None else f"{found.name} at {words.address(found.address)}"
    for name, offset in sorted(found.fields, key=lambda field: field[1]):
        if found.address is None:
            yield f"   +0x{offset:03x} {name}"
        else:
            yield f"   +0x{offset:03x} {name:<28} : {f'{values[name]:#x}' if name in values else '??'}"
    if found.address is not None:
        yield "   (a value is as wide as the room to the next known field; of wider ones the first 8 bytes)"
    if found.size is not None:
        yield f"   {found.size:#x} bytes ({found.source})"
