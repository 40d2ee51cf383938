"""A dump that could not be read, as a page: its sentence, what could still be read, and what to do."""

from __future__ import annotations

from dataclasses import dataclass

from lab import __version__
from lab.report.cleaned import cleaned
from lab.report.html import environment


@dataclass(frozen=True)
class Unreadable:
    """Why a file gave no triage. `left`: what could still be read; `help`: what to do; either may be ""."""

    name: str
    sentence: str
    left: str
    help: str


def render_unreadable(why: Unreadable) -> str:
    """The page. Everything is escaped."""
    shown = cleaned(why)
    return environment().get_template("unreadable.html").render(why=shown, version=__version__)
