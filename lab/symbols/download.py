"""Files over HTTP, within bounds of size, time and trust."""

from __future__ import annotations

import socket
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lab.symbols.notes import printable

if TYPE_CHECKING:
    import httpx

USER_AGENT = "Microsoft-Symbol-Server/10.0.0.0"
"""What symbol servers expect; some answer nothing else."""

_REDIRECTS = 5
_ABSENT = (404, 410)
_MAYBE_ABSENT = (401, 403)  # what storage services say of files that are not there
_ENCODINGS = ("", "identity", "gzip", "x-gzip", "deflate")  # others unpack to any size at once


@dataclass(frozen=True)
class SymbolTimeouts:
    """Seconds: to connect, until the next bytes come, and for one file as a whole."""

    connect: float = 10.0
    read: float = 30.0
    download: float = 900.0


class Refused(Exception):
    """The server answered, but not with the file. `absent`: it may have it under another name."""

    def __init__(self, said: str, *, absent: bool = False, trouble: bool = True) -> None:
        super().__init__(said)
        self.absent = absent
        self.trouble = trouble


class Unreachable(Exception):
    """Nothing can be asked of the server for now, whatever the file."""


@dataclass(frozen=True)
class Body:
    """What a server sends: its content type, and the bytes as they come."""

    kind: str
    chunks: Iterator[bytes]


class Downloads:
    """An HTTP client. It verifies certificates; proxies and certificate files are the environment's."""

    def __init__(self, timeouts: SymbolTimeouts) -> None:
        self._timeouts = timeouts
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()  # of connections that are kept
        self._late = False

    @contextmanager
    def get(self, url: str, limit: int, what: str) -> Iterator[Body]:
        """The answer 200 to `url`, a `what` of at most `limit` bytes. Raises Refused and Unreachable."""
        import httpx

        try:
            with self._in_time(), self._answer(url) as response:
                yield Body(response.headers.get("content-type", ""), self._chunks(response, limit, what))
        except (httpx.ConnectError, httpx.TimeoutException, httpx.ProxyError) as error:
            raise Unreachable(self._failure(error)) from None
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            # UnicodeError: of names of hosts that cannot be
            raise Refused(self._failure(error)) from None

    @contextmanager
    def _answer(self, url: str) -> Iterator[httpx.Response]:
        """Redirects are followed, but never to a connection that is not encrypted."""
        request = self._client.build_request("GET", url, extensions={"trace": self._connected})
        for _ in range(_REDIRECTS + 1):
            response = self._client.send(request, stream=True)
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
                raise Refused(f"redirects to {public_url(str(following.url))}, which is not encrypted")
            request = following
        raise Refused(f"redirects more than {_REDIRECTS} times")

    def _chunks(self, response: httpx.Response, limit: int, what: str) -> Iterator[bytes]:
        encoding = response.headers.get("content-encoding", "").strip().lower()
        if encoding not in _ENCODINGS:
            raise Refused(f"sent a {what} in the encoding '{printable(encoding)}', which was not asked for")
        size = 0
        for chunk in response.iter_bytes():
            size += len(chunk)
            if size > limit:
                raise Refused(f"sent a {what} of more than {limit} bytes")
            yield chunk
        if self._late:  # the end of a body of no known size
            raise Refused(self._too_slow)

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        """Cuts the connection when the time of 'download' is over.

        The time of 'read' is that until the next byte: alone, it would let a server send its headers
        byte by byte for days.
        """
        self._late = False
        timer = threading.Timer(self._timeouts.download, self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _cut(self) -> None:
        self._late = True
        for connection in tuple(self._sockets):
            with suppress(OSError):  # it may be closed
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def _connected(self, event: str, info: dict[str, Any]) -> None:
        """httpcore tells of every step of a request; some of them make a connection."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._sockets.add(info["return_value"].get_extra_info("socket"))
            if self._late:
                self._cut()

    @property
    def _too_slow(self) -> str:
        return f"sent no whole file in the {self._timeouts.download:g} s of 'download'"

    @cached_property
    def _client(self) -> httpx.Client:
        import httpx  # costs more than a triage, and what is asked for is mostly in a cache

        headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
        limits = httpx.Timeout(self._timeouts.read, connect=self._timeouts.connect)
        try:
            client = httpx.Client(headers=headers, timeout=limits, follow_redirects=False)
        except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
            raise Unreachable(
                f"cannot be asked: proxy or certificates of the environment: {printable(str(error))}"
            ) from None
        weakref.finalize(self, client.close)
        return client

    def _failure(self, error: Exception) -> str:
        import httpx

        if self._late:
            return self._too_slow
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


def _refusal(response: httpx.Response) -> Refused:
    status = response.status_code
    if status in _ABSENT:
        return Refused(f"does not have it (HTTP {status})", absent=True, trouble=False)
    said = f"HTTP {status} {printable(response.reason_phrase)}".rstrip()
    return Refused(said, absent=status in _MAYBE_ABSENT)
