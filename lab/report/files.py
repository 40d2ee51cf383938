"""A report as a file, written whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from lab.model import Case, ConfigurationError
from lab.report.data import render_json
from lab.report.html import render_html
from lab.report.markdown import render_markdown

WRITERS: dict[str, Callable[[Case], str]] = {
    ".html": render_html,
    ".md": render_markdown,
    ".json": render_json,
}


def write_report(case: Case, path: Path) -> Path:
    """Write the case to `path` as its suffix says (.html, .md, .json), and return the absolute path.

    Folders are created. The file appears in one step: a reader sees the old report or the new one.
    Raises ConfigurationError for another suffix, or when the place cannot be written.
    """
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise ConfigurationError(
            f"a report cannot be written as {path.name!r}: its suffix is none of {', '.join(WRITERS)}",
            help="Give the report's file a name that ends in .html, .md or .json.",
        )
    return write_whole(writer(case), path)


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
