"""0x139 and 0xF7: a check inside the code found something damaged, possibly long after it happened.

For an overrun stack buffer it is the function's own: the check is made before that function returns.
"""

from __future__ import annotations

from collections.abc import Iterator

from lab.analysis.callers import as_found, interrupted, outside_kernel, where
from lab.analysis.facts import Facts, function
from lab.analysis.rules.caller import first_driver_on_stack
from lab.analysis.rules.registry import Note, rule
from lab.model import Evidence, Strength

KINDS = {
    0: "a buffer on the stack was overrun (older check)",
    1: "a virtual function table is not valid",
    2: "a buffer on the stack was overrun",
    3: "a LIST_ENTRY was corrupted",
    5: "an invalid argument was passed to a function that treats it as fatal",
    6: "the stack cookie was not initialized by the loader",
    7: "a fatal exit was requested",
    8: "an array index was out of bounds",
    9: "a registry query without type check met a value that is not trusted",
    10: "an indirect call had a bad target",
    11: "memory was written that may not be written",
    12: "a fiber was switched to with a bad context",
    13: "a register context is not valid",
    14: "a reference count was wrong",
    18: "a jump buffer is not valid",
    19: "read-only data was changed",
    20: "a cryptographic self-test failed",
    21: "a chain of exception handlers is not valid",
    22: "a cryptographic library failed",
    23: "a call was made that DllMain may not make",
    24: "the base address of an image is not valid",
    25: "a delay load import could not be protected",
    26: "an unsafe extension was called",
    27: "a service that is no longer supported was called",
    28: "a buffer was accessed out of its bounds",
    29: "a red-black tree was corrupted",
    37: "a jump table was used with a value out of range",
    38: "a longjmp had a bad target",
    39: "a suppressed call target could not be made valid",
}
"""Parameter 1 (Microsoft's bug check code reference)."""

OWN_STACK = frozenset({0, 2})
"""Kinds where the function that fails the check has done the damage itself."""


@rule(0x139)
def security_check(facts: Facts) -> Iterator[Evidence | Note]:
    """Says what was corrupted; the noticing driver is only a lead, unless it overran its own stack."""
    kind = facts.bugcheck.parameters[0]
    yield Evidence(
        rule="0x139.kind",
        statement=f"The kernel noticed that {KINDS.get(kind, f'a check of kind {kind:#x} failed')}.",
        strength=Strength.WEAK,
        where="bugcheck parameter 1",
    )
    place = _place(facts)
    module = facts.module_at(place[0]) if place else None
    if place and module is not None and facts.accusable(module.name):
        own = kind in OWN_STACK
        yield Evidence(
            rule="0x139.noticed-in",
            statement=f"The check failed in {place[1]}"
            + (": the function overran its own buffer." if own else "; the damage may be older."),
            strength=Strength.STRONG if own else Strength.MODERATE,
            where=place[2],
            points_to=(module.name,),
        )
        return
    yield from first_driver_on_stack(facts)


def _place(facts: Facts) -> tuple[int, str, str] | None:
    """(address, name, where it was read) of the code that failed the check, the surest source first."""
    if facts.trap is not None:
        return facts.trap.instruction, facts.trap.symbol, facts.trap.where
    if facts.exception is not None:
        return facts.exception.address, facts.place(facts.exception.address), facts.exception.where
    stack = interrupted(facts.stack)
    return (stack[0].instruction, stack[0].symbol, where(stack[0])) if stack else None


@rule(0xF7)
def stack_overrun(facts: Facts) -> Iterator[Evidence | Note]:
    """The last function before the handler of overruns is the one whose buffer was overrun."""
    stack = [f for f in outside_kernel(facts.stack) if "report_gsfailure" not in function(f.symbol)]
    if stack and facts.accusable(stack[0].module):
        yield Evidence(
            rule="0xf7.overran",
            statement=f"{stack[0].symbol} overran a buffer on its own stack.",
            strength=as_found(Strength.STRONG, stack[0]),
            where=where(stack[0]),
            points_to=(stack[0].module,),
        )
        return
    yield from first_driver_on_stack(facts, "0xf7", Strength.WEAK)
