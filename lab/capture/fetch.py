"""Bring a dump into the vault, by several connections, going on after any of them is lost."""

from __future__ import annotations

import functools
import hashlib
import threading
import time
from collections.abc import Callable
from contextlib import closing
from types import TracebackType

from lab.capture.partial import Partial
from lab.capture.patience import GivenUp, Patience, Replaced, Stopped
from lab.capture.readers import InPlace, Reader, ways
from lab.capture.source import DumpRef, DumpSource, find, head_of
from lab.capture.vault import Vault
from lab.model import Clock, SystemClock

SEGMENT = 8 << 20
"""Bytes that a reader takes at a time; they come, are written and noted in smaller pieces."""

GENTLE = 256 << 10
"""The same while something more urgent is read in place."""

READERS = 4
"""Connections of a copy at most."""

A_READER_EACH = 16 << 20
"""Bytes for which a further connection is worth its log-on."""

_LOOK = 0.2  # seconds of real time between two looks at the progress
_FAREWELL = 5.0  # seconds that readers get to end what they are doing


def fetch(
    source: DumpSource,
    ref: DumpRef,
    vault: Vault,
    *,
    on_progress: Callable[[int, int], None] | None = None,
    clock: Clock | None = None,
    seconds: float | None = None,
    readers: int = READERS,
) -> str:
    """Copy a whole dump into the vault; returns its SHA-256.

    `on_progress` gets (bytes received, bytes in all), in the caller's thread. What was received is kept
    piece by piece with its hashes, so that this call, or a later one in another process, goes on where the
    last one stopped; a dump that the vault has had from there already is not fetched again. Raises
    InfrastructureError when the source is lost for good, the dump was replaced or cut short on the way, or
    the vault's disk is full, and TimedOut (`transfer`) after `seconds` (None: no limit).
    """
    with Fetch(source, ref, vault, clock=clock, seconds=seconds, readers=readers) as fetching:
        return fetching.finish(on_progress)


class Fetch:
    """One dump on its way into the vault: `start` fetches in the background, `finish` waits for the end.

    `in_place` gives the dump for reading at the same time; what is read there is part of the copy. Until
    `finish` is called the copy is gentle: one connection, small pieces, and none is begun while a read in
    place waits for its answer. Leaving the `with` block ends the copy and keeps what was received, unless the
    dump was replaced.
    """

    def __init__(
        self,
        source: DumpSource,
        ref: DumpRef,
        vault: Vault,
        *,
        clock: Clock | None = None,
        seconds: float | None = None,
        readers: int = READERS,
    ) -> None:
        self._source, self.ref, self._vault = source, ref, vault
        clock = clock or SystemClock()
        self._stopped = threading.Event()
        self._patiently = Patience(ref, clock, clock.now(), seconds, lambda: self.received, self._stopped)
        self._another, most = ways(source)
        self._readers = max(1, min(readers, most, ref.length // A_READER_EACH))
        self._threads: list[threading.Thread] = []
        self._state = threading.Condition()
        self._reading = 0
        self._gentle = True
        self._failure: BaseException | None = None
        self._partial: Partial | None = None

    def __enter__(self) -> Fetch:
        """Raises Replaced when the dump is not as `ref` says, and InfrastructureError as `fetch` does."""
        self._head = self._patiently(self._first_bytes)
        self._key = _key(self.ref, self._head)
        self.sha256 = self._vault.known(self._key, self.ref.modified)
        """Of the dump when the vault has it; None before that."""
        if self.sha256 is None:
            self._partial = self._vault.partial(self._key, self.ref.length, self.ref.modified)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._stop()
        if isinstance(error, Replaced):
            self.discard()
        if self._partial is not None:
            self._partial.close()

    @property
    def received(self) -> int:
        """Bytes that are here."""
        return 0 if self._partial is None else self._partial.received

    def in_place(self) -> InPlace:
        """The dump as a file, read over a connection of its own as far as it is not here."""
        assert self._partial is not None, "the vault has this dump: read that"
        reader = Reader(self._another(), self.ref, self._head)
        return InPlace(self._partial, reader, self._patiently, self._urgent, self._fail)

    def start(self) -> None:
        """Begin in the background. Raises InfrastructureError when the vault's disk has no room for it."""
        if self._partial is None or self._threads:
            return
        self._vault.need(self.ref.length - self.received)
        for number in range(self._readers):
            self._run(self._read, self._partial, number)
        self._run(self._hash, self._partial)

    def finish(self, on_progress: Callable[[int, int], None] | None = None) -> str:
        """At full speed to the end; returns the SHA-256. `on_progress` and errors are those of `fetch`."""
        if self._partial is not None and self.sha256 is None:
            with self._state:
                self._gentle = False
                self._state.notify_all()
            self._watch(self._partial, on_progress or (lambda received, of: None))
            self._join()  # some servers tell an old time of last write while the file is open
            if self._patiently(self._first_bytes) != self._head:
                raise Replaced(self.ref)
            self.sha256 = self._vault.adopt(self._partial, self._key, self.ref.modified)
        assert self.sha256 is not None
        return self.sha256

    def discard(self) -> None:
        """Forget what was received: the dump is not worth having."""
        if self._partial is not None and self.sha256 is None:
            self._partial.discard()

    def _first_bytes(self) -> bytes:
        now = find(self._source, self.ref.name)
        if now is None or (now.length, now.modified) != (self.ref.length, self.ref.modified):
            raise Replaced(self.ref)
        return head_of(self._source, self.ref)

    def _watch(self, partial: Partial, tell: Callable[[int, int], None]) -> None:
        """Start, and wait until the whole dump is here and hashed."""
        told = partial.received
        tell(told, self.ref.length)
        self.start()
        whole = False
        while not whole:
            self._wait_for_news(partial, told)
            self._patiently.look_at_the_clock()
            whole = partial.hashed == self.ref.length
            if partial.received != told:
                told = partial.received
                tell(told, self.ref.length)

    def _wait_for_news(self, partial: Partial, told: int) -> None:
        length = self.ref.length
        with self._state:
            self._state.wait_for(
                lambda: self._failure or partial.received != told or partial.hashed == length, _LOOK
            )
            if self._failure is not None:
                raise self._failure

    # --- threads -----------------------------------------------------------------------------

    def _run(self, work: Callable[[Partial, int], None], partial: Partial, number: int = 0) -> None:
        def guarded() -> None:
            try:
                work(partial, number)
            except Stopped:
                pass
            except GivenUp as error:
                self._one_less(error)
            except BaseException as error:
                self._fail(error)

        self._threads.append(threading.Thread(target=guarded, name=f"fetch-{number}", daemon=True))
        self._threads[-1].start()

    def _read(self, partial: Partial, number: int) -> None:
        """One connection: take what is missing piece by piece, until nothing is."""
        with Reader(self._another(), self.ref, self._head) as reader:
            while taken := partial.take(self._turn(number)):
                try:
                    self._patiently(functools.partial(self._segment, reader, partial, *taken))
                finally:
                    partial.give_back(*taken)
                with self._state:  # not for every piece: that would cost more than fetching it
                    self._state.notify_all()

    def _segment(self, reader: Reader, partial: Partial, start: int, end: int) -> None:
        """Fetch what is missing there: after a loss, what came before it is not."""
        for at, stop in partial.missing(start, end):
            with closing(reader.stream(at, stop - at)) as pieces:
                for data in pieces:
                    partial.put(at, data)
                    at += len(data)
                    if self._stopped.is_set():
                        raise Stopped

    def _turn(self, number: int) -> int:
        """Wait until that reader may go on; how much it may take."""
        with self._state:
            self._state.wait_for(
                lambda: self._stopped.is_set() or not self._gentle or (number == 0 and self._reading == 0)
            )
            return GENTLE if self._gentle else SEGMENT

    def _hash(self, partial: Partial, number: int) -> None:
        with self._state:
            self._state.wait_for(lambda: self._stopped.is_set() or not self._gentle)
        while partial.hashed < self.ref.length and not self._stopped.is_set():
            partial.hash_on(_LOOK)
        with self._state:
            self._state.notify_all()

    def _urgent(self, more: int) -> None:
        with self._state:
            self._reading += more
            self._state.notify_all()

    def _fail(self, error: BaseException) -> None:
        with self._state:
            self._failure = self._failure or error
            self._state.notify_all()

    def _one_less(self, error: GivenUp) -> None:
        """A reader that lost its source too often leaves the rest to the others; the last one may not."""
        with self._state:
            self._readers -= 1
            if self._readers == 0:
                self._fail(error)

    def _stop(self) -> None:
        self._stopped.set()
        if self._partial is not None:
            self._partial.stop()
        with self._state:
            self._state.notify_all()
        self._join()

    def _join(self) -> None:
        until = time.monotonic() + _FAREWELL
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))


def _key(ref: DumpRef, head: bytes) -> str:
    digest = hashlib.sha256(f"{ref.name.casefold()}\0{ref.length}\0".encode() + head)
    return digest.hexdigest()[:32]
