"""Names and layouts from PDBs, ISF files, symbol servers and built-in tables, never of the wrong build."""

from lab.symbols.builtin import builtin_kernel, identify_kernel
from lab.symbols.port import ModuleSymbols, PdbId, SymbolStore
from lab.symbols.store import resolve_spec, split_symbol_path, symbol_store

__all__ = [
    "ModuleSymbols",
    "PdbId",
    "SymbolStore",
    "builtin_kernel",
    "identify_kernel",
    "resolve_spec",
    "split_symbol_path",
    "symbol_store",
]
