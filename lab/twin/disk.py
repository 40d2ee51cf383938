"""The simulated disk: a folder for %SystemRoot%, one for the data share, and the page file."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

DATA_FILES = 8
DATA_FILE_BYTES = 4 << 20
FREE_BYTES = 42_949_672_960
"""What the guest reports as free on its system drive."""

_COPY_CHUNKS = 20


class Disk:
    """Paths of the guest's disk under `folder`, which is created."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.windows = folder / "disk" / "Windows"
        self.data = folder / "disk" / "LabData"
        self.memory_dump = self.windows / "MEMORY.DMP"
        self._page_file = folder / "pagefile.sys"
        for path in (self.windows, self.data):
            path.mkdir(parents=True, exist_ok=True)
        self.forget_dump()  # of another machine that had this folder
        for number in range(DATA_FILES):
            path = self.data / f"data-{number:02}.bin"
            if not path.exists():
                path.write_bytes(Random(f"{seed}/{number}").randbytes(DATA_FILE_BYTES))

    def keep_dump(self, write: Callable[[Path], None]) -> None:
        """Write a dump to the page file; it is there at the next boot only if this returns."""
        self.forget_dump()
        partial = self._page_file.with_suffix(".partial")
        write(partial)
        partial.replace(self._page_file)

    def has_dump(self) -> bool:
        return self._page_file.exists()

    def forget_dump(self) -> None:
        self._page_file.unlink(missing_ok=True)

    def copy_dump(self, seconds: float, *, overwrite: bool, going_on: Callable[[], bool]) -> None:
        """Copy the dump from the page file to MEMORY.DMP piece by piece in real `seconds`, while `going_on`.

        A copy cut short leaves MEMORY.DMP truncated, and the page file's dump is lost with it.
        """
        with contextlib.suppress(FileNotFoundError):
            if overwrite or not self.memory_dump.exists():
                chunk = self._page_file.stat().st_size // _COPY_CHUNKS + 1
                with self._page_file.open("rb") as source, self.memory_dump.open("wb", buffering=0) as target:
                    while going_on() and (data := source.read(chunk)):
                        target.write(data)
                        time.sleep(seconds / _COPY_CHUNKS)
            self.forget_dump()
