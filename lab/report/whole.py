"""A file that is written whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from lab.model import ConfigurationError


def write_whole(text: str, path: Path) -> Path:
    """Write `text` to `path` in one step, making its folder, and return the absolute path.

    Raises ConfigurationError when the place cannot be written.
    """
    path = path.absolute()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigurationError(
            f"the report cannot be written to {path}: {reason}",
            help="Choose a folder that you may write to, on a disk with room.",
        ) from error
    return path
