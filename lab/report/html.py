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


def render_html(case: Case, *, title: str | None = None) -> str:
    """The page. `title` replaces the case's own. Equal cases give equal text.

    All text of dumps and guests is escaped, and a content security policy in the page forbids
    every request and every script but its own, should something slip through.
    """
    environment = _environment()
    script = _script()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    view = page(case, title)
    return environment.get_template("report.html").render(
        page=view, answer=view.answer, script=script, script_digest=digest, version=__version__
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("lab.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["count"] = words.count
    return environment


def _script() -> str:
    """The page's own script, exactly as it stands between the tags (its hash is in the policy)."""
    return resources.files("lab.report").joinpath("templates/report.js").read_text(encoding="utf-8").strip()
