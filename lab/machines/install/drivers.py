"""A folder of drivers as Setup takes it: INF files with what they refer to."""

from __future__ import annotations

import os
from pathlib import Path

from lab.machines.install.answerfile import DRIVERS
from lab.machines.install.graft import MOST_FILES
from lab.model import ConfigurationError

MOST_BYTES = 8 << 30


def driver_files(folder: Path) -> dict[str, Path]:
    """Names on the medium to files of the folder, links left out. Raises ConfigurationError."""
    found: dict[str, Path] = {}
    size, drivers = 0, 0

    def unreadable(error: OSError) -> None:
        raise ConfigurationError(f"the driver folder {error.filename} cannot be read: {error.strerror}")

    for root, folders, names in os.walk(folder, onerror=unreadable):
        folders.sort()
        for name in sorted(names):
            path = Path(root) / name
            if path.is_symlink() or not path.is_file():
                continue
            found[f"{DRIVERS}/{path.relative_to(folder).as_posix()}"] = path
            size += path.stat().st_size
            drivers += path.suffix.casefold() == ".inf"
            if len(found) > MOST_FILES or size > MOST_BYTES:
                raise ConfigurationError(
                    f"the driver folder {folder} has more than {MOST_FILES} files or {MOST_BYTES >> 30} GiB",
                    help="Name a folder with this host's drivers alone.",
                )
    if not drivers:
        raise ConfigurationError(
            f"the driver folder {folder} has no INF file",
            help="Unpack the drivers: Setup takes INF files with what they refer to, not installers.",
        )
    return found
