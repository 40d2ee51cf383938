"""0x10D WDF_VIOLATION: a driver of the Kernel-Mode Driver Framework broke a rule of the framework.

A callback that left a critical region entered is `dispatch_routine`'s.
"""

from __future__ import annotations

from collections.abc import Iterator

from lab.analysis.facts import Facts
from lab.analysis.rules.caller import first_driver_on_stack
from lab.analysis.rules.dispatch_routine import KINDS as ROUTINES
from lab.analysis.rules.parameters import leads
from lab.analysis.rules.registry import Note, rule
from lab.analysis.stops import Role, describe
from lab.model import Evidence, Strength


@rule(0x10D)
def framework(facts: Facts) -> Iterator[Evidence | Note]:
    """The framework stops the system in the call of the driver: the nearest one on the stack."""
    number = facts.bugcheck.parameters[0]
    if (0x10D, number) in ROUTINES:
        return
    stop = describe(facts.bugcheck)
    if stop is None:
        yield Note(f"The tables do not know kind {number:#x} of bugcheck 0x10d; only the facts are shown.")
        return
    yield Evidence("0x10d.kind", f"{stop.meaning}.", Strength.WEAK, "bugcheck parameter 1")
    yield from leads(facts, stop, "0x10d")
    if not any(parameter.role is Role.CODE for parameter in stop.parameters):
        yield from first_driver_on_stack(facts, "0x10d")
