"""0x19, 0xC1, 0xC2, 0xC5, 0x13A: damaged pool. Who notices the damage is often its victim.

The owner of the block, told by its tag or by a pointer, is the better lead; special pool (verifier 0x1)
stops the system at the very write.
"""

from __future__ import annotations

from collections.abc import Iterator

from lab.analysis.facts import Facts
from lab.analysis.rules.caller import caller
from lab.analysis.rules.parameters import leads
from lab.analysis.rules.registry import Note, rule
from lab.analysis.stops import Role, describe, kind
from lab.model import Evidence, Strength

WRONG_CALLS = frozenset(
    {(0xC1, number) for number in (0x20, 0x21, 0x22, 0x30, 0x31)}
    | {(0xC2, number) for number in (0x0, 0x8, 0x9, 0xA, 0x60, 0x9A, 0x9B, 0x9C, 0x9D)}
    | {(0xC2, number) for number in (0x6, 0x7, 0x40, 0x41, 0x42, 0x43, 0x44, 0x46, 0x47, 0x48, 0x50, 0x41286)}
)
"""Kinds where the call itself is wrong, such as a free at an address that was never allocated."""


@rule(0x19, 0xC1, 0xC2, 0xC5, 0x13A)
def pool(facts: Facts) -> Iterator[Evidence | Note]:
    """What was found, whose block it is, and who came upon it."""
    code, number = facts.bugcheck.code, kind(facts.bugcheck)
    family = f"{code:#x}"
    stop = describe(facts.bugcheck)
    if stop is None:
        yield Note(f"The tables do not know kind {number or 0:#x} of bugcheck {code:#x}.")
    else:
        where = "bugcheck code" if number is None else f"bugcheck parameter {4 if code == 0xC1 else 1}"
        yield Evidence(f"{family}.damage", f"{stop.meaning}.", Strength.WEAK, where)
        yield from leads(facts, stop, family, {Role.CODE: Strength.STRONG if code == 0xC2 else Strength.WEAK})
    if (code, number) in WRONG_CALLS:
        yield from caller(facts, family, Strength.MODERATE, "made the call to the pool that is wrong")
        return
    yield from caller(
        facts,
        family,
        Strength.WEAK,
        "came upon the damage, which often makes it the victim and not the cause",
    )
    yield Note(
        "Damaged pool is noticed late. Special pool (verifier 0x1) for the third-party drivers stops the "
        "system at the write itself."
    )
