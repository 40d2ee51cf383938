"""Stops whose parameters give a driver outright: 0xCE, 0xEA, 0x116; and the name the kernel keeps itself."""

from __future__ import annotations

from collections.abc import Iterator

from lab.analysis.facts import Facts
from lab.analysis.rules.caller import first_driver_on_stack
from lab.analysis.rules.parameters import leads, named_image
from lab.analysis.rules.registry import Note, rule
from lab.analysis.stops import Role, describe
from lab.model import Evidence, Strength


@rule(0xA, 0x50, 0xBE, 0xCE, 0xD1, 0xD5, 0xD6)
def named_by_the_kernel(facts: Facts) -> Iterator[Evidence]:
    """The kernel keeps the driver it holds responsible: the one whose name is on the blue screen."""
    image = named_image(facts, facts.named)
    if image and facts.accusable(image):
        yield Evidence(
            rule="kernel.names",
            statement=f"The kernel itself holds {image} responsible; it shows that name on the blue screen.",
            strength=Strength.MODERATE,
            where="nt!KiBugCheckDriver",
            points_to=(image,),
        )


@rule(0xCE)
def unloaded_driver(facts: Facts) -> Iterator[Evidence | Note]:
    """A driver unloaded, and something of it ran or was touched afterwards."""
    stop = describe(facts.bugcheck)
    found = list(leads(facts, stop, "0xce")) if stop else []
    yield from found
    if not any(isinstance(said, Evidence) and said.points_to for said in found):
        yield Note("The address is in no unloaded driver that the dump still lists.")


@rule(0xEA)
def stuck_thread(facts: Facts) -> Iterator[Evidence | Note]:
    """The watchdog names the driver; its thread shows where it spins."""
    stop = describe(facts.bugcheck)
    if stop is not None:
        yield from leads(facts, stop, "0xea", {Role.NAME: Strength.STRONG})


@rule(0x116)
def display_time_out(facts: Facts) -> Iterator[Evidence | Note]:
    """The display driver is named; whether it or the hardware is at fault, a dump does not say."""
    stop = describe(facts.bugcheck)
    if stop is not None:
        yield from leads(facts, stop, "0x116")
    yield Note("The graphics hardware, its power and its cooling may be at fault instead of the driver.")


@rule(0x18)
def reference_count(facts: Facts) -> Iterator[Evidence | Note]:
    """Whoever releases the last reference finds the count wrong; another may have released once too often."""
    yield from first_driver_on_stack(facts, "0x18", Strength.WEAK)
