"""The partial copy of one dump: what is in it, what is still to come, and the hash of the whole."""

from __future__ import annotations

import hashlib
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from lab.capture.extents import Extents, Range
from lab.capture.incoming import Incoming, VaultError
from lab.capture.pieces import LARGEST, Piece, Pieces

TO_DISK = 64 << 20
"""Bytes that are hashed, and not needed again, before they are sent to the disk."""


class Partial:
    """A file of `length` bytes that comes in pieces, in any order and from several threads, locked.

    Every byte is in one of four states: *held* (in the file), *claimed* (an earlier process says so; checked
    before it is used), *taken* (somebody is fetching it) or missing. `identity` is one line that says which
    file this is a copy of: pieces of another one are forgotten. Raises InfrastructureError for the disk, and
    when another process has the same file.
    """

    def __init__(self, path: Path, length: int, identity: str) -> None:
        self.length = length
        self._file = Incoming(path.with_suffix(".part"))
        try:
            self._pieces = Pieces(path.with_suffix(".pieces"), f"{length} {identity}")
            if not self._pieces.same_file:
                self._file.set_length(0)
            self._file.set_length(length)
        except BaseException:
            self._file.close()
            raise
        self._found = sorted(self._pieces.claimed(length), key=_offset)
        self._claims = {piece.offset: piece for piece in self._found}
        self._claimed = sum(piece.length for piece in self._claims.values())
        self._held = Extents()
        self._spoken_for = Extents()  # held, claimed or taken
        for piece in self._claims.values():
            self._spoken_for.add(piece.offset, piece.end)
        self._hash, self.hashed = hashlib.sha256(), 0
        self._changed = threading.Condition()
        self._stopped = False

    def __enter__(self) -> Partial:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    # --- what there is -----------------------------------------------------------------------

    @property
    def received(self) -> int:
        """Bytes held or claimed."""
        with self._changed:
            return self._held.total + self._claimed

    def read(self, start: int, end: int) -> Iterator[tuple[Range, bytes | None]]:
        """The bytes from `start` to `end` in order, as ranges: their bytes, or None where they are not held.

        Claims there are checked first.
        """
        for piece in self._claims_in(start, end):
            self._check(piece)
        for gap in self.missing(start, end):
            if start < gap[0]:
                yield (start, gap[0]), self._file.read_at(start, gap[0] - start)
            yield gap, None
            start = gap[1]
        if start < end:
            yield (start, end), self._file.read_at(start, end - start)

    # --- what is to come ---------------------------------------------------------------------

    def missing(self, start: int, end: int) -> list[Range]:
        """What is not held from `start` to `end`."""
        with self._changed:
            return list(self._held.gaps(start, end))

    def take(self, most: int) -> Range | None:
        """The first missing range, at most `most` bytes of it: now taken.

        While nothing is missing, but not everything is held, this waits: what is claimed may turn out wrong,
        what is taken may be given back. None when everything is held, or when `stop` was called.
        """
        with self._changed:
            while not self._stopped:
                gap = next(self._spoken_for.gaps(0, self.length), None)
                if gap is not None:
                    start, end = gap[0], min(gap[1], gap[0] + most)
                    self._spoken_for.add(start, end)
                    return start, end
                if self._held.total == self.length:
                    return None
                self._changed.wait()
            return None

    def give_back(self, start: int, end: int) -> None:
        """What was taken is missing again, but for what came from elsewhere in the meantime."""
        with self._changed:
            for low, high in list(self._held.gaps(start, end)):
                self._spoken_for.remove(low, high)
            self._changed.notify_all()

    def put(self, start: int, data: bytes | memoryview) -> None:
        """Take in bytes that were fetched; what is held already stays as it is."""
        for low, high in self.missing(start, start + len(data)):
            part = memoryview(data)[low - start : high - start]
            piece = self._pieces.piece(low, part)
            self._file.write_at(low, part)
            with self._changed:
                self._pieces.add(piece)
                self._now_held(piece)

    # --- the whole ---------------------------------------------------------------------------

    def hash_on(self, seconds: float) -> bool:
        """Hash what continues the part that is hashed; wait up to `seconds` for it. False: there was none.

        Only for one thread. `hashed` is how far it got.
        """
        at = self.hashed
        with self._changed:
            self._changed.wait_for(
                lambda: self._stopped or self._held.run_from(at) > at or at in self._claims, seconds
            )
            end, claim = self._held.run_from(at), self._claims.get(at)
        if claim is not None:
            return self._check(claim)
        buffer = memoryview(bytearray(min(LARGEST // 4, end - at)))
        while at < end:
            count = self._file.read_into(at, buffer[: end - at])
            if count == 0:
                raise VaultError(
                    f"{self._file.path} was cut short by another program", help="Fetch the dump again."
                )
            at += count
            self._hash.update(buffer[: at - self.hashed])
            if at // TO_DISK > self.hashed // TO_DISK:
                self._file.begin_to_disk(at)
            self.hashed = at
        return len(buffer) > 0

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of the part that is hashed."""
        return self._hash.copy().hexdigest()

    def move_to(self, place: Path) -> None:
        """The file is whole: give it its name in the vault."""
        self._file.move_to(place)
        self._pieces.discard()

    def discard(self) -> None:
        self._file.discard()
        self._pieces.discard()

    def stop(self) -> None:
        """Nothing more is to be taken."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def close(self) -> None:
        """What is held stays for a later process. What is put in later is refused."""
        self._file.close()
        with self._changed:
            self._pieces.close()

    # -----------------------------------------------------------------------------------------

    def _claims_in(self, start: int, end: int) -> list[Piece]:
        first = max(0, bisect_right(self._found, start, key=_offset) - 1)
        found = self._found[first : bisect_left(self._found, end, key=_offset)]
        with self._changed:
            return [piece for piece in found if start < piece.end and piece.offset in self._claims]

    def _check(self, piece: Piece) -> bool:
        """A claim becomes held, or is dropped: its bytes are missing then. False when it was dropped."""
        held = self._pieces.piece(piece.offset, self._file.read_at(piece.offset, piece.length)) == piece
        with self._changed:
            if self._claims.pop(piece.offset, None) is None:  # another thread was faster
                return held
            self._claimed -= piece.length
            if held:
                self._now_held(piece)
            else:
                self._spoken_for.remove(piece.offset, piece.end)
                self._changed.notify_all()
        return held

    def _now_held(self, piece: Piece) -> None:
        self._held.add(piece.offset, piece.end)
        self._spoken_for.add(piece.offset, piece.end)
        self._changed.notify_all()


def _offset(piece: Piece) -> int:
    return piece.offset
