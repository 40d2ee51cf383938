"""Which kernel a dump is of: its image, its PDB, and symbols of exactly that PDB."""

from __future__ import annotations

from lab.dumps.dump import Dump
from lab.dumps.memory import Memory
from lab.kernel.image import read_image
from lab.kernel.modules import LoadedModule
from lab.model import DumpError
from lab.symbols.builtin import (
    BuiltinKernel,
    builtin_kernel,
    builtin_layouts,
    identify_kernel,
    kernel_base,
)
from lab.symbols.port import ModuleSymbols, PdbId, SymbolStore


class NoKernel(DumpError):
    """A dump, maybe with a good header, in which no kernel can be found."""


def base_of_kernel(dump: Dump, modules: tuple[LoadedModule, ...]) -> int | None:
    """Of the module that holds the list heads of the header; else the first one, as Windows lists it."""
    for head in (dump.header.module_list, dump.header.debugger_data):
        for module in modules:
            if head is not None and module.base <= head < module.end:
                return module.base
    return modules[0].base if modules else None


def identify(dump: Dump, base: int | None) -> BuiltinKernel | None:
    """The kernel's build by where its list heads are, for dumps that lack its debug directory."""
    header = dump.header
    try:
        rip: int | None = dump.context.rip
    except DumpError:
        rip = None
    return identify_kernel(
        base=base,
        module_list=header.module_list,
        process_list=header.process_list,
        debugger_data=header.debugger_data,
        bugcheck_rip=rip,
        build=header.build,
    )


def only_kernel(
    dump: Dump, memory: Memory, identified: BuiltinKernel | None, notes: tuple[str, ...]
) -> LoadedModule:
    """The kernel where its build says that it is, if its headers are there. NoKernel if not."""
    head = dump.header.module_list
    if identified is not None and head is not None:
        base = kernel_base(identified, head)
        image = read_image(memory, base)
        if image is not None:
            return LoadedModule("ntoskrnl.exe", "ntoskrnl.exe", base, image.size, image.timestamp, image.pdb)
    raise NoKernel(
        f"no module of {dump.path.name} can be read: {'; '.join(notes) or 'it lists none'}",
        help="Take a kernel dump that is whole. What its header tells: lab triage --incomplete.",
    )


def symbols_of_kernel(
    dump: Dump, nt: LoadedModule, identified: BuiltinKernel | None, store: SymbolStore
) -> tuple[PdbId | None, ModuleSymbols | None, str]:
    """(PDB id, symbols, what has to be said of them). Never names of another build."""
    if nt.pdb is not None:
        found = store.find(nt.pdb) or builtin_kernel(nt.pdb)
        if found is not None:
            return nt.pdb, found, ""
        why = f"there are no symbols of the kernel ({nt.pdb.name} {nt.pdb.key})"
    elif identified is not None and identified.pdb is not None:
        note = f"the kernel was identified by its list heads: {identified.source}"
        return identified.pdb, store.find(identified.pdb) or identified, note
    elif identified is not None:
        return None, identified, f"the kernel is one of {identified.source}: only what they share is used"
    else:
        why = "the kernel's PDB id is not in the dump, and its list heads match no known build"
    shared = builtin_layouts(dump.header.build)
    if shared is None:
        return nt.pdb, None, f"{why}: names and layouts are missing"
    return nt.pdb, shared, f"{why}: no names, and the layouts that all known kernels of its build share"


def behind(pdb: PdbId | None, build: int, found: ModuleSymbols | None) -> ModuleSymbols | None:
    """What may fill the gaps of `found`, symbols that may lack types: the table of exactly this kernel.

    Without one, and when `found` has no types at all, the layouts that all known kernels of its build share.
    """
    if found is None or isinstance(found, BuiltinKernel):
        return None
    exact = builtin_kernel(pdb) if pdb is not None else None
    if exact is not None or found.size("_KTHREAD") is not None:
        return exact
    return builtin_layouts(build)
