"""0x9F DRIVER_POWER_STATE_FAILURE: which driver holds the power request, or what the transition waits for."""

from __future__ import annotations

from collections.abc import Iterator

from lab.analysis.facts import DeviceFacts, Facts
from lab.analysis.rules.parameters import leads
from lab.analysis.rules.registry import Note, rule
from lab.analysis.stops import Role, describe
from lab.model import Evidence, Strength

BLOCKED, WAITING, DIRECTED = 0x3, 0x4, 0x5
"""Kinds: a device blocks an IRP, Plug and Play is waited for, a directed transition is not finished."""


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
    for note in facts.power.notes if facts.power else ():
        yield Note(note)
    if number == BLOCKED and facts.bugcheck.parameters[3] not in facts.requests and facts.power is None:
        yield Note("The blocked IRP (parameter 4) could not be read, so who holds it is not known.")
    if number in (BLOCKED, DIRECTED):
        yield from _stack(facts, facts.bugcheck.parameters[1])
    yield from _waiting(facts)
    yield from _workers(facts)


def _stack(facts: Facts, device: int) -> Iterator[Evidence | Note]:
    """Every driver of the stack handled the request; those that do not come with Windows are a set."""
    found = facts.devices.get(device)
    if found is None:
        yield Note(f"The device stack of {device:#x} (parameter 2) could not be read.")
        return
    accused = _accused(facts, found)
    if not accused:
        yield Note("No driver that does not come with Windows is in the stack of the device.")
        return
    images = ", ".join(image or "unknown" for image in _images(found))
    yield Evidence(
        rule="0x9f.device-stack",
        statement=f"In the device's stack, from the top: {images}.",
        strength=Strength.WEAK,
        where=f"device stack of {device:#x}, bugcheck parameter 2",
        points_to=accused,
    )


def _waiting(facts: Facts) -> Iterator[Evidence]:
    """The devices that Plug and Play waits for: the drivers of their stacks did not answer yet."""
    for each in facts.power.waiting if facts.power else ():
        found = facts.devices.get(each.device)
        accused = _accused(facts, found) if found else ()
        yield Evidence(
            rule="0x9f.plug-and-play",
            statement=f"Plug and Play waits for the device {each.instance or hex(each.device)}"
            + (f" of the service {each.service}." if each.service else "."),
            strength=Strength.MODERATE if len(accused) == 1 else Strength.WEAK,
            where=f"TRIAGE_9F_PNP, device node {each.node:#x}",
            points_to=accused,
        )


def _workers(facts: Facts) -> Iterator[Evidence]:
    """Threads that send power IRPs and have not come back from a driver."""
    for each in facts.power.workers if facts.power else ():
        if each.image and facts.accusable(each.image):
            yield Evidence(
                rule="0x9f.power-worker",
                statement=f"A power worker is inside {each.image} with IRP {each.irp:#x}.",
                strength=Strength.WEAK,
                where=f"TRIAGE_9F_POWER, thread {each.thread:#x}",
                points_to=(each.image,),
            )


def _images(device: DeviceFacts) -> list[str]:
    stack = device.stack or ((device.address, device.driver, device.image),)
    return [image for _, _, image in stack]


def _accused(facts: Facts, device: DeviceFacts) -> tuple[str, ...]:
    found = (image for image in _images(device) if image and facts.accusable(image))
    return tuple(dict.fromkeys(found))
