"""What PowerShell says on standard error, as text: it writes CLIXML there when it takes us for PowerShell."""

from __future__ import annotations

import re

MARK = "#< CLIXML"

_ERROR = re.compile(r'<S S="Error">(.*?)</S>', re.DOTALL)
_ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")
_ENTITIES = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'", "&amp;": "&"}


def plain(text: str) -> str:
    """The errors in it, and what is no CLIXML at all; progress, warnings and verbose records are left out.

    Not parsed as XML: what came may be cut off, and mixed with other programs' output.
    """
    before, mark, serialized = text.partition(MARK)
    if not mark:
        return text
    return before + "".join(_text(error) for error in _ERROR.findall(serialized))


def _text(value: str) -> str:
    value = re.sub("&(?:lt|gt|quot|apos|amp);", lambda entity: _ENTITIES[entity[0]], value)
    return _ESCAPED.sub(lambda code: chr(int(code[1], 16)), value)
