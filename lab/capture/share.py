"""Dumps on a host's share: by default ADMIN$, whose root is %SystemRoot%."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from types import TracebackType

from lab.capture.source import DumpRef, RandomAccessFile
from lab.smb import FileInfo, NotThere, Share, Signing, SmbTarget, Unreachable, connect

FULL = "MEMORY.DMP"
SMALL_FOLDER = "Minidump"


class ShareSource:
    """MEMORY.DMP and Minidump\\*.dmp over SMB2, read without a copy; or one `file` of any `share`.

    Connects when first needed and again after a lost connection; a source may thus outlive a reboot
    of its host. Signed, whatever the target says of its load: a dump is evidence. For one thread at a time.
    """

    def __init__(
        self, target: SmbTarget, *, seconds: float = 5.0, share: str | None = None, file: str | None = None
    ) -> None:
        self._target = replace(target, security=replace(target.security, signing=Signing.REQUIRED))
        self._seconds = seconds
        self._name, self._file = share or target.admin_share, file
        self._share: Share | None = None

    def __enter__(self) -> ShareSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def another(self) -> ShareSource:
        """The same dumps over a connection of its own."""
        return ShareSource(self._target, seconds=self._seconds, share=self._name, file=self._file)

    def dumps(self) -> list[DumpRef]:
        """The full dump first, then the small ones by name; or the one file when it is there."""
        share = self._connected()
        try:
            found: list[FileInfo] = []
            with suppress(NotThere):
                found.append(share.stat(self._file or FULL))
            if self._file is None:
                with suppress(NotThere):
                    found += [i for i in share.list(SMALL_FOLDER) if i.name.casefold().endswith(".dmp")]
        except Unreachable:
            self._drop()
            raise
        return [_ref(info) for info in found]

    def open(self, ref: DumpRef) -> RandomAccessFile:
        share = self._connected()
        try:
            return share.open(ref.name)
        except Unreachable:
            self._drop()
            raise

    def close(self) -> None:
        """Disconnect; never raises. A later call connects again."""
        if self._share is not None:
            self._share.close()
            self._share = None

    def _connected(self) -> Share:
        if self._share is None or not self._share.alive:
            self._drop()
            self._share = connect(self._target, self._name, seconds=self._seconds)
        return self._share

    def _drop(self) -> None:
        if self._share is not None:
            self._share.close(politely=False)
            self._share = None


def _ref(info: FileInfo) -> DumpRef:
    return DumpRef(info.name, info.length, info.modified)
