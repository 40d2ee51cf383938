"""The stopped kernel as one thing to ask: its modules, its names, its layouts, its memory."""

from __future__ import annotations

from bisect import bisect_right
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property

from lab.dumps.context import Context
from lab.dumps.dump import Dump
from lab.dumps.header import DumpHeader
from lab.dumps.memory import Memory, u64
from lab.kernel.image import Function, Image, find_function, read_image
from lab.kernel.modules import LoadedModule, UnloadedModule, read_modules, read_unloaded
from lab.kernel.reading import Readings, Used
from lab.model import DumpError, Reading, WantedSymbols
from lab.symbols.builtin import (
    BuiltinKernel,
    builtin_kernel,
    builtin_layouts,
    identify_kernel,
    kernel_base,
)
from lab.symbols.port import ModuleSymbols, PdbId, SymbolStore
from lab.symbols.store import Symbols

KERNEL_SPACE = 0xFFFF_8000_0000_0000
"""Lowest kernel address of x64 with four-level paging."""

_MASK = 0xFFFF_FFFF_FFFF_FFFF


@dataclass(frozen=True, eq=False)
class Kernel:
    """A stopped kernel. Everything is read on demand; `dump` must stay open.

    `modules` is in load order, the kernel itself (`nt`) included. `nt_symbols` are the kernel's
    symbols, or None when no source has them. `notes` say what could not be found out, and why.
    """

    dump: Dump
    modules: tuple[LoadedModule, ...]
    nt: LoadedModule
    symbols: SymbolStore
    nt_symbols: ModuleSymbols | None = None
    unloaded: tuple[UnloadedModule, ...] = ()
    notes: tuple[str, ...] = ()
    _of: dict[int, ModuleSymbols | None] = field(default_factory=dict, repr=False)
    _images: dict[int, Image | None] = field(default_factory=dict, repr=False)
    _readings: Readings = field(default_factory=Readings, repr=False)

    @property
    def memory(self) -> Memory:
        """Virtual memory as the crashing processor saw it. Raises NotInDump or NotPresent."""
        return self.dump.memory

    @property
    def header(self) -> DumpHeader:
        return self.dump.header

    @property
    def context(self) -> Context:
        """Registers of the crashing processor. DumpError when the dump has none."""
        return self.dump.context

    @property
    def build(self) -> int:
        """NT build number as the header has it, 7601 for instance."""
        return self.dump.header.build

    # --- what readers stood on ---------------------------------------------------------------

    def reading(self, reader: str) -> AbstractContextManager[Used]:
        """Names and layouts asked for inside the block are remembered as what `reader` relied on.

        with kernel.reading("IRP log") as used:
            log = kernel.address("nt!IovIrpTraces")
            used.check("the length is a power of two")
        """
        return self._readings.begin(reader)

    @property
    def readings(self) -> tuple[Reading, ...]:
        """What every reader so far stood on."""
        return self._readings.done

    @property
    def wanted(self) -> tuple[WantedSymbols, ...]:
        """Modules that names were asked of and that no source has symbols for, kernel first."""
        places = self.symbols.places
        known = self.nt.pdb is None or self.symbols.find(self.nt.pdb) or builtin_kernel(self.nt.pdb)
        lacking = [] if known else [self.nt]
        lacking += [m for m in self.modules if m.base in self._of and self._of[m.base] is None]
        return tuple(
            WantedSymbols(m.name, m.pdb.name, m.pdb.folder, places) for m in lacking if m.pdb is not None
        )

    # --- modules -----------------------------------------------------------------------------

    def module_at(self, address: int) -> LoadedModule | None:
        """The loaded module whose image holds `address`."""
        bases, modules = self._by_base
        index = bisect_right(bases, address) - 1
        return modules[index] if index >= 0 and address < modules[index].end else None

    @cached_property
    def _by_base(self) -> tuple[list[int], list[LoadedModule]]:
        modules = sorted(self.modules, key=lambda module: module.base)
        return [module.base for module in modules], modules

    def module(self, name: str) -> LoadedModule | None:
        """The loaded module called `name`: "srv2", "srv2.sys" or "nt", in any case."""
        wanted = name.casefold()
        if wanted == "nt":
            return self.nt
        for module in self.modules:
            if wanted in (module.name.casefold(), self.short_name(module).casefold()):
                return module
        return None

    def unloaded_at(self, address: int) -> UnloadedModule | None:
        """The driver that was at `address` before it was unloaded."""
        return next((u for u in self.unloaded if u.start <= address < u.end), None)

    def short_name(self, module: LoadedModule) -> str:
        """The debugger's name: "nt" for the kernel, else the file name without .sys, .exe or .dll."""
        if module.base == self.nt.base:
            return "nt"
        stem, dot, extension = module.name.rpartition(".")
        return stem if dot and extension.casefold() in ("sys", "exe", "dll") else module.name

    def image(self, module: LoadedModule) -> Image | None:
        """The PE headers of `module`, or None when the dump does not hold them."""
        if module.base not in self._images:
            self._images[module.base] = read_image(self.memory, module.base)
        return self._images[module.base]

    def function(self, address: int) -> Function | None:
        """The .pdata entry that covers `address`; None for a leaf function.

        Raises DumpError when the dump cannot tell (no module, headers or table not in the dump).
        """
        module = self.module_at(address)
        image = self.image(module) if module else None
        if module is None or image is None:
            raise DumpError(f"no unwind data for {address:#x} in the dump")
        return find_function(self.memory, image, address - module.base)

    # --- names -------------------------------------------------------------------------------

    def module_symbols(self, module: LoadedModule) -> ModuleSymbols | None:
        """The symbols of `module`, found by its PDB id; None when there are none."""
        if module.base == self.nt.base:
            return self.nt_symbols
        if module.base not in self._of:
            self._of[module.base] = self.symbols.find(module.pdb) if module.pdb else None
        return self._of[module.base]

    def symbol(self, address: int, *, returns: bool = False) -> str:
        """`address` as the debugger writes it: "nt!KeBugCheckEx+0x10", "Suspect+0xaafa", "0x1234".

        `returns` says that `address` is a return address: the call before it decides the function,
        because a call that never returns may be the last instruction of its function. Code that the
        linker moved away from its function is named by the function it belongs to, with a distance
        that may be negative ("nt!PspExitThread+0xffffffff`fffe3ae9").
        """
        module = self.module_at(address)
        if module is None:
            gone = self.unloaded_at(address)
            return f"<unloaded {gone.name}>+{address - gone.start:#x}" if gone else f"{address:#018x}"
        name = self.short_name(module)
        found = self._nearest(module, address - module.base, address - returns - module.base)
        if found is None:
            return f"{name}+{address - module.base:#x}"
        function, distance = found
        return f"{name}!{function}{_offset(distance)}"

    def _nearest(self, module: LoadedModule, rva: int, control: int) -> tuple[str, int] | None:
        """(name, distance) of the function that holds RVA `control`, distance counted from `rva`."""
        symbols = self.module_symbols(module)
        if symbols is None:
            return None
        try:
            function = self.function(module.base + control)
        except DumpError:
            function = None
        if function is not None:
            exact = symbols.nearest(function.root)
            if exact is not None and exact[1] == 0:
                return exact[0], rva - function.root
        near = symbols.nearest(control)
        return None if near is None else (near[0], rva - control + near[1])

    def address(self, name: str) -> int | None:
        """Address of "nt!VfKeCriticalRegionTraces"; a name without module is the kernel's."""
        prefix, bang, symbol = name.rpartition("!")
        module = self.module(prefix) if bang else self.nt
        symbols = self.module_symbols(module) if module else None
        rva = symbols.rva(symbol) if symbols else None
        if module is None or symbols is None or rva is None:
            return None
        short = self.short_name(module)
        self._readings.fact(f"{short}!{symbol} = {short}+{rva:#x} ({symbols.source})")
        return module.base + rva

    # --- layouts -----------------------------------------------------------------------------

    def find_offset(self, type_name: str, field: str, module: str = "nt") -> int | None:
        """Byte offset of a field ("_KTHREAD", "StackBase"), or None when no symbols tell."""
        owner = self.module(module)
        symbols = self.module_symbols(owner) if owner else None
        found = symbols.offset(type_name, field) if symbols else None
        if symbols is not None and found is not None:
            self._readings.fact(f"{module}!{type_name}.{field} = +{found:#x} ({symbols.source})")
        return found

    def offset(self, type_name: str, field: str, module: str = "nt") -> int:
        """As `find_offset`, but DumpError names what is missing."""
        found = self.find_offset(type_name, field, module)
        if found is None:
            raise DumpError(
                f"the layout of {module}!{type_name}.{field} is not known for build {self.build}",
                help="Give a directory with the ISF file of this kernel's PDB (option --symbols).",
            )
        return found

    def size(self, type_name: str, module: str = "nt") -> int:
        """Size of a structure in bytes; DumpError when it is not known."""
        owner = self.module(module)
        symbols = self.module_symbols(owner) if owner else None
        found = symbols.size(type_name) if symbols else None
        if found is None:
            raise DumpError(f"the size of {module}!{type_name} is not known for build {self.build}")
        source = symbols.source if symbols else ""
        self._readings.fact(f"sizeof {module}!{type_name} = {found:#x} ({source})")
        return found

    # --- the crashing thread -----------------------------------------------------------------

    @cached_property
    def thread(self) -> int | None:
        """Address of the crashing thread's KTHREAD, or None when the dump does not tell.

        A small dump says it in its copy of the KPRCB. Any other: the processor whose saved context
        has the stack pointer of the header's context (KiProcessorBlock -> KPRCB.Context).
        """
        if self.dump.triage is not None:
            return self.dump.triage.thread_address
        prcb = self.processor
        if prcb is None:
            return None
        try:
            thread = u64(self.memory, prcb + 8)  # KPRCB.CurrentThread, the same in every build
        except DumpError:
            return None
        return thread if thread >= KERNEL_SPACE else None

    @cached_property
    def processor(self) -> int | None:
        """Address of the crashing processor's KPRCB, or None when the dump does not tell."""
        block = self.address("nt!KiProcessorBlock")
        field = self.find_offset("_KPRCB", "Context")
        if block is None:
            return None
        found: list[int] = []
        for number in range(min(self.header.processors or 1, 2048)):
            try:
                prcb = u64(self.memory, block + 8 * number)
                if prcb < KERNEL_SPACE:
                    continue
                found.append(prcb)
                if field is not None:
                    saved = u64(self.memory, prcb + field)
                    if u64(self.memory, saved + 0x98) == self.context.rsp:  # CONTEXT.Rsp
                        return prcb
            except DumpError:
                continue
        return found[0] if len(found) == 1 and (self.header.processors or 1) == 1 else None


def open_kernel(dump: Dump, symbols: SymbolStore | None = None) -> Kernel:
    """The kernel that `dump` is of. Built-in tables serve when `symbols` has no better.

    DumpError when not even the kernel itself can be found.
    """
    store = symbols if symbols is not None else Symbols(())
    modules, notes = read_modules(dump)
    identified = _identify(dump, _base_of_kernel(dump, modules))
    if not modules:
        modules = (_only_kernel(dump, identified, notes),)
    base = _base_of_kernel(dump, modules)
    nt = next(m for m in modules if m.base == base)
    pdb, found, note = _symbols_of_kernel(dump, nt, identified, store)
    nt = replace(nt, pdb=pdb)
    modules = tuple(nt if m.base == nt.base else m for m in modules)
    notes = (*notes, note) if note else notes
    kernel = Kernel(dump, modules, nt, store, found, (), notes)
    return replace(kernel, unloaded=read_unloaded(dump, kernel.address))


def _base_of_kernel(dump: Dump, modules: tuple[LoadedModule, ...]) -> int | None:
    """Of the module that holds the list heads of the header; else the first one, as Windows lists it."""
    for head in (dump.header.module_list, dump.header.debugger_data):
        for module in modules:
            if head is not None and module.base <= head < module.end:
                return module.base
    return modules[0].base if modules else None


def _identify(dump: Dump, base: int | None) -> BuiltinKernel | None:
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


def _only_kernel(dump: Dump, identified: BuiltinKernel | None, notes: tuple[str, ...]) -> LoadedModule:
    """The kernel where its build says that it is, if its headers are there. DumpError if not."""
    head = dump.header.module_list
    if identified is not None and head is not None:
        base = kernel_base(identified, head)
        image = read_image(dump.memory, base)
        if image is not None:
            return LoadedModule("ntoskrnl.exe", "ntoskrnl.exe", base, image.size, image.timestamp, image.pdb)
    raise DumpError(
        f"no module of {dump.path.name} can be read: {'; '.join(notes) or 'it lists none'}",
        help="Take a kernel dump that is whole; its header alone still tells the bugcheck.",
    )


def _symbols_of_kernel(
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


def _offset(distance: int) -> str:
    if distance == 0:
        return ""
    if distance > 0:
        return f"+{distance:#x}"
    high, low = divmod(distance & _MASK, 1 << 32)
    return f"+{high:#x}`{low:08x}"
