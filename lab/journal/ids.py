"""Names of cases and labs: short enough to type, readable, and never the same twice."""

from __future__ import annotations

import difflib
import secrets
from collections.abc import Sequence
from datetime import datetime

from lab.model import ConfigurationError

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that is read as another: i l o 0 1


def new_id(opened: datetime, code: int, taken: frozenset[str]) -> str:
    """`2026-11-22-0x20-k7f3`: day, bugcheck (`soak` for none), and four letters that are not yet `taken`."""
    stem = f"{opened:%Y-%m-%d}-{f'0x{code:x}' if code else 'soak'}-"
    length = 4
    while True:
        found = stem + "".join(secrets.choice(_LETTERS) for _ in range(length))
        if found not in taken:
            return found
        length = min(length + 1, 12)


def new_lab_id() -> str:
    """`lab-`, and twelve letters: enough that no two labs of one vCenter are called the same."""
    return "lab-" + "".join(secrets.choice(_LETTERS) for _ in range(12))


def resolve(wanted: str, known: Sequence[str]) -> str:
    """The one id of `known` that `wanted` is, begins, or ends (its four letters).

    Raises ConfigurationError when there is none or more than one, naming the nearest.
    """
    if wanted in known:
        return wanted
    text = wanted.strip().casefold()
    hits = [i for i in known if text and (i.startswith(text) or i.endswith("-" + text))]
    if len(hits) == 1:
        return hits[0]
    if hits:
        raise ConfigurationError(
            f"'{wanted}' could be any of {len(hits)} cases",
            help=f"Write more of it: {', '.join(sorted(hits)[:5])}.",
        )
    near = difflib.get_close_matches(text, known, n=3, cutoff=0.5)
    if near:
        help = f"Did you mean {' or '.join(near)}?"
    else:
        help = "List the cases with 'lab case list'." if known else "The journal has no cases yet."
    raise ConfigurationError(f"there is no case '{wanted}' in the journal", help=help)
