"""0x9F DRIVER_POWER_STATE_FAILURE: which driver holds the power request, or the thread that waits."""

from __future__ import annotations

from collections.abc import Iterator

from lab.analysis.facts import Facts
from lab.analysis.rules.parameters import leads
from lab.analysis.rules.registry import Note, rule
from lab.analysis.stops import Role, describe
from lab.model import Evidence, Strength

BLOCKED = 0x3
"""The kind that gives the physical device object of the stack (parameter 2) and the blocked IRP (4)."""


@rule(0x9F)
def power(facts: Facts) -> Iterator[Evidence | Note]:
    """The kind, the device or IRP it names, and the other drivers of the device's stack."""
    number = facts.bugcheck.parameters[0]
    stop = describe(facts.bugcheck)
    if stop is None:
        yield Note(f"The tables do not know kind {number:#x} of bugcheck 0x9f; only the facts are shown.")
        return
    yield Evidence("0x9f.kind", f"{stop.meaning}.", Strength.WEAK, "bugcheck parameter 1")
    strengths = {Role.DEVICE: Strength.STRONG, Role.DRIVER: Strength.STRONG, Role.REQUEST: Strength.STRONG}
    yield from leads(facts, stop, "0x9f", strengths)
    if number == BLOCKED:
        if facts.bugcheck.parameters[3] not in facts.requests:
            yield Note("The blocked IRP (parameter 4) could not be read, so who holds it is not known.")
        yield from _stack(facts, facts.bugcheck.parameters[1])


def _stack(facts: Facts, device: int) -> Iterator[Evidence | Note]:
    """Every driver of the stack handled the request; those that do not come with Windows are a set."""
    found = facts.devices.get(device)
    if found is None:
        yield Note(f"The device stack of {device:#x} (parameter 2) could not be read.")
        return
    images = [image for _, _, image in found.stack or ((found.address, found.driver, found.image),)]
    accused = tuple(dict.fromkeys(image for image in images if image and facts.accusable(image)))
    if not accused:
        yield Note("No driver that does not come with Windows is in the stack of the device.")
        return
    yield Evidence(
        rule="0x9f.device-stack",
        statement=f"In the device's stack, from the top: {', '.join(i or 'unknown' for i in images)}.",
        strength=Strength.WEAK,
        where=f"device stack of {device:#x}, bugcheck parameter 2",
        points_to=accused,
    )
