"""Addresses as people give them: with a backtick, with 0x, or by a symbol's name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from lab.kernel.target import Kernel
from lab.model import ConfigurationError, DumpError

_NUMBER = re.compile(r"(?:0x)?([0-9a-f]{1,16}|[0-9a-f]{1,8}`[0-9a-f]{8})", re.IGNORECASE)
_SYMBOL = re.compile(r"((?:[\w.-]+!)?[\w?@$.<>:~]+)(?:\+(?:0x)?([0-9a-f]{1,16}))?", re.IGNORECASE)


def number(text: str) -> int | None:
    """`fffff800`02a93c40`, `0xfffff80002a93c40` or `fffff80002a93c40`; None when it is no such thing."""
    found = _NUMBER.fullmatch(text.strip())
    return int(found[1].replace("`", ""), 16) if found else None


def address(kernel: Kernel, text: str) -> int:
    """The address that `text` means: a number, or `module!name+0x10`, a name alone being the kernel's.

    ConfigurationError when it is neither, or no symbols have the name.
    """
    value = number(text)
    if value is not None:
        return value
    found = _SYMBOL.fullmatch(text.strip())
    if found is None:
        raise ConfigurationError(
            f"'{text}' is no address", help="Write fffff800`02a93c40, 0xfffff80002a93c40 or nt!KeBugCheckEx."
        )
    places = named(kernel, found[1])
    if len(places) > 1:
        raise ConfigurationError(
            f"more than one module has {found[1]}", help=f"Say which: {', '.join(n for n, _ in places[:8])}."
        )
    if not places:
        raise ConfigurationError(
            f"no symbols at hand have {found[1]}",
            help="Write MODULE!NAME: a symbol server is not asked for every module's symbols."
            if "!" not in found[1] and _by_server(kernel)
            else "Give symbols with --symbols, or the address itself.",
        )
    return places[0][1] + int(found[2] or "0", 16)


def named(kernel: Kernel, name: str) -> tuple[tuple[str, int], ...]:
    """(`module!name`, its address) wherever there is such a name; without a module the kernel's goes first.

    Other modules are asked only where that fetches nothing: a server would be asked for the symbols of all.
    """
    known = kernel.address(name)
    prefix, bang, symbol = name.rpartition("!")
    if known is not None:
        module = kernel.module(prefix) if bang else kernel.nt
        return ((f"{kernel.short_name(module) if module else prefix}!{symbol}", known),)
    if bang or _by_server(kernel):
        return ()
    found = []
    for module in kernel.modules:
        symbols = kernel.symbols.find(module.pdb) if module.pdb else None
        rva = symbols.rva(symbol) if symbols else None
        if rva is not None:
            found.append((f"{kernel.short_name(module)}!{symbol}", module.base + rva))
    return tuple(found)


def _by_server(kernel: Kernel) -> bool:
    return any("://" in where for where in kernel.symbols.places)


@contextmanager
def meant(what: str) -> Iterator[None]:
    """An address was given to be that of `what`: where it is not, the dump is not to blame."""
    try:
        yield
    except DumpError as error:
        if error.help == DumpError.help:
            error.help = f"Check the address: it must be that of {what}."
        raise
