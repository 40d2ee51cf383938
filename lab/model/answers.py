"""What a server may send at most as one answer over HTTP, whatever it says and however slowly it says it.

requests limits neither: it collects a body until it ends, and its time-out starts anew with every byte that
comes. For the sessions that our libraries make; it is put below their own log-on, redirects and retries, so
that an answer to those counts as well.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from http.client import HTTPResponse
from typing import Any

from lab.model.errors import InfrastructureError

HELP = (
    "This is not what such a server sends: look whether address and port are right, and what answers there."
)


def limit_answers(adapters: Iterable[Any], place: str, *, most: int, seconds: float) -> None:
    """Let the `requests.adapters.HTTPAdapter`s of a session take in `most` bytes and `seconds` an answer.

    Bytes are those of status, header and body, and those that the body becomes when it comes compressed.
    `seconds` begin when the request was sent; another silence of the read time-out may be added to them.
    What exceeds raises InfrastructureError with `place`, unwrapped: neither requests nor urllib3 retry it.
    """
    for adapter in {id(each): each for each in adapters}.values():
        allow = partial(_Allowance, place, most, seconds)
        manager = adapter.poolmanager
        manager.pool_classes_by_scheme = {
            scheme: _then(make, partial(_limit_pool, allow))
            for scheme, make in manager.pool_classes_by_scheme.items()
        }
        adapter.build_response = _then(adapter.build_response, partial(_limit_content, allow))


class _Allowance:
    """What may still come of one answer."""

    def __init__(self, place: str, most: int, seconds: float) -> None:
        self._place, self._most, self._seconds = place, most, seconds
        self._left = most
        self._until = time.monotonic() + seconds

    def check(self) -> None:
        if time.monotonic() > self._until:
            raise InfrastructureError(
                f"{self._place} had not ended its answer after {self._seconds:g} s", help=HELP
            )

    def take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise InfrastructureError(
                f"{self._place} sent more than {self._most >> 10} KiB as one answer", help=HELP
            )


class _Answer(HTTPResponse):
    """Reads through an allowance from its first byte on."""

    def __init__(self, allow: Callable[[], _Allowance], sock: Any, *args: Any, **named: Any) -> None:
        super().__init__(sock, *args, **named)
        self.fp = io.BufferedReader(_Allowed(self.fp.detach(), allow()))


class _Allowed(io.RawIOBase):
    def __init__(self, wire: Any, allowance: _Allowance) -> None:
        super().__init__()
        self._wire, self._allowance = wire, allowance
        self._sock = wire._sock  # where pypsrp looks for the certificate that the log-on is bound to

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._allowance.check()
        size: int | None = self._wire.readinto(buffer)
        self._allowance.take(size or 0)
        return size

    def close(self) -> None:
        self._wire.close()
        super().close()


def _limit_pool(allow: Callable[[], _Allowance], pool: Any) -> None:
    pool.ConnectionCls = _then(pool.ConnectionCls, partial(_limit_connection, allow))


def _limit_connection(allow: Callable[[], _Allowance], connection: Any) -> None:
    connection.response_class = partial(_Answer, allow)


def _limit_content(allow: Callable[[], _Allowance], response: Any) -> None:
    """Of what a compressed body becomes."""
    plain = response.raw.stream

    def stream(*args: Any, **named: Any) -> Iterator[bytes]:
        allowance = allow()
        for part in plain(*args, **named):
            allowance.take(len(part))
            yield part

    response.raw.stream = stream


def _then(make: Callable[..., Any], change: Callable[[Any], None]) -> Callable[..., Any]:
    """`make`, whose results are changed."""

    def made(*args: Any, **named: Any) -> Any:
        result = make(*args, **named)
        change(result)
        return result

    return made
