"""A report as a file, written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lab.model import Case, ConfigurationError
from lab.report.data import render_json
from lab.report.html import render_html
from lab.report.markdown import render_markdown
from lab.report.posterior import Search
from lab.report.whole import write_whole

WRITERS: dict[str, Callable[[Case, Search | None], str]] = {
    ".html": lambda case, search: render_html(case, search=search),
    ".md": lambda case, search: render_markdown(case, search=search),
    ".json": lambda case, search: render_json(case),
}


def write_report(case: Case, path: Path, search: Search | None = None) -> Path:
    """Write the case to `path` as its suffix says (.html, .md, .json), and return the absolute path.

    `search` is what the engine was asked and saw (the playbook's `View` is one): with it the report
    tells how the suspicion narrowed.

    Folders are created. The file appears in one step: a reader sees the old report or the new one.
    Raises ConfigurationError for another suffix, or when the place cannot be written.
    """
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise ConfigurationError(
            f"a report cannot be written as {path.name!r}: its suffix is none of {', '.join(WRITERS)}",
            help="Give the report's file a name that ends in .html, .md or .json.",
        )
    return write_whole(writer(case, search), path)
