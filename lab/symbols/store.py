"""Where symbols are looked for: folders and servers in the order given, the built-in tables last."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import urlsplit

from lab.model import ConfigurationError
from lab.symbols.builtin import builtin_kernel
from lab.symbols.cache import Cache, default_cache
from lab.symbols.folder import Folder, LooseFile
from lab.symbols.place import Answer, Place
from lab.symbols.port import ModuleSymbols, PdbId
from lab.symbols.server import Server

_STORE, _CACHE = "srv", "cache"
_AGAIN = 300.0  # seconds until places are asked again for what they lack; a folder may be watched for weeks
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")


class Places:
    """A SymbolStore that asks each place in turn. What was found is kept; for minutes, what was not."""

    def __init__(self, places: Iterable[Place]) -> None:
        self._places = tuple(places)
        self._found: dict[PdbId, ModuleSymbols] = {}
        self._missed: dict[PdbId, float] = {}
        self._answers: dict[PdbId, tuple[str, ...]] = {}
        self._troubles: dict[str, None] = {}

    @property
    def places(self) -> tuple[str, ...]:
        return tuple(place.name for place in self._places)

    def find(self, pdb: PdbId) -> ModuleSymbols | None:
        if pdb not in self._found and time.monotonic() >= self._missed.get(pdb, 0):
            found = self._look(pdb)
            if found is None:
                self._missed[pdb] = time.monotonic() + _AGAIN
            else:
                self._found[pdb] = found
        return self._found.get(pdb)

    def answers(self, pdb: PdbId) -> tuple[str, ...]:
        if pdb not in self._answers:
            self.find(pdb)
        return self._answers[pdb]

    @property
    def notes(self) -> tuple[str, ...]:
        damaged = (note for found in self._found.values() for note in getattr(found, "notes", ()))
        return tuple(dict.fromkeys([*self._troubles, *damaged]))

    def _look(self, pdb: PdbId) -> ModuleSymbols | None:
        said: list[str] = []
        found = None
        for place in self._places:
            answer = place.look(pdb)
            said.append(f"{place.name}: {answer.said}")
            if answer.trouble:
                self._troubles[f"symbols of {pdb.name} {pdb.folder}: {said[-1]}"] = None
            if answer.symbols is not None:
                found = answer.symbols
                break
        self._answers[pdb] = tuple(said)
        return found


class BuiltinTables:
    """The tables of public kernels that come with the program."""

    name = "the built-in tables"

    def look(self, pdb: PdbId) -> Answer:
        found = builtin_kernel(pdb)
        return Answer(found, found.source if found else "not among them")


def symbol_store(
    specs: Iterable[str | Path] = (), *, cache: Path | None = None, offline: bool = False
) -> Places:
    """The store that looks in `specs` in order, then in the built-in tables.

    A spec is a folder (ISF files, a symbol store in srv layout, or loose PDB files), one such file, a URL http(s)://...,
    `srv*FOLDER*URL` or `cache*FOLDER` as debuggers write them. What servers send is kept in the folder of
    `srv*`, else that of `cache*`, else `cache`, else in the user's cache folder. `offline` asks no server,
    but looks into those folders. ConfigurationError when a spec is none of these.
    """
    specs = tuple(specs)
    kept = Cache(cache or default_cache()) if specs else Cache(Path())
    places: dict[Path | str, Place] = {}
    for spec in specs:
        kind, folders, url = read_spec(spec)
        if kind == _CACHE or (kind == _STORE and url and folders):
            nearest = Cache(folders[0])
            kept = nearest if kind == _CACHE else kept
        else:
            nearest = kept
        looked = [*folders, nearest.folder] if url else folders
        for folder in looked:
            places.setdefault(folder, _at(folder, nearest))
        if url:
            places.setdefault(url.rstrip("/"), Server(url, nearest, offline=offline))
    return Places((*places.values(), BuiltinTables()))


def _at(path: Path, kept: Cache) -> Place:
    return LooseFile(path) if os.path.isfile(path) else Folder(path, kept)  # noqa: PTH113  never raises


def split_symbol_path(text: str) -> tuple[str, ...]:
    """The specs of a symbol path as debuggers have it (`_NT_SYMBOL_PATH`), which `;` separates."""
    return tuple(spec.strip() for spec in text.split(";") if spec.strip())


def read_spec(spec: str | Path) -> tuple[str, tuple[Path, ...], str]:
    """("srv", "cache" or "" for a folder or URL, folders, URL or ""). ConfigurationError."""
    text = str(spec)
    head, star, rest = text.partition("*")
    kind = head.casefold() if star and not isinstance(spec, Path) else ""
    if kind == "symsrv":  # the long form names the library that is to ask
        kind, rest = _STORE, rest.partition("*")[2]
    if kind in (_STORE, _CACHE):
        parts = [part for part in rest.split("*") if part]
    elif not text.strip():
        raise ConfigurationError("a place for symbols is empty", help=_HELP)
    else:
        kind, parts = "", [text]
    url = parts.pop() if parts and isinstance(spec, str) and "://" in parts[-1] else ""
    if url:
        _check_url(url)
    if any("://" in part for part in parts) and isinstance(spec, str):
        raise ConfigurationError(f"'{_public(text)}' has a URL that is not its last part", help=_HELP)
    if os.name != "nt" and any(_WINDOWS.match(part) for part in parts):
        raise ConfigurationError(
            f"'{_public(text)}' has a folder of Windows, which is not here",
            help="Give its path here.",
        )
    if not (url or parts) or (kind == _CACHE and (url or len(parts) != 1)):
        raise ConfigurationError(f"'{_public(text)}' names no place for symbols", help=_HELP)
    return kind, tuple(Path(part) for part in parts), url


def resolve_spec(spec: str, resolve: Callable[[str], Path]) -> str:
    """`spec` with its folders as `resolve` has them. ConfigurationError when it is not a spec."""
    kind, folders, url = read_spec(spec)
    parts = [
        *([kind] if kind else []),
        *(str(resolve(str(folder))) for folder in folders),
        *([url] if url else []),
    ]
    return "*".join(parts)


_HELP = "Give a folder, a URL https://..., or srv*FOLDER*URL."


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna")
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or any(c.isspace() or not c.isprintable() for c in url):
        raise ConfigurationError(f"'{_public(url)}' is not the URL of a symbol server", help=_HELP)
    if parts.scheme == "http" and parts.password:
        raise ConfigurationError(
            f"'{_public(url)}' has a password, which would travel in clear text", help="Give an https:// URL."
        )


def _public(text: str) -> str:
    """A spec as it can be shown: a URL in it without user and password."""
    before, separator, behind = text.rpartition("@")
    return f"{before.partition('://')[0]}://{behind}" if separator and "://" in before else text
