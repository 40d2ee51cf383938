"""Colours for text in the debugger's form, for terminals."""

from __future__ import annotations

import re

from rich.text import Text

_STYLES = (
    (r"^[A-Z][A-Z0-9_]{3,} \([0-9a-f]+\)$", "bold red"),
    (r"^(![\w.]+( \S+)*|Arguments:|Evidence:|Suspects.*:|Notes:|Symbols that .*:)$", "bold"),
    (r"^ *#? *Child-SP .*$|^ *!DevObj .*$|^start +end +module name$", "dim"),
    (r"\b[0-9a-f]{8}`[0-9a-f]{8}\b|\b[0-9a-f]{16}\b", "cyan"),
    (r"\[scanned\]", "dim italic"),
    (r"^  \[(proof|strong)\]", "bold green"),
    (r"^  \[(moderate|weak)\]", "green"),
    (r"^ +\d+%  .*$", "bold red"),
    (r"third-party", "yellow"),
)
_RULES = tuple((re.compile(pattern, re.MULTILINE), style) for pattern, style in _STYLES)


def painted(text: str) -> Text:
    """`text` with the debugger's words and addresses marked. A console that is no terminal shows it plain."""
    shown = Text(text.removesuffix("\n"))
    for rule, style in _RULES:
        shown.highlight_regex(rule, style)
    return shown
