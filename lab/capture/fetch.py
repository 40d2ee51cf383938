"""Bring a dump into the vault, going on after a lost connection."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

from lab.capture.incoming import Incoming
from lab.capture.source import HEAD, DumpRef, DumpSource, RandomAccessFile, find, head_of
from lab.capture.vault import CHUNK, Vault
from lab.model import Clock, InfrastructureError, SystemClock, TimedOut
from lab.smb import AccessDenied, CredentialsRefused, NotThere

TRIES = 6
"""Lost connections in a row, without a byte between them, after which a fetch gives up."""

PAUSE = 0.5
"""Seconds before the second try; each further pause is one such longer."""

T = TypeVar("T")


class Replaced(InfrastructureError):
    """The dump is not the one any more that the fetch began with."""

    def __init__(self, ref: DumpRef) -> None:
        super().__init__(
            f"{ref.name} was replaced or cut short while it was fetched",
            help="Wait until the guest has finished writing its dump, then fetch it again.",
        )


def fetch(
    source: DumpSource,
    ref: DumpRef,
    vault: Vault,
    *,
    on_progress: Callable[[int, int], None] | None = None,
    clock: Clock | None = None,
    seconds: float | None = None,
) -> str:
    """Copy a whole dump into the vault; returns its SHA-256.

    `on_progress` gets (bytes received, bytes in all). A partial file is kept by the dump's first bytes,
    name and length, so that this call, or a later one in another process, goes on where the last one
    stopped. Raises InfrastructureError when the source is lost for good, the dump was replaced or cut
    short on the way, or the vault's disk is full, and TimedOut (`transfer`) after `seconds` (None: no
    limit); what was received until then is kept, too.
    """
    clock = clock or SystemClock()
    patiently = _Patience(ref, clock, clock.now(), seconds)
    head = patiently(lambda: head_of(source, ref), 0)
    with vault.incoming(_key(ref, head)) as incoming:
        if incoming.offset > ref.length:
            incoming.restart()
        vault.need(ref.length - incoming.offset)
        if on_progress is not None:
            on_progress(incoming.offset, ref.length)
        try:
            _receive(source, ref, head, incoming, on_progress, patiently)
            if patiently(lambda: _look(source, ref), incoming.offset) != (ref.length, head):
                raise Replaced(ref)
        except Replaced:
            incoming.discard()
            raise
        return vault.adopt(incoming)


def _receive(
    source: DumpSource,
    ref: DumpRef,
    head: bytes,
    incoming: Incoming,
    on_progress: Callable[[int, int], None] | None,
    patiently: _Patience,
) -> None:
    with _Reader(source, ref, head) as reader:
        while incoming.offset < ref.length:
            data = patiently(lambda: reader.read(incoming.offset), incoming.offset)
            incoming.write(data)
            if on_progress is not None:
                on_progress(incoming.offset, ref.length)


class _Reader:
    """Reads a dump piece by piece; opens it again after a loss, and sees that it is still the same."""

    def __init__(self, source: DumpSource, ref: DumpRef, head: bytes) -> None:
        self._source, self._ref, self._head = source, ref, head
        self._file: RandomAccessFile | None = None

    def __enter__(self) -> _Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._close()

    def read(self, offset: int) -> bytes:
        """The next piece, never empty. Raises Replaced, or the source's error for the caller to try again."""
        try:
            if self._file is None:
                self._file = self._source.open(self._ref)
                if self._file.read_at(0, HEAD) != self._head:
                    raise Replaced(self._ref)
            data = self._file.read_at(offset, min(CHUNK, self._ref.length - offset))
        except InfrastructureError:
            self._close()
            raise
        if not data:
            raise Replaced(self._ref)
        return data

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


@dataclass(frozen=True)
class _Patience:
    """Tries again after a loss of the source, with growing pauses, while there is time for the fetch."""

    ref: DumpRef
    clock: Clock
    begun: float
    seconds: float | None

    def __call__(self, read: Callable[[], T], received: int) -> T:
        for tries in range(1, TRIES):
            self._look_at_the_clock(received)
            try:
                return read()
            except (AccessDenied, CredentialsRefused, NotThere, Replaced):
                raise
            except InfrastructureError:
                self.clock.sleep(PAUSE * tries)
        self._look_at_the_clock(received)
        try:
            return read()
        except Replaced:
            raise
        except InfrastructureError as error:
            raise InfrastructureError(
                f"fetching {self.ref.name} failed {TRIES} times after {received} of {self.ref.length} bytes: "
                f"{error.message}",
                help="Fetch it again when the host answers: what was received is kept.",
            ) from error

    def _look_at_the_clock(self, received: int) -> None:
        if self.seconds is not None and self.clock.now() - self.begun >= self.seconds:
            raise TimedOut(
                "transfer",
                self.seconds,
                f"{received} of {self.ref.length} bytes of {self.ref.name}",
                help="Raise the time-out 'transfer' or fetch it again: what was received is kept.",
            )


def _look(source: DumpSource, ref: DumpRef) -> tuple[int, bytes]:
    """Length and first bytes of the dump as they are now."""
    now = find(source, ref.name)
    return (-1, b"") if now is None else (now.length, head_of(source, now))


def _key(ref: DumpRef, head: bytes) -> str:
    digest = hashlib.sha256(f"{ref.name.casefold()}\0{ref.length}\0".encode() + head)
    return digest.hexdigest()[:32]
