"""What makes two crashes the same: no addresses, no offsets, no builds."""

from __future__ import annotations

from itertools import groupby

from lab.analysis.facts import function
from lab.model import Bugcheck, Frame, Signature, ThreadFacts

DEPTH = 16
"""Frames of the stack that go into a signature."""

_HAS_SUB_CODE = frozenset({0xC4, 0xC9, 0xE6})
_REPORTING = frozenset({"nt!KeBugCheckEx", "nt!KeBugCheck2", "nt!KeBugCheck"})


def signature(bugcheck: Bugcheck, thread: ThreadFacts | None, stack: tuple[Frame, ...]) -> Signature:
    """The signature of one crash. Frames without a symbol keep only their module's name."""
    functions = (function(frame.symbol) for frame in stack if frame.symbol)
    named = [name for name in functions if name and name not in _REPORTING and not name.startswith("0x")]
    # Frames of a module without symbols all have its name: how many there are says nothing.
    named = [name for name, _ in groupby(named)]
    start = function(thread.start) if thread else ""
    return Signature(
        code=bugcheck.code,
        sub_code=bugcheck.parameters[0] if bugcheck.code in _HAS_SUB_CODE else 0,
        thread_start=start if "!" in start else "",
        functions=tuple(named[:DEPTH]),
    )
