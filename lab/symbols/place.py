"""One place where symbols may be and what it answers; names, ids and `file.ptr` as all stores have them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lab.model import ConfigurationError
from lab.symbols.notes import printable
from lab.symbols.pdb import Pdb, open_pdb
from lab.symbols.port import ModuleSymbols, PdbId

_NAME = re.compile(r"[\w+()\[\]-][\w.+()\[\] -]{0,127}")
_MAX_NAME = 200  # bytes; file systems take 255, and temporary names are longer
_GUID = re.compile(r"[0-9A-Fa-f]{32}")
MAX_POINTER = 4096
"""Bytes of the largest `file.ptr`."""


@dataclass(frozen=True)
class Answer:
    """What a place has of one PDB, or why it has nothing, in words that follow "folder /symbols: ".

    `trouble` says that something is wrong there, so that it is worth a note even when another place has
    the symbols.
    """

    symbols: ModuleSymbols | None
    said: str
    trouble: bool = False


class Place(Protocol):
    """Somewhere to look. `look` never raises on what it finds; it may on a programming error only."""

    @property
    def name(self) -> str:
        """In words for a person: "folder /symbols", "https://..."."""

    def look(self, pdb: PdbId) -> Answer: ...


class WrongId(ConfigurationError):
    """A PDB that is not the one that was asked for."""


def file_name(pdb: PdbId) -> str | None:
    """The file name of a PDB as stores use it; None when it is not fit for a path or a URL.

    Names and GUIDs come out of dumps: they must not lead anywhere else.
    """
    fit = _NAME.fullmatch(pdb.name) and len(pdb.name.encode("utf-8", "replace")) <= _MAX_NAME
    return pdb.name if fit and _GUID.fullmatch(pdb.guid) and 0 <= pdb.age < 1 << 32 else None


def open_exactly(path: Path, pdb: PdbId, name: str) -> Pdb:
    """The PDB file at `path`, called `name`. WrongId when it has another id than `pdb`.

    ConfigurationError when it is not a PDB, or is damaged.
    """
    found = open_pdb(path, name)
    if (found.guid, found.age) != (pdb.guid.upper(), pdb.age):
        raise WrongId(f"{name} has another id: {PdbId(name, found.guid, found.age).key}")
    return found


def read_pointer(content: bytes) -> str:
    """The path or URL that a `file.ptr` names. ConfigurationError with its message when it has one instead.

    Forms: `PATH:` and a path, `MSG:` and a sentence for the user, or a path alone.
    """
    text = content.decode("utf-8", "replace").strip("\ufeff\0 \t\r\n")
    kind, _, rest = text.partition(":")
    if kind.upper() == "MSG":
        raise ConfigurationError(f"file.ptr says: {printable(rest)}")
    target = rest.strip() if kind.upper() == "PATH" else text
    if not target or printable(target) != target:
        raise ConfigurationError("file.ptr does not name a file")
    return target
