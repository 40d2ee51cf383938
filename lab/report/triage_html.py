"""A triage as one HTML file that needs nothing else."""

from __future__ import annotations

from lab import __version__
from lab.model import Triage
from lab.report.html import environment, page_script
from lab.report.triage_page import page


def render_triage_html(triage: Triage) -> str:
    """The page. Equal triages give equal text; everything is escaped, as in `render_html`."""
    script, digest = page_script()
    view = page(triage)
    return (
        environment()
        .get_template("triage.html")
        .render(
            page=view, c=view, answer=view.answer, script=script, script_digest=digest, version=__version__
        )
    )
