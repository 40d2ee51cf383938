"""0x139 KERNEL_SECURITY_CHECK_FAILURE: a corrupted structure was noticed, possibly long after it happened."""

from __future__ import annotations

from collections.abc import Iterator

from lab.analysis.facts import Facts
from lab.analysis.rules.fault import first_driver_on_stack
from lab.analysis.rules.registry import Note, rule
from lab.model import Evidence, Strength

KINDS = {
    0: "a stack cookie was overrun (legacy check)",
    1: "a virtual table was overwritten",
    2: "a stack cookie was overrun",
    3: "a LIST_ENTRY was corrupted",
    5: "an invalid argument was passed to a function that treats it as fatal",
    8: "an array index was out of bounds",
    10: "an indirect call had a bad target",
    14: "a reference count was wrong",
    29: "a red-black tree was corrupted",
}


@rule(0x139)
def security_check(facts: Facts) -> Iterator[Evidence | Note]:
    """Says what was corrupted; the noticing driver is only a lead."""
    kind = facts.bugcheck.parameters[0]
    yield Evidence(
        rule="0x139.kind",
        statement=f"The kernel noticed that {KINDS.get(kind, f'a check of kind {kind:#x} failed')}.",
        strength=Strength.WEAK,
        where="bugcheck parameter 1",
    )
    if facts.exception is not None:
        module = facts.module_at(facts.exception.address)
        if module is not None and facts.accusable(module.name):
            yield Evidence(
                rule="0x139.noticed-in",
                statement=f"The check failed in {facts.place(facts.exception.address)}.",
                strength=Strength.MODERATE,
                where=facts.exception.where,
                points_to=(module.name,),
            )
            return
    yield from first_driver_on_stack(facts)
