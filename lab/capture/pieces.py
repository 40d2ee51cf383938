"""The side file of a partial copy: which pieces are in it, each with its checksum."""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lab.capture.extents import Extents
from lab.capture.incoming import vault_error

LARGEST = 16 << 20
"""Bytes of the largest piece that is believed: it has to be read into memory to be checked."""

_KEY = re.compile(rb"[0-9a-f]{32}\n")
_LINE = re.compile(rb"(\d{1,19}) (\d{1,8}) ([0-9a-f]{32})\n")


@dataclass(frozen=True)
class Piece:
    """`length` bytes at `offset`, and their checksum in hexadecimal."""

    offset: int
    length: int
    checksum: str

    @property
    def end(self) -> int:
        return self.offset + self.length


class Pieces:
    """Lines of `offset length checksum` under one that says of which file, and one with the checksums' key.

    A line is added when its piece has been written. A process that is killed, or a machine that loses its
    power, may leave a torn line, or a line whose piece never reached the disk: hence the checksums. They are
    AES-GMACs: 128 bits at the speed of memory, where SHA-256 would cost more than the rest of a copy.
    """

    def __init__(self, path: Path, of: str) -> None:
        """`of` identifies the file that is copied, in one line. InfrastructureError when not writable."""
        self.path = path
        first = f"pieces 1 {of}\n".encode()
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            with os.fdopen(os.dup(self._file), "rb") as before:
                text = before.read()
            key = text[len(first) : len(first) + 33]
            self.same_file = text.startswith(first) and _KEY.fullmatch(key) is not None
            if not self.same_file:
                key = secrets.token_hex(16).encode() + b"\n"
                text = first + key
                os.ftruncate(self._file, 0)
                self._write(text)
            elif not text.endswith(b"\n"):
                self._write(b"\n")
        except OSError as error:
            raise vault_error(error, path) from error
        self._mac = AESGCM(bytes.fromhex(key.decode()))
        self._text = text[len(first) + len(key) :]

    def claimed(self, length: int) -> Iterator[Piece]:
        """What earlier processes say is there of a file of `length` bytes, without overlaps."""
        seen = Extents()
        for line in self._text.splitlines(keepends=True):
            match = _LINE.fullmatch(line)
            if match is None:
                continue
            piece = Piece(int(match[1]), int(match[2]), match[3].decode())
            believable = 0 < piece.length <= LARGEST and piece.end <= length
            if believable and list(seen.gaps(piece.offset, piece.end)) == [(piece.offset, piece.end)]:
                seen.add(piece.offset, piece.end)
                yield piece

    def piece(self, offset: int, data: bytes | memoryview) -> Piece:
        """Those bytes as a piece."""
        checksum = self._mac.encrypt(offset.to_bytes(12, "little"), b"", data)
        return Piece(offset, len(data), checksum.hex())

    def add(self, piece: Piece) -> None:
        try:
            self._write(f"{piece.offset} {piece.length} {piece.checksum}\n".encode())
        except OSError as error:
            raise vault_error(error, self.path) from error

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _write(self, line: bytes) -> None:
        """One write a line: a process that is killed leaves whole lines."""
        if os.write(self._file, line) < len(line):
            raise OSError(errno.ENOSPC, "")
