"""A symbol server on the network as a place for symbols: Microsoft's, SymProxy, or any with its layout."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO
from urllib.parse import quote, urlsplit

import httpx

from lab.model import ConfigurationError
from lab.symbols import cabinet, msf
from lab.symbols.cache import MAX_FILE, Cache
from lab.symbols.pdb import Pdb
from lab.symbols.place import Answer, WrongId, file_name
from lab.symbols.pointer import MAX_POINTER, printable, read_pointer
from lab.symbols.port import PdbId

USER_AGENT = "Microsoft-Symbol-Server/10.0.0.0"
"""What symbol servers expect; some answer nothing else."""

_REDIRECTS = 5
_ABSENT = (404, 410)
_MAYBE_ABSENT = (401, 403)  # what storage services say of files that are not there
_SILENCE = 300.0  # seconds for which a server that failed is not asked again

# For the life of the process, by URL: what servers do not have; when one failed for a PDB, or altogether, and
# how; whether names are in folders of their first two letters.
_absent: dict[tuple[str, PdbId], Answer] = {}
_failed: dict[tuple[str, PdbId | None], tuple[float, str]] = {}
_two_tier: dict[str, bool] = {}


@dataclass(frozen=True)
class SymbolTimeouts:
    """Seconds: to connect, until the next bytes come, and for one file as a whole."""

    connect: float = 10.0
    read: float = 30.0
    download: float = 900.0


class _Refused(Exception):
    """The server answered, but not with the file. `absent`: it may have it under another name."""

    def __init__(self, said: str, *, absent: bool = False, trouble: bool = True) -> None:
        super().__init__(said)
        self.absent = absent
        self.trouble = trouble


class Server:
    """Asks for `NAME/GUIDAGE/NAME`, then for the compressed `NAM_`, then for `file.ptr`.

    A file is kept in `cache` once its id is checked. A server that cannot be reached is left alone for
    some minutes, so that it costs one time-out and not one a module. `offline` asks nothing.
    """

    def __init__(
        self, url: str, kept: Cache, *, offline: bool = False, timeouts: SymbolTimeouts | None = None
    ) -> None:
        parts = urlsplit(url)
        self._url = url
        self._base = parts._replace(path=parts.path.rstrip("/"), query="", fragment="").geturl()
        self._query = f"?{parts.query}" if parts.query else ""
        self._cache = kept
        self._offline = offline
        self._timeouts = timeouts or SymbolTimeouts()

    @property
    def name(self) -> str:
        return public_url(self._base)

    def look(self, pdb: PdbId) -> Answer:
        name = file_name(pdb)
        if name is None:
            return Answer(None, "not asked: the name or the GUID is not fit for a URL")
        if self._offline:
            return Answer(None, "not asked: offline")
        if (self._url, pdb) in _absent:
            return _absent[self._url, pdb]
        for key in ((self._url, None), (self._url, pdb)):
            since, why = _failed.get(key, (-_SILENCE, ""))
            if time.monotonic() - since < _SILENCE:
                return Answer(None, f"not asked again: {why}", trouble=True)
        try:
            return Answer(self._fetch(pdb, name), f"fetched into {self._cache.folder}")
        except _Refused as error:
            if not error.trouble:
                return _absent.setdefault((self._url, pdb), Answer(None, str(error)))
            why, whole = str(error), False
        except ConfigurationError as error:
            why, whole = str(error), False
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            why = self._failure(error)
            whole = isinstance(error, httpx.ConnectError | httpx.TimeoutException | httpx.ProxyError)
        _failed[self._url, None if whole else pdb] = time.monotonic(), why
        return Answer(None, why, trouble=True)

    def _fetch(self, pdb: PdbId, name: str) -> Pdb:
        if self._url not in _two_tier:
            _two_tier[self._url] = self._has_two_tiers()
        tier = f"{quote(name[:2])}/" if _two_tier[self._url] else ""
        folder = f"{self._base}/{tier}{quote(name)}/{pdb.folder}"
        refusals = []
        for file in (name, f"{name[:-1]}_", "file.ptr"):
            url = f"{folder}/{quote(file)}{self._query}"
            try:
                if file != "file.ptr":
                    return self._download(url, pdb)
                return self._download(self._pointed(url), pdb)
            except _Refused as error:
                if not error.absent:
                    raise
                refusals.append(error)
        raise next((r for r in refusals if r.trouble), refusals[0])

    def _download(self, url: str, pdb: PdbId) -> Pdb:
        with self._get(url) as response:
            try:
                return self._cache.keep(pdb, lambda file: self._copy(response, file))
            except WrongId as error:
                raise _Refused(f"sent another PDB: {error}") from None

    def _copy(self, response: httpx.Response, target: BinaryIO) -> None:
        """The body, if it begins like a PDB or a cabinet."""
        head = b""
        for chunk in self._body(response, MAX_FILE, "file"):
            if len(head) >= len(msf.MAGIC):
                target.write(chunk)
                continue
            head += chunk
            if len(head) >= len(msf.MAGIC):
                if not head.startswith((msf.MAGIC, cabinet.MAGIC)):
                    break
                target.write(head)
        if not head:
            raise _Refused("sent an empty file")
        if len(head) < len(msf.MAGIC) or not head.startswith((msf.MAGIC, cabinet.MAGIC)):
            raise _Refused(_not_symbols(head, response))

    def _body(self, response: httpx.Response, limit: int, what: str) -> Iterator[bytes]:
        """The body as it comes, within bounds of size and time."""
        started, size = time.monotonic(), 0
        for chunk in response.iter_bytes():
            size += len(chunk)
            if size > limit:
                raise _Refused(f"sent a {what} of more than {limit} bytes")
            if time.monotonic() - started > self._timeouts.download:
                raise _Refused(f"sent {size} bytes in the {self._timeouts.download:g} s of 'download'")
            yield chunk

    def _pointed(self, url: str) -> str:
        """The URL that `file.ptr` names."""
        with self._get(url) as response:
            content = b"".join(self._body(response, MAX_POINTER, "file.ptr"))
        if _is_page(content, response):
            raise _Refused(_not_symbols(content, response))
        target = read_pointer(content)
        if urlsplit(target).scheme not in ("http", "https"):
            raise _Refused(f"its file.ptr points to {target}, which cannot be fetched")
        return target

    def _has_two_tiers(self) -> bool:
        """A store says so by a file `index2.txt` in its root."""
        try:
            with self._get(f"{self._base}/index2.txt{self._query}") as response:
                return not _is_page(next(self._body(response, MAX_FILE, "index2.txt"), b""), response)
        except _Refused:
            return False

    @contextmanager
    def _get(self, url: str) -> Iterator[httpx.Response]:
        """The answer 200 to `url`, redirects followed but never to a connection that is not encrypted."""
        times = self._timeouts
        limits = httpx.Timeout(times.read, connect=times.connect)
        request = _client().build_request("GET", url, timeout=limits)
        for _ in range(_REDIRECTS + 1):
            response = _client().send(request, stream=True, follow_redirects=False)
            try:
                following = response.next_request
                if following is None:
                    if response.status_code != 200:
                        raise _refusal(response)
                    yield response
                    return
            finally:
                response.close()
            if request.url.scheme == "https" and following.url.scheme != "https":
                raise _Refused(f"redirects to {public_url(str(following.url))}, which is not encrypted")
            request = following
        raise _Refused(f"redirects more than {_REDIRECTS} times")

    def _failure(self, error: Exception) -> str:
        if isinstance(error, httpx.ConnectTimeout):
            return f"no connection within the {self._timeouts.connect:g} s of 'connect'"
        if isinstance(error, httpx.TimeoutException):
            return f"no answer within the {self._timeouts.read:g} s of 'read'"
        if isinstance(error, httpx.RemoteProtocolError):
            return f"broke off: {printable(str(error))}"
        return f"cannot be asked: {printable(str(error)) or type(error).__name__}"


def public_url(url: str) -> str:
    """`url` as it can be shown: without user, password and query, which may be a secret as well."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _refusal(response: httpx.Response) -> _Refused:
    status = response.status_code
    if status in _ABSENT:
        return _Refused(f"does not have it (HTTP {status})", absent=True, trouble=False)
    said = f"HTTP {status} {printable(response.reason_phrase)}".rstrip()
    return _Refused(said, absent=status in _MAYBE_ABSENT)


def _is_page(content: bytes, response: httpx.Response) -> bool:
    kind = response.headers.get("content-type", "")
    start = content[:64].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return "html" in kind or start.startswith((b"<!doctype", b"<html"))


def _not_symbols(content: bytes, response: httpx.Response) -> str:
    if _is_page(content, response):
        return "sent a web page instead of the file, perhaps a log-in"
    return "sent something that is neither a PDB nor a cabinet"


@cache
def _client() -> httpx.Client:
    """One for the process. It verifies certificates; proxies and certificate files are the environment's."""
    headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
    return httpx.Client(headers=headers, follow_redirects=False)
