"""From a dump to the kernel it is of: its page tables, modules, identity and symbols."""

from __future__ import annotations

from dataclasses import replace

from lab.dumps.dump import Dump
from lab.kernel.identify import base_of_kernel, behind, identify, only_kernel, symbols_of_kernel
from lab.kernel.modules import read_modules, read_unloaded
from lab.kernel.root import kernel_memory
from lab.kernel.target import Kernel
from lab.symbols.port import SymbolStore
from lab.symbols.store import symbol_store


def open_kernel(dump: Dump, symbols: SymbolStore | None = None) -> Kernel:
    """The kernel that `dump` is of. Built-in tables serve when `symbols` has no better.

    NoKernel, a DumpError, when not even the kernel itself can be found.
    """
    store = symbols if symbols is not None else symbol_store()
    memory, unmapped = kernel_memory(dump)
    modules, notes = read_modules(dump, memory)
    closes = dump.triage is None and not notes
    notes = (unmapped, *notes) if unmapped else notes
    identified = identify(dump, base_of_kernel(dump, modules))
    if not modules:
        modules = (only_kernel(dump, memory, identified, notes),)
    base = base_of_kernel(dump, modules)
    nt = next(m for m in modules if m.base == base)
    pdb, found, note = symbols_of_kernel(dump, nt, identified, store)
    nt = replace(nt, pdb=pdb)
    modules = tuple(nt if m.base == nt.base else m for m in modules)
    notes = (*notes, note) if note else notes
    kernel = Kernel(dump, modules, nt, store, found, (), notes, memory, behind(pdb, dump.header.build, found))
    with kernel.reading("loaded drivers") as used:
        if closes:
            used.check(f"the list of {len(modules)} drivers closes")
        if nt.pdb is not None:
            used.fact(f"{nt.name} is {nt.pdb.name} {nt.pdb.key}")
    with kernel.reading("unloaded drivers"):
        unloaded, note = read_unloaded(dump, memory, kernel.address)
        return replace(kernel, unloaded=unloaded, notes=(*notes, note) if note else notes)
