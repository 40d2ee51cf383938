"""Symbols that would have been of use, and PDB ids that the dump does not tell."""

from __future__ import annotations

from collections.abc import Iterable

from lab.kernel.target import Kernel
from lab.model import Frame, ProcessorFacts, WantedSymbols
from lab.symbols.builtin import BuiltinKernel


def wanted_symbols(
    kernel: Kernel, stack: Iterable[Frame], processors: Iterable[ProcessorFacts]
) -> tuple[WantedSymbols, ...]:
    """What names were asked of in vain, kernel first.

    The built-in table of a kernel knows few functions: where it left code of nt on the stack, or what a
    processor was at, without a name, the kernel's own symbols are wanted, too.
    """
    found, nt = kernel.wanted, kernel.nt
    if nt.pdb is None or any(each.key == nt.pdb.folder for each in found):
        return found
    symbols = kernel.symbols.find(nt.pdb)
    if not isinstance(symbols, BuiltinKernel | None):
        return found
    shown = [(f.instruction, f.symbol) for f in stack] + [(p.instruction, p.symbol) for p in processors]
    if not any(nt.base <= address < nt.end and "!" not in symbol for address, symbol in shown):
        return found
    looked_in = tuple(
        f"{said}, which has few names" if symbols is not None and said.endswith(symbols.source) else said
        for said in kernel.symbols.answers(nt.pdb)
    )
    return (WantedSymbols(nt.name, nt.pdb.name, nt.pdb.folder, looked_in), *found)


def without_id(kernel: Kernel, stack: Iterable[Frame]) -> tuple[str, ...]:
    """A note on the modules of the stack whose symbols nobody can look for; none when there are none."""
    met = (kernel.module_at(frame.instruction) for frame in stack)
    names = tuple(dict.fromkeys(module.name for module in met if module is not None and module.pdb is None))
    if not names:
        return ()
    if len(names) == 1:
        return (f"The PDB id of {names[0]} is not in the dump: its headers are missing.",)
    return (f"The PDB ids of {', '.join(names)} are not in the dump: their headers are missing.",)
