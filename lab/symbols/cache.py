"""A folder in the layout of symbol stores that PDBs are kept in: `NAME/GUIDAGE/NAME`.

Processes may share it: a file appears under its name whole and checked, or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from lab.model import ConfigurationError
from lab.symbols import cabinet
from lab.symbols.files import PositionedFile
from lab.symbols.pdb import Pdb
from lab.symbols.place import file_name, open_exactly
from lab.symbols.port import PdbId

MAX_FILE = 2 << 30
"""Bytes of the largest file that is fetched or unpacked."""

Fill = Callable[[BinaryIO], None]


class Cache:
    """The folder is made when something is first kept in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, pdb: PdbId) -> Pdb | None:
        """The PDB if it is there. ConfigurationError when what is there is damaged or of another id."""
        path = self._path(pdb)
        there = os.path.isfile(path)  # noqa: PTH113  unlike Path.is_file it never raises
        return open_exactly(path, pdb, pdb.name) if there else None

    def keep(self, pdb: PdbId, fill: Fill) -> Pdb:
        """Let `fill` write a file, plain or in a cabinet, and keep it if it is `pdb`.

        ConfigurationError when it is not, when it is damaged, or when the folder cannot be written;
        whatever `fill` raises goes through. Nothing is kept then.
        """
        final = self._path(pdb)
        with self._part(pdb.name, fill) as raw:
            source = PositionedFile(raw)
            if source.read(0, 4) == cabinet.MAGIC:
                with self._part(
                    pdb.name, lambda file: cabinet.expand(source, pdb.name, file, MAX_FILE)
                ) as unpacked:
                    return self._place(unpacked, final, pdb)
            return self._place(raw, final, pdb)

    def _place(self, part: Path, final: Path, pdb: PdbId) -> Pdb:
        found = open_exactly(part, pdb, pdb.name)
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            part.replace(final)
        except OSError as error:
            raise self._cannot(error) from None
        return found

    @contextmanager
    def _part(self, name: str, fill: Fill) -> Iterator[Path]:
        """A temporary file that `fill` wrote; it is gone at the end unless it got another name."""
        part = self.folder / f"{name}.{os.getpid()}-{os.urandom(4).hex()}.part"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with part.open("xb") as file:
                fill(file)
                file.flush()
                os.fsync(file.fileno())  # or a power cut leaves a file with its name and without its blocks
            yield part
        except OSError as error:
            raise self._cannot(error) from None
        finally:
            with suppress(OSError):
                part.unlink()

    def _path(self, pdb: PdbId) -> Path:
        name = file_name(pdb)
        if name is None:
            raise ConfigurationError(f"'{pdb.name[:80]}' is not a name that a PDB can have in a store")
        return self.folder / name / pdb.folder / name

    def _cannot(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(f"the cache {self.folder} cannot be written: {error.strerror or error}")


def default_cache() -> Path:
    """`bugcheck-lab/symbols` in the user's cache folder. ConfigurationError for a user without a home."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    try:
        folder = Path(given) if given.startswith("/") else Path.home() / ".cache"
    except RuntimeError:
        raise ConfigurationError(
            "there is no home folder to keep symbols in", help="Give a folder with --symbol-cache."
        ) from None
    return folder / "bugcheck-lab" / "symbols"
