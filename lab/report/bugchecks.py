"""What a bugcheck says of itself: a sentence, its parameters, the APC disable count in them."""

from __future__ import annotations

from lab.analysis.arguments import meanings
from lab.analysis.rules.apc_count import COUNT_PARAMETER, signed16
from lab.analysis.rules.dispatch_routine import KINDS as ROUTINES
from lab.analysis.stops import describe
from lab.model import Bugcheck, Signature
from lab.model.relation import APC_FAMILY

COMMON = {
    0x19: "The kernel found its pool damaged.",
    0x80: "A non-maskable interrupt stopped the machine.",
    0x9F: "A driver did not answer a power request properly.",
    0xC1: "Special pool caught memory that was damaged or used wrongly.",
    0xC2: "The pool allocator was called wrongly, or found its memory damaged.",
    0xC4: "Driver Verifier caught a driver breaking a rule.",
    0xC9: "Driver Verifier caught a driver breaking a rule of the I/O manager.",
    0xE2: "Someone stopped the machine on purpose.",
    0xE6: "Driver Verifier caught a driver using DMA wrongly.",
    0x10D: "A driver broke a rule of the driver framework.",
    0x133: "Deferred procedure calls or interrupt routines ran for too long.",
    0x13A: "The kernel found one of its heaps damaged.",
}
"""What all kinds of a bugcheck have in common; which kind it is stands with the parameter that tells it."""

_COUNT_AFTER = 3
"""The parameter that is the count behind a routine that changed it."""


def meaning(bugcheck: Bugcheck) -> str:
    """One sentence to stand above the parameters, or "" for a bugcheck that the tables do not know."""
    return COMMON.get(bugcheck.code) or happened(bugcheck)


def happened(bugcheck: Bugcheck) -> str:
    """One sentence that stands alone: the very kind where that is known."""
    if bugcheck.imaged:
        return "No stop: a memory imager (MoonSols, DumpIt) wrote this header."
    stop = describe(bugcheck)
    return f"{stop.meaning}." if stop is not None else COMMON.get(bugcheck.code, "")


def parameters(bugcheck: Bugcheck) -> tuple[tuple[int, str], ...]:
    """The four parameters with their meanings ("" where unknown)."""
    return tuple(zip(bugcheck.parameters, meanings(bugcheck), strict=True))


def about_apc(signature: Signature) -> bool:
    """True if a crash of this signature is about the APC disable count."""
    return (signature.code, signature.sub_code) in APC_FAMILY


def apc_count(bugcheck: Bugcheck) -> int | None:
    """The kernel APC disable count a stop carries in its parameters, signed 16-bit; None when it has none."""
    routine = ROUTINES.get((bugcheck.code, bugcheck.parameters[0]))
    number = _COUNT_AFTER if routine and routine.counts else COUNT_PARAMETER.get(bugcheck.code)
    return None if number is None else signed16(bugcheck.parameters[number - 1])
