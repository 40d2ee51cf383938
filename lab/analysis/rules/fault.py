"""Exceptions and page faults: the module that holds the instruction at fault."""

from __future__ import annotations

from collections.abc import Iterator

from lab.analysis.facts import KERNEL_IMAGES, Facts
from lab.analysis.rules.registry import Note, rule
from lab.model import Evidence, Origin, Strength

FAULT_ADDRESS = "fault.address"
"""Id of the one rule that may name an in-box driver: it tells where the fault happened, not why."""

INSTRUCTION_PARAMETER = {
    0x7E: 2,
    0x1000007E: 2,
    0x8E: 2,
    0x1000008E: 2,
    0x1E: 2,
    0x3B: 2,
    0xA: 4,
    0xD1: 4,
    0x50: 3,
}
"""Which parameter (1..4) is the address of the instruction (Microsoft's bug check code reference)."""


@rule(*INSTRUCTION_PARAMETER)
def instruction_at_fault(facts: Facts) -> Iterator[Evidence | Note]:
    """Names the module of the faulting instruction, and who called it when that comes with Windows."""
    number = INSTRUCTION_PARAMETER[facts.bugcheck.code]
    address = facts.bugcheck.parameters[number - 1]
    where = f"bugcheck parameter {number}"
    if address == 0 and facts.exception is not None:
        address, where = facts.exception.address, facts.exception.where
    module = facts.module_at(address)
    if module is None:
        yield Note(f"The address of the fault, {address:#x} ({where}), is in no loaded module.")
        yield from first_driver_on_stack(facts)
        return
    code = f" (exception {facts.exception.code:#x})" if facts.exception else ""
    kernel = module.name.casefold() in KERNEL_IMAGES
    in_box = module.origin is Origin.IN_BOX
    yield Evidence(
        rule=FAULT_ADDRESS,
        statement=f"The instruction at fault is {facts.place(address)}{code}; the image is "
        f"{module.origin} ({module.origin_because}).",
        strength=Strength.MODERATE if in_box else Strength.STRONG,
        where=where,
        points_to=() if kernel else (module.name,),
    )
    if in_box:
        yield Note(
            f"{module.name} holds the fault but comes with Windows: somebody else may have given it bad data."
        )
        yield from first_driver_on_stack(facts)


def first_driver_on_stack(facts: Facts) -> Iterator[Evidence | Note]:
    """The nearest frame of a driver that is not in-box: it called into the code that failed."""
    for frame in facts.stack:
        if frame.module and facts.accusable(frame.module):
            yield Evidence(
                rule="fault.first-driver-on-stack",
                statement=f"{frame.module} is the first driver on the stack that does not come with Windows.",
                strength=Strength.WEAK if frame.how == "scanned" else Strength.MODERATE,
                where=f"frame {frame.index}, {frame.symbol} ({frame.how})",
                points_to=(frame.module,),
            )
            return
    yield Note("No driver that does not come with Windows is on the crashing thread's stack.")
