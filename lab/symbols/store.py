"""Where symbols are looked for: directories of ISF files first, the built-in kernel tables last."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from lab.symbols.builtin import builtin_kernel
from lab.symbols.isf import load_isf
from lab.symbols.port import ModuleSymbols, PdbId

_NAME = re.compile(r"[\w+()\[\]-][\w.+()\[\] -]{0,127}")  # a file name, never a path
_GUID = re.compile(r"[0-9A-Fa-f]{32}")


class Symbols:
    """A SymbolStore over directories.

    In each, `<pdb name>/<GUID>-<age>.json[.xz]` and `<GUID>-<age>.json[.xz]` are tried; the id inside
    the file decides. Results, also that there are none, are kept. ConfigurationError from `find`
    when a file with the right name is damaged.
    """

    def __init__(self, directories: Iterable[Path | str] = ()) -> None:
        self._directories = tuple(Path(d) for d in directories)
        self._found: dict[PdbId, ModuleSymbols | None] = {}

    @property
    def places(self) -> tuple[str, ...]:
        return (*(f"folder {directory}" for directory in self._directories), "the built-in tables")

    def find(self, pdb: PdbId) -> ModuleSymbols | None:
        if pdb not in self._found:
            self._found[pdb] = self._load(pdb)
        return self._found[pdb]

    def _load(self, pdb: PdbId) -> ModuleSymbols | None:
        # Name and GUID come out of a dump: they must not lead out of the directories.
        if _GUID.fullmatch(pdb.guid):
            for path in self._candidates(pdb):
                if path.is_file():
                    found = load_isf(path, pdb)
                    if found is not None:
                        return found
        return builtin_kernel(pdb)

    def _candidates(self, pdb: PdbId) -> Iterable[Path]:
        guid = pdb.guid.upper()
        names = dict.fromkeys((f"{guid}-{pdb.age:x}", f"{guid}-{pdb.age:X}", pdb.key))
        folders = dict.fromkeys((pdb.name, pdb.name.lower())) if _NAME.fullmatch(pdb.name) else ()
        for directory in self._directories:
            for place in (*(directory / folder for folder in folders), directory):
                for name in names:
                    yield place / f"{name}.json"
                    yield place / f"{name}.json.xz"
