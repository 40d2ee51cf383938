"""A case as one HTML file that needs nothing else: no network, no fonts, no files beside it."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined

from lab import __version__
from lab.model import Case
from lab.report import words
from lab.report.page import page
from lab.report.posterior import Search


def render_html(case: Case, *, title: str | None = None, search: Search | None = None) -> str:
    """The page. `title` replaces the case's own, `search` is as for `page`. Equal cases give equal text.

    All text of dumps and guests is escaped, and a content security policy in the page forbids
    every request and every script but its own, should something slip through.
    """
    script, digest = page_script()
    view = page(case, title, search)
    return (
        environment()
        .get_template("report.html")
        .render(page=view, answer=view.answer, script=script, script_digest=digest, version=__version__)
    )


@cache
def environment() -> Environment:
    """The templates of every page: what they print is escaped, and an unknown name is an error."""
    templates = Environment(
        loader=PackageLoader("lab.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    templates.filters["count"] = words.count
    return templates


def page_script() -> tuple[str, str]:
    """A page's own script exactly as it stands between the tags, and its SHA-256 for the page's policy."""
    text = resources.files("lab.report").joinpath("templates/report.js").read_text(encoding="utf-8").strip()
    return text, base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
