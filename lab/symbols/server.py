"""A symbol server on the network as a place for symbols: Microsoft's, SymProxy, or any with its layout."""

from __future__ import annotations

import time
from typing import BinaryIO
from urllib.parse import quote, urlsplit

from lab.model import ConfigurationError
from lab.symbols import cabinet, msf
from lab.symbols.cache import MAX_FILE, Cache
from lab.symbols.download import Body, Downloads, Refused, SymbolTimeouts, Unreachable, public_url
from lab.symbols.pdb import Pdb
from lab.symbols.place import MAX_POINTER, Answer, WrongId, file_name, read_pointer
from lab.symbols.port import PdbId

_SILENCE = 300.0  # seconds for which a server that cannot be reached is not asked again
_POINTER = "file.ptr"


class Server:
    """Asks for `NAME/GUIDAGE/NAME`, then for the compressed `NAM_`, then for `file.ptr`.

    A file is kept in `kept` once its id is checked. A server that cannot be reached is left alone for
    some minutes, so that it costs one time-out and not one a module. `offline` asks nothing.
    """

    def __init__(
        self, url: str, kept: Cache, *, offline: bool = False, timeouts: SymbolTimeouts | None = None
    ) -> None:
        parts = urlsplit(url)
        self._base = parts._replace(path=parts.path.rstrip("/"), query="", fragment="").geturl()
        self._query = f"?{parts.query}" if parts.query else ""
        self._cache = kept
        self._offline = offline
        self._downloads = Downloads(timeouts or SymbolTimeouts())
        self._two_tier: bool | None = None  # names in folders of their first two letters; None: not known
        self._failed = -_SILENCE, ""  # when it could not be reached, and why

    @property
    def name(self) -> str:
        return public_url(self._base)

    def look(self, pdb: PdbId) -> Answer:
        name = file_name(pdb)
        if name is None:
            return Answer(None, "not asked: the name or the GUID is not fit for a URL")
        if self._offline:
            return Answer(None, "not asked: offline")
        since, why = self._failed
        if why and time.monotonic() - since < _SILENCE:
            return Answer(None, f"not asked again: {why}", trouble=True)
        try:
            return Answer(self._fetch(pdb, name), f"fetched into {self._cache.folder}")
        except Refused as error:
            return Answer(None, str(error), trouble=error.trouble)
        except ConfigurationError as error:
            return Answer(None, str(error), trouble=True)
        except Unreachable as error:
            self._failed = time.monotonic(), str(error)
            return Answer(None, str(error), trouble=True)

    def _fetch(self, pdb: PdbId, name: str) -> Pdb:
        tier = f"{quote(name[:2])}/" if self._has_two_tiers() else ""
        folder = f"{self._base}/{tier}{quote(name)}/{pdb.folder}"
        refusals = []
        for file in (name, f"{name[:-1]}_", _POINTER):
            url = f"{folder}/{quote(file)}{self._query}"
            try:
                return self._download(self._pointed(url) if file == _POINTER else url, pdb)
            except Refused as error:
                if not error.absent:
                    raise
                refusals.append(error)
        raise next((r for r in refusals if r.trouble), refusals[0])

    def _download(self, url: str, pdb: PdbId) -> Pdb:
        with self._downloads.get(url, MAX_FILE, "file") as body:
            try:
                return self._cache.keep(pdb, lambda file: _copy(body, file))
            except WrongId as error:
                raise Refused(f"sent another PDB: {error}") from None

    def _pointed(self, url: str) -> str:
        """The URL that `file.ptr` names; like a redirect, it never leads to where nothing is encrypted."""
        with self._downloads.get(url, MAX_POINTER, _POINTER) as body:
            content = b"".join(body.chunks)
        if _is_page(content, body):
            raise Refused(_not_symbols(content, body))
        target = read_pointer(content)
        try:
            scheme = urlsplit(target).scheme
        except ValueError:
            scheme = ""
        if scheme not in ("http", "https"):
            raise Refused(f"its file.ptr points to {target}, which cannot be fetched")
        if scheme == "http" and urlsplit(self._base).scheme == "https":
            raise Refused(f"its file.ptr points to {public_url(target)}, which is not encrypted")
        return target

    def _has_two_tiers(self) -> bool:
        """A store says so by a file `index2.txt` in its root. A server in trouble has not said anything."""
        if self._two_tier is None:
            try:
                with self._downloads.get(f"{self._base}/index2.txt{self._query}", MAX_FILE, "file") as body:
                    self._two_tier = not _is_page(next(body.chunks, b""), body)
            except Refused as error:
                self._two_tier = False if error.absent else None
        return bool(self._two_tier)


def _copy(body: Body, target: BinaryIO) -> None:
    """The body, if it begins like a PDB or a cabinet."""
    head = b""
    for chunk in body.chunks:
        if len(head) >= len(msf.MAGIC):
            target.write(chunk)
            continue
        head += chunk
        if len(head) >= len(msf.MAGIC):
            if not head.startswith((msf.MAGIC, cabinet.MAGIC)):
                break
            target.write(head)
    if not head:
        raise Refused("sent an empty file")
    if len(head) < len(msf.MAGIC) or not head.startswith((msf.MAGIC, cabinet.MAGIC)):
        raise Refused(_not_symbols(head, body))


def _is_page(content: bytes, body: Body) -> bool:
    start = content[:64].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return "html" in body.kind or start.startswith((b"<!doctype", b"<html"))


def _not_symbols(content: bytes, body: Body) -> str:
    if _is_page(content, body):
        return "sent a web page instead of the file, perhaps a log-in"
    other = msf.other_form(content)
    return "sent something that is neither a PDB nor a cabinet" + (f"; {other}" if other else "")
