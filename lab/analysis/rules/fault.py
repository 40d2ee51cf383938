"""Exceptions and page faults: the module that holds the instruction at fault."""

from __future__ import annotations

from collections.abc import Iterator

from lab.analysis.callers import interrupted
from lab.analysis.facts import KERNEL_IMAGES, Facts
from lab.analysis.rules.caller import first_driver_on_stack
from lab.analysis.rules.parameters import leads
from lab.analysis.rules.registry import Note, rule
from lab.analysis.stops import Role, describe
from lab.model import Evidence, Module, Origin, Strength

FAULT_ADDRESS = "fault.address"
"""Id of the one rule that may name an in-box driver: it tells where the fault happened, not why."""

INSTRUCTION_PARAMETER = {
    0xA: 4,
    0x1E: 2,
    0x3B: 2,
    0x50: 3,
    0x7E: 2,
    0x8E: 2,
    0xD1: 4,
    0xD5: 3,
    0xD6: 3,
    0x1000007E: 2,
    0x1000008E: 2,
}
"""Which parameter (1..4) is the address of the instruction (Microsoft's bug check code reference)."""

NO_INSTRUCTION = (0xBE, 0xFC)
"""Faults whose parameters do not tell the instruction; the stack does."""


@rule(*INSTRUCTION_PARAMETER, *NO_INSTRUCTION)
def instruction_at_fault(facts: Facts) -> Iterator[Evidence | Note]:
    """Names the module of the faulting instruction, and who called it when that comes with Windows."""
    address, where = fault_address(facts)
    yield from _memory(facts)
    if not address:
        yield Note("Neither the parameters nor the stack tell the instruction at fault.")
        yield from first_driver_on_stack(facts)
        return
    module = facts.module_at(address)
    if module is None:
        yield from _no_module(facts, address, where)
        return
    yield from _in_module(facts, module, address, where)


def fault_address(facts: Facts) -> tuple[int, str]:
    """(address of the instruction at fault, where it was read), or (0, "") when nothing tells it."""
    number = INSTRUCTION_PARAMETER.get(facts.bugcheck.code)
    if number is not None and facts.bugcheck.parameters[number - 1]:
        return facts.bugcheck.parameters[number - 1], f"bugcheck parameter {number}"
    if facts.exception is not None and facts.exception.address:
        return facts.exception.address, facts.exception.where
    if facts.trap is not None:
        return facts.trap.instruction, facts.trap.where
    stack = interrupted(facts.stack)
    return (stack[0].instruction, f"frame {stack[0].index:x}, {stack[0].symbol}") if stack else (0, "")


def _in_module(facts: Facts, module: Module, address: int, where: str) -> Iterator[Evidence | Note]:
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


def _no_module(facts: Facts, address: int, where: str) -> Iterator[Evidence | Note]:
    gone = facts.unloaded_at(address)
    if gone is not None and facts.accusable(gone.name):
        yield Evidence(
            rule="fault.in-unloaded-driver",
            statement=f"The instruction at fault is {facts.place(address)}: {gone.name} had been unloaded, "
            "and something of it was still called.",
            strength=Strength.STRONG,
            where=f"{where}, list of unloaded drivers",
            points_to=(gone.name,),
        )
        return
    yield Note(f"The address of the fault, {address:#x} ({where}), is in no loaded module.")
    yield from first_driver_on_stack(facts)


def _memory(facts: Facts) -> Iterator[Evidence | Note]:
    """The memory that was touched, where it leads to somebody: an unloaded driver, or the owner of pool."""
    stop = describe(facts.bugcheck)
    if stop is not None:
        yield from leads(facts, stop, "fault", only=frozenset({Role.MEMORY}))
