"""Names and layouts of a kernel: built-in tables and ISF files, never of the wrong build."""

from lab.symbols.builtin import builtin_kernel, identify_kernel
from lab.symbols.port import ModuleSymbols, PdbId, SymbolStore
from lab.symbols.store import Symbols

__all__ = ["ModuleSymbols", "PdbId", "SymbolStore", "Symbols", "builtin_kernel", "identify_kernel"]
