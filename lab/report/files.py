"""A report as a file, written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lab.model import Case, ConfigurationError
from lab.report.data import render_json
from lab.report.html import render_html
from lab.report.markdown import render_markdown
from lab.report.whole import write_whole

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
