"""What a bugcheck and its parameters mean, in a sentence each (Microsoft's bug check code reference)."""

from __future__ import annotations

from lab.model import Bugcheck, Signature

APC_FAMILY = frozenset({(0x20, 0), (0x1, 0), (0xC4, 0xC5), (0xC4, 0xC6), (0xC4, 0xFB), (0xC4, 0x3E)})
"""(code, sub-code) of the stops that tell of an APC disable count out of balance."""

_MEANING = {
    0x1: "A system call or worker routine returned with APCs disabled that it had found enabled.",
    0xA: "Kernel code touched memory it may not touch at that interrupt level.",
    0x20: "A thread ended while its APC disable count was not zero: APCs were disabled and never enabled.",
    0x3B: "An exception was raised in a system service.",
    0x50: "Kernel code read or wrote memory that does not exist.",
    0x7E: "A system thread raised an exception that nobody handled.",
    0x80: "The lab stopped the machine by a non-maskable interrupt, to get a dump of a hang.",
    0x9F: "A driver did not answer a power request properly.",
    0xC1: "A driver damaged memory next to its own, caught by special pool.",
    0xC2: "A driver called the pool allocator wrongly.",
    0xC4: "Driver Verifier caught a driver breaking a rule.",
    0xC9: "Driver Verifier caught a driver breaking a rule of the I/O manager.",
    0xD1: "A driver touched memory it may not touch at that interrupt level.",
    0xE2: "Someone stopped the machine on purpose.",
    0xE6: "Driver Verifier caught a driver using DMA wrongly.",
    0x133: "A deferred procedure call ran for too long.",
    0x139: "The kernel found one of its own data structures corrupted.",
    0x1000007E: "A system thread raised an exception that nobody handled.",
}

_VIOLATION = {
    0x3E: "KeLeaveCriticalRegion was called by a thread that was in no critical region.",
    0xC5: "A driver's dispatch routine returned with the thread's APC disable count changed.",
    0xC6: "A driver's fast I/O routine returned with the thread's APC disable count changed.",
    0xFB: "A driver's completion routine returned with the thread's APC disable count changed.",
}

_PARAMETERS: dict[int, tuple[str, str, str, str]] = {
    0x1: ("System call or worker routine", "APC state index", "APC disable counts, combined", "Kind of call"),
    0xA: ("Memory referenced", "IRQL", "Kind of access", "Address of the code"),
    0x20: ("APC found pending during exit", "The thread's APC disable count", "Current IRQL", "Reserved"),
    0x139: ("Kind of corruption", "Trap frame", "Exception record", "Reserved"),
    0xD1: ("Memory referenced", "IRQL", "Kind of access", "Address of the code"),
}

_ROUTINE = {0xC5: "Dispatch routine", 0xC6: "Fast I/O routine", 0xFB: "Completion routine"}


def apc_family(code: int, sub_code: int) -> bool:
    """True for the stops whose cause is an APC disable count out of balance."""
    return (code, sub_code) in APC_FAMILY


def about_apc(signature: Signature) -> bool:
    """True if a crash of this signature is about the APC disable count."""
    return apc_family(signature.code, signature.sub_code)


def meaning(bugcheck: Bugcheck) -> str:
    """One sentence, or "" for a bugcheck this table does not know."""
    if bugcheck.code == 0xC4:
        return _VIOLATION.get(bugcheck.parameters[0], _MEANING[0xC4])
    return _MEANING.get(bugcheck.code, "")


def parameters(bugcheck: Bugcheck) -> tuple[tuple[int, str], ...]:
    """The four parameters with their meanings ("" where unknown)."""
    if bugcheck.code == 0xC4:
        routine = _ROUTINE.get(bugcheck.parameters[0])
        named = (
            ("Kind of violation", routine, "APC disable count now", "APC disable count before the call")
            if routine
            else ("Kind of violation", "", "", "")
        )
    else:
        named = _PARAMETERS.get(bugcheck.code, ("", "", "", ""))
    return tuple(zip(bugcheck.parameters, named, strict=True))


def apc_count(bugcheck: Bugcheck) -> int | None:
    """The kernel APC disable count a stop carries in its parameters, signed 16-bit; None when it has none.

    0x20: parameter 2. 0xC4/0xC5, /0xC6, /0xFB: parameter 3.
    """
    if bugcheck.code == 0x20:
        raw = bugcheck.parameters[1]
    elif bugcheck.code == 0xC4 and bugcheck.parameters[0] in _ROUTINE:
        raw = bugcheck.parameters[2]
    else:
        return None
    raw &= 0xFFFF
    return raw - 0x10000 if raw & 0x8000 else raw
