"""An ISO image with sectors replaced and bytes added while it is read; the ISO's file is never changed."""

from __future__ import annotations

import bisect
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from lab.machines.install.udf import SECTOR
from lab.model import ConfigurationError, InfrastructureError

COPY = 4 << 20


@dataclass(frozen=True)
class Piece:
    """Bytes of the image that do not come from the ISO."""

    start: int
    length: int
    source: bytes | Path
    at: int = 0
    """Where they begin in their source."""


class Image:
    """What is served: reads like one file. Safe for several threads; `close` when done."""

    def __init__(self, base: Path, size: int, patches: Mapping[int, bytes], added: list[Piece]) -> None:
        self.base = base
        self.size = size
        self._patches = dict(patches)
        """Whole sectors of the base by their number."""
        self._added = sorted(added, key=lambda piece: piece.start)
        self._starts = [piece.start for piece in self._added]
        self._descriptor = os.open(base, os.O_RDONLY)
        self._base_size = os.fstat(self._descriptor).st_size

    def __enter__(self) -> Image:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def read(self, offset: int, size: int) -> bytes:
        """Bytes from there on, fewer only at the end. Raises InfrastructureError when a file changed."""
        size = max(0, min(size, self.size - offset))
        whole = bytearray(size)
        self._from_base(whole, offset)
        index = max(0, bisect.bisect_right(self._starts, offset) - 1)
        for piece in self._added[index:]:
            if piece.start >= offset + size:
                break
            start, end = max(piece.start, offset), min(piece.start + piece.length, offset + size)
            if start < end:
                whole[start - offset : end - offset] = _content(piece, start - piece.start, end - start)
        return bytes(whole)

    def _from_base(self, whole: bytearray, offset: int) -> None:
        wanted = min(len(whole), self._base_size - offset)
        at = 0
        while at < wanted:
            data = os.pread(self._descriptor, wanted - at, offset + at)
            if not data:
                raise InfrastructureError(f"{self.base} became shorter while it was read")
            whole[at : at + len(data)] = data
            at += len(data)
        for number in range(offset // SECTOR, (offset + len(whole) - 1) // SECTOR + 1) if whole else ():
            if number in self._patches:
                start, end = max(number * SECTOR, offset), min((number + 1) * SECTOR, offset + len(whole))
                skip = start - number * SECTOR
                whole[start - offset : end - offset] = self._patches[number][skip : skip + end - start]

    def chunks(self, offset: int, size: int) -> Iterator[bytes]:
        while size > 0:
            data = self.read(offset, min(COPY, size))
            yield data
            offset += len(data)
            size -= len(data)

    def write(self, target: Path) -> None:
        """As a file, for controllers that read media from a share. ConfigurationError for lack of space."""
        free = shutil.disk_usage(target.parent).free
        if free < self.size:
            raise ConfigurationError(
                f"{target.parent} has {free / 1e9:.1f} GB free, and the image has {self.size / 1e9:.1f} GB",
                help="Free some space, or name another folder.",
            )
        part = target.with_name(target.name + ".part")
        try:
            with part.open("wb") as file:
                for data in self.chunks(0, self.size):
                    file.write(data)
            part.replace(target)
        except OSError as error:
            raise InfrastructureError(f"{target} cannot be written: {error.strerror}") from None
        finally:
            part.unlink(missing_ok=True)


def _content(piece: Piece, at: int, size: int) -> bytes:
    if isinstance(piece.source, bytes):
        return piece.source[piece.at + at : piece.at + at + size]
    try:
        with piece.source.open("rb") as file:
            data = os.pread(file.fileno(), size, piece.at + at)
    except OSError as error:
        raise InfrastructureError(f"{piece.source} can no longer be read: {error.strerror}") from None
    if len(data) != size:
        raise InfrastructureError(f"{piece.source} became shorter while it was read")
    return data
