"""The stopped kernel as one thing to ask: its modules, its names, its layouts, its memory."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property

from lab.dumps.context import Context
from lab.dumps.dump import Dump
from lab.dumps.header import DumpHeader
from lab.dumps.memory import Memory
from lab.kernel.debugger import DebuggerData, read_debugger_data
from lab.kernel.image import Function, Image, find_function, read_image
from lab.kernel.modules import LoadedModule, UnloadedModule
from lab.kernel.naming import name_of
from lab.kernel.prcb import Prcb, crashed_processor, processors_of
from lab.kernel.reading import Readings, Used
from lab.model import Bugcheck, DumpError, Reading, WantedSymbols
from lab.symbols.builtin import builtin_kernel
from lab.symbols.port import ModuleSymbols, SymbolStore

_HELP = "Give symbols of exactly this module's PDB (option --symbols): a folder of them or a symbol server."


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
    _memory: Memory | None = field(default=None, repr=False)
    _behind: ModuleSymbols | None = field(default=None, repr=False)
    _of: dict[int, ModuleSymbols | None] = field(default_factory=dict, repr=False)
    _images: dict[int, Image | None] = field(default_factory=dict, repr=False)
    _names: dict[tuple[int, bool], str] = field(default_factory=dict, repr=False)
    _readings: Readings = field(default_factory=Readings, repr=False)

    @property
    def memory(self) -> Memory:
        """Virtual memory as the crashing processor saw it. Raises NotInDump or NotPresent."""
        return self._memory or self.dump.memory

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

    @cached_property
    def bugcheck(self) -> Bugcheck:
        """The stop: as the header has it, else as nt!KiBugCheckData has it. Code 0 when neither tells."""
        told = self.dump.bugcheck
        address = None if told.code else self.address("nt!KiBugCheckData")
        if address is None:
            return told
        try:
            code, first, second, third, fourth = struct.unpack("<5Q", self.memory.read(address, 40))
        except DumpError:
            return told
        return Bugcheck(code & 0xFFFFFFFF, (first, second, third, fourth))

    @cached_property
    def debugger(self) -> DebuggerData | None:
        """KDDEBUGGER_DATA64, in clear; None when the dump does not hold it, or not in a form to be read."""
        address = self.header.debugger_data or self._told("nt!KdDebuggerDataBlock")
        try:
            found = read_debugger_data(self.memory, address or 0, self._told)
        except DumpError:
            return None
        # A block that names another kernel is a leftover, and says nothing of this one.
        return found if found.kernel_base in (0, self.nt.base) else None

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
        known = self.nt.pdb is None or self.symbols.find(self.nt.pdb) or builtin_kernel(self.nt.pdb)
        lacking = [] if known else [self.nt]
        lacking += [m for m in self.modules if m.base in self._of and self._of[m.base] is None]
        return tuple(
            WantedSymbols(m.name, m.pdb.name, m.pdb.folder, self.symbols.answers(m.pdb))
            for m in lacking
            if m.pdb is not None
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
        key = (address, returns)
        if key not in self._names:
            self._names[key] = name_of(self, address, returns)
        return self._names[key]

    def address(self, name: str) -> int | None:
        """Address of "nt!VfKeCriticalRegionTraces"; a name without module is the kernel's.

        Variables that symbols do not tell are taken from KDDEBUGGER_DATA64 when it has them.
        """
        found = self._told(name)
        if found is not None:
            return found
        prefix, bang, symbol = name.rpartition("!")
        if bang and prefix.casefold() != "nt":
            return None
        data = self.debugger
        found = data.variable(symbol) if data else None
        if data is not None and found is not None:
            self._readings.fact(f"nt!{symbol} = {found:#x} ({data.source})")
        return found

    def need(self, name: str) -> int:
        """As `address`, but DumpError names what is missing."""
        found = self.address(name)
        if found is None:
            raise DumpError(f"the address of {name} is not known for build {self.build}", help=_HELP)
        return found

    def _told(self, name: str) -> int | None:
        """As `address`, by symbols alone."""
        prefix, bang, symbol = name.rpartition("!")
        module = self.module(prefix) if bang else self.nt
        for symbols in self._sources(module):
            rva = symbols.rva(symbol)
            if module is not None and rva is not None:
                short = self.short_name(module)
                self._readings.fact(f"{short}!{symbol} = {short}+{rva:#x} ({symbols.source})")
                return module.base + rva
        return None

    def _sources(self, module: LoadedModule | None) -> tuple[ModuleSymbols, ...]:
        """The symbols of `module`, and for the kernel what may fill their gaps."""
        found = self.module_symbols(module) if module else None
        extra = self._behind if module is not None and module.base == self.nt.base else None
        return tuple(each for each in (found, extra) if each is not None)

    # --- layouts -----------------------------------------------------------------------------

    def find_offset(self, type_name: str, field: str, module: str = "nt") -> int | None:
        """Byte offset of a field ("_KTHREAD", "StackBase"), or None when no symbols tell."""
        found, source = self._layout(module, lambda told: told.offset(type_name, field))
        if found is not None:
            self._readings.fact(f"{module}!{type_name}.{field} = +{found:#x} ({source})")
        return found

    def offset(self, type_name: str, field: str, module: str = "nt") -> int:
        """As `find_offset`, but DumpError names what is missing."""
        found = self.find_offset(type_name, field, module)
        if found is None:
            what = f"the layout of {module}!{type_name}.{field}"
            raise DumpError(f"{what} is not known for build {self.build}", help=_HELP)
        return found

    def find_size(self, type_name: str, module: str = "nt") -> int | None:
        """Size of a structure in bytes, or None when no symbols tell."""
        found, source = self._layout(module, lambda told: told.size(type_name))
        if found is not None:
            self._readings.fact(f"sizeof {module}!{type_name} = {found:#x} ({source})")
        return found

    def size(self, type_name: str, module: str = "nt") -> int:
        """As `find_size`, but DumpError when it is not known."""
        found = self.find_size(type_name, module)
        if found is None:
            what = f"the size of {module}!{type_name}"
            raise DumpError(f"{what} is not known for build {self.build}", help=_HELP)
        return found

    def _layout(
        self, module: str, ask: Callable[[ModuleSymbols | DebuggerData], int | None]
    ) -> tuple[int | None, str]:
        """(answer, its source): of the first symbols that have one, for the kernel else of its KDBG."""
        for symbols in self._sources(self.module(module)):
            found = ask(symbols)
            if found is not None:
                return found, symbols.source
        data = self.debugger if module == "nt" else None
        return (ask(data), data.source) if data is not None else (None, "")

    # --- processors --------------------------------------------------------------------------

    @cached_property
    def processors(self) -> tuple[Prcb, ...]:
        """Every processor that the dump holds; of older small dumps the crashing one alone."""
        return processors_of(self)

    @cached_property
    def crashed(self) -> tuple[Prcb | None, str]:
        """(the processor that stopped the system, how that shows: "saved ...", "runs ...", "is ...")."""
        return crashed_processor(self)

    @property
    def processor(self) -> int | None:
        """Address of the crashing processor's KPRCB, or None when the dump does not tell."""
        found = self.crashed[0]
        return found.address or None if found else None

    @property
    def thread(self) -> int | None:
        """KTHREAD that the crashing processor was running, or None when the dump does not tell."""
        if self.dump.triage is not None:
            return self.dump.triage.thread_address
        found = self.crashed[0]
        return found.thread or None if found else None
