"""Pieces of Markdown around text that may be hostile."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from lab.report.facts import Fact

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$&])")


def text(value: object) -> str:
    """Foreign text on one line, with every character that Markdown or HTML could act on escaped."""
    flat = " ".join(str(value).split())
    flat = _SPECIAL.sub(r"\\\1", flat)
    flat = re.sub(r"^([-+]|\d+[.)])(?=\s)", r"\\\1", flat)
    return re.sub(r"(?i)\b(https?|ftp|www)(?=[:.])", "\\1\u200b", flat)


def code(value: object) -> str:
    """A code span around foreign text, fenced by more backticks than it holds."""
    flat = " ".join(str(value).split())
    if not flat:
        return ""
    fence = "`" * (max((len(run) for run in re.findall("`+", flat)), default=0) + 1)
    pad = " " if "`" in flat else ""
    # A table's cells end at every pipe, even in a code span.
    return f"{fence}{pad}{flat}{pad}{fence}".replace("|", "\\|")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'|'.join(' --- ' for _ in head)}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def facts(items: Iterable[Fact]) -> Iterator[str]:
    for item in items:
        yield f"- {text(item.label)}: {code(item.value) if item.code else text(item.value)}"
    yield ""


def bullets(items: Iterable[str]) -> Iterator[str]:
    for item in items:
        yield f"- {text(item)}"
    yield ""
