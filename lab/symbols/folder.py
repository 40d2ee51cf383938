"""A folder as a place for symbols: ISF files, a symbol store in srv layout, or loose PDB files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

from lab.model import ConfigurationError
from lab.symbols import cabinet
from lab.symbols.cache import MAX_FILE, Cache
from lab.symbols.files import PositionedFile
from lab.symbols.isf import load_isf
from lab.symbols.place import MAX_POINTER, Answer, WrongId, file_name, open_exactly, read_pointer
from lab.symbols.port import ModuleSymbols, PdbId


class LooseFile:
    """One PDB or ISF file, for the image whose id it has."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        return f"file {self._path}"

    def look(self, pdb: PdbId) -> Answer:
        try:
            if self._path.name.endswith((".json", ".json.xz")):
                found: ModuleSymbols | None = load_isf(self._path, pdb)
            else:
                found = open_exactly(self._path, pdb, self._path.name)
        except WrongId:
            found = None
        except ConfigurationError as error:
            return Answer(None, str(error), trouble=True)
        return Answer(found, "found" if found else "is of another PDB")


class Folder:
    """Looks for `NAME/GUID-AGE.json[.xz]` and `GUID-AGE.json[.xz]` (ISF), then as symbol stores have it for
    `NAME/GUIDAGE/NAME`, `NAME/GUIDAGE/NAM_` (compressed) and `NAME/GUIDAGE/file.ptr`, then for `NAME`.

    With a file `index2.txt` in its root, names are in folders of their first two letters. What is
    compressed is unpacked into `cache`. The id inside a file decides.
    """

    def __init__(self, path: Path, cache: Cache) -> None:
        self.path = path
        self._cache = cache

    @property
    def name(self) -> str:
        return f"folder {self.path}"

    def look(self, pdb: PdbId) -> Answer:
        name = file_name(pdb)
        if name is None:
            return Answer(None, "not asked: the name or the GUID is not fit for a path")
        if not os.path.isdir(self.path):  # noqa: PTH112  unlike Path.is_dir it never raises
            return Answer(None, "there is no such folder")
        if not os.access(self.path, os.R_OK | os.X_OK):
            return Answer(None, "may not be read", trouble=True)
        said: list[str] = []
        trouble = False
        for path, load in self._candidates(pdb, name):
            if not os.path.isfile(path):  # noqa: PTH113  unlike Path.is_file it never raises
                continue
            try:
                found = load(path)
            except ConfigurationError as error:
                said.append(str(error))
                trouble |= not isinstance(error, WrongId)
                continue
            if found is not None:
                return Answer(found, "; ".join([*said, f"found as {path.relative_to(self.path)}"]), trouble)
            said.append(f"{path.name} is of another PDB")
        return Answer(None, "; ".join(said) or "not there", trouble)

    def _candidates(
        self, pdb: PdbId, name: str
    ) -> Iterator[tuple[Path, Callable[[Path], ModuleSymbols | None]]]:
        """Files to try, and how each is read."""
        guid = pdb.guid.upper()
        names = dict.fromkeys((name, name.lower()))
        for folder in (*(self.path / n for n in names), self.path):
            for key in dict.fromkeys((f"{guid}-{pdb.age:x}", f"{guid}-{pdb.age:X}", pdb.key)):
                for suffix in (".json", ".json.xz"):
                    yield folder / f"{key}{suffix}", lambda path: load_isf(path, pdb)
        for n in names:
            root = self.path / n[:2] / n if self._two_tier else self.path / n
            for key in dict.fromkeys((pdb.folder, f"{guid}{pdb.age:x}", f"{guid}{pdb.age:x}".lower())):
                yield root / key / n, lambda path: open_exactly(path, pdb, path.name)
                yield root / key / f"{n[:-1]}_", lambda path: self._unpack(path, pdb)
                yield root / key / "file.ptr", lambda path: self._follow(path, pdb)
        for n in names:
            if not os.path.isdir(self.path / n):  # noqa: PTH112  as above
                yield self.path / n, lambda path: open_exactly(path, pdb, path.name)

    @cached_property
    def _two_tier(self) -> bool:
        return os.path.isfile(self.path / "index2.txt")  # noqa: PTH113  as above

    def _unpack(self, path: Path, pdb: PdbId) -> ModuleSymbols:
        kept = self._cache.find(pdb)
        if kept is not None:
            return kept
        packed = PositionedFile(path)
        return self._cache.keep(pdb, lambda target: cabinet.expand(packed, pdb.name, target, MAX_FILE))

    def _follow(self, path: Path, pdb: PdbId) -> ModuleSymbols:
        """What `file.ptr` points to: a path on this machine."""
        target = read_pointer(PositionedFile(path).read(0, MAX_POINTER))
        pointed = path.parent / target
        if not os.path.isfile(pointed):  # noqa: PTH113  unlike Path.is_file it never raises
            raise ConfigurationError(f"file.ptr points to {target}, which is not a file here")
        return open_exactly(pointed, pdb, pointed.name)
