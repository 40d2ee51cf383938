"""The store of dumps, by their content."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.capture.incoming import Incoming, VaultError
from lab.capture.partial import Partial
from lab.model import ConfigurationError

CHUNK = 1 << 20


@dataclass(frozen=True)
class Vault:
    """Dumps under `<root>/<aa>/<sha256>.dmp`; the same content is held once and never half-written.

    Files come in under `<root>/partial` and get their name when they are whole; `<root>/known` has what a
    fetched dump is a copy of. Readable by the owner only: a dump holds whatever the machine's memory held.
    """

    root: Path

    def has(self, sha256: str) -> bool:
        return self._place(sha256).is_file()

    def path(self, sha256: str) -> Path:
        """The file with that content. Raises ConfigurationError when the vault does not hold it."""
        place = self._place(sha256)
        if not place.is_file():
            raise ConfigurationError(
                f"the vault {self.root} holds no dump {sha256[:12]}",
                help="Name the vault that the dump was fetched into.",
            )
        return place

    def add_stream(self, chunks: Iterable[bytes]) -> str:
        """Store what the stream yields; returns its SHA-256.

        Nothing stays behind when the stream or the disk fails. Raises VaultError for the disk;
        errors of the stream pass through.
        """
        sha256, at = hashlib.sha256(), 0
        with Incoming(self.root / "partial" / f"stream-{secrets.token_hex(8)}.part") as incoming:
            try:
                for chunk in chunks:
                    incoming.write_at(at, chunk)
                    sha256.update(chunk)
                    at += len(chunk)
                incoming.move_to(self._place(sha256.hexdigest()))
            except BaseException:
                incoming.discard()
                raise
        return sha256.hexdigest()

    def add_file(self, file: Path) -> str:
        """Store a copy of a local file; returns its SHA-256. ConfigurationError when it cannot be read."""
        try:
            with file.open("rb"):
                pass
        except OSError as error:
            reason = os.strerror(error.errno).lower() if error.errno else str(error)
            raise ConfigurationError(f"cannot read {file}: {reason}", help="Name a dump file.") from None
        return self.add_stream(_chunks(file))

    def partial(self, key: str, length: int, identity: str) -> Partial:
        """The partial copy of that key, locked; what an earlier try received is still in it."""
        return Partial(self.root / "partial" / key, length, identity)

    def adopt(self, partial: Partial, key: str, identity: str) -> str:
        """Take a whole, hashed copy in, and remember what it is a copy of; returns its SHA-256."""
        partial.move_to(self._place(partial.sha256))
        note = self._note(key)
        note.parent.mkdir(mode=0o700, exist_ok=True)
        note.touch(mode=0o600)
        note.write_text(f"{partial.sha256} {identity}\n", "utf-8")
        return partial.sha256

    def known(self, key: str, identity: str) -> str | None:
        """The SHA-256 of the dump that was taken in under that key and is still here; else None."""
        try:
            sha256, _, of = self._note(key).read_text("utf-8").strip().partition(" ")
        except (OSError, UnicodeDecodeError):
            return None
        return (
            sha256 if of == identity and re.fullmatch("[0-9a-f]{64}", sha256) and self.has(sha256) else None
        )

    def need(self, size: int) -> None:
        """Raise VaultError when the disk has not `size` bytes left."""
        near = next(path for path in (self.root, *self.root.absolute().parents) if path.exists())
        free = shutil.disk_usage(near).free
        if free < size:
            raise VaultError(
                f"the disk of the vault {self.root} has {free / (1 << 20):.1f} MiB left, "
                f"but the dump needs {size / (1 << 20):.1f} MiB",
                help="Free some space or choose another vault, then try again.",
            )

    def _note(self, key: str) -> Path:
        return self.root / "known" / key

    def _place(self, sha256: str) -> Path:
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise ConfigurationError(
                f"'{sha256}' is not a SHA-256 in lower-case hexadecimal", help="Give all 64 digits."
            )
        return self.root / sha256[:2] / f"{sha256}.dmp"


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK):
            yield chunk
