"""What the analyser asks of symbols, whatever their source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, order=True)
class PdbId:
    """Identity of a PDB: name, GUID as 32 upper-case hexadecimal digits, age.

    `path` is the name as the linker wrote it into the image, "D:\\build\\x.pdb"; no part of the identity.
    """

    name: str
    guid: str
    age: int
    path: str = field(default="", compare=False)

    @property
    def key(self) -> str:
        """`GUID-age` with hexadecimal age, as ISF file names have it."""
        return f"{self.guid}-{self.age:x}"

    @property
    def folder(self) -> str:
        """GUID and hexadecimal age in one, as symbol servers' paths have it."""
        return f"{self.guid.upper()}{self.age:X}"


class ModuleSymbols(Protocol):
    """Symbols of one module. Addresses are RVAs. All lookups are exact or None; nothing is guessed."""

    @property
    def source(self) -> str:
        """Where they come from, for the report."""

    def rva(self, name: str) -> int | None: ...

    def nearest(self, rva: int) -> tuple[str, int] | None:
        """(name, offset) of the closest symbol at or below `rva`."""

    def offset(self, type_name: str, field: str) -> int | None:
        """Byte offset of a field, `offset("_KTHREAD", "StackBase")`."""

    def size(self, type_name: str) -> int | None: ...

    def names(self) -> Iterator[tuple[str, int]]:
        """Every name with its RVA, in no order."""

    def fields(self, type_name: str) -> tuple[tuple[str, int], ...]:
        """Name and byte offset of every field that `offset` knows without a dot, in order of offsets.

        Empty for a type that is not known.
        """


class SymbolStore(Protocol):
    """Finds the symbols of a module by its PDB id. None when it has none; never another id's.

    What is wrong with a place or a file is told in `answers` and `notes`; nothing of it is raised.
    """

    def find(self, pdb: PdbId) -> ModuleSymbols | None: ...

    @property
    def places(self) -> tuple[str, ...]:
        """Where it looks, in order, in words for a person: "folder /symbols", "https://..."."""

    def answers(self, pdb: PdbId) -> tuple[str, ...]:
        """What each place said of `pdb`, in order: "folder /symbols: not there"."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was wrong with places and files so far: servers that failed, files that are damaged."""
