"""Evidence from the crashing stack: who made the call that stopped the system."""

from __future__ import annotations

from collections.abc import Iterator

from lab.analysis.callers import as_found, first_accusable, interrupted, outside_kernel, where
from lab.analysis.facts import Facts
from lab.analysis.rules.registry import Note
from lab.model import Evidence, Strength


def caller(facts: Facts, family: str, strength: Strength, did: str) -> Iterator[Evidence | Note]:
    """The first code outside the kernel made the call; where that is Windows' own, the nearest other driver.

    `did` completes the sentence "X ...". `strength` is what being the caller proves.
    """
    stack = outside_kernel(facts.stack)
    if not stack:
        yield Note("No code outside the kernel is on the crashing thread's stack.")
        return
    first = stack[0]
    if facts.accusable(first.module):
        yield Evidence(
            rule=f"{family}.caller",
            statement=f"{first.module} {did}.",
            strength=as_found(strength, first),
            where=where(first),
            points_to=(first.module,),
        )
        return
    yield from first_driver_on_stack(facts)


def first_driver_on_stack(
    facts: Facts, family: str = "fault", strength: Strength = Strength.MODERATE
) -> Iterator[Evidence | Note]:
    """The nearest frame of a driver that is not in-box: it called into the code that failed."""
    frame = first_accusable(facts, interrupted(facts.stack) or facts.stack)
    if frame is None:
        yield Note("No driver that does not come with Windows is on the crashing thread's stack.")
        return
    yield Evidence(
        rule=f"{family}.first-driver-on-stack",
        statement=f"{frame.module} is the first driver on the stack that does not come with Windows.",
        strength=as_found(strength, frame),
        where=where(frame),
        points_to=(frame.module,),
    )
