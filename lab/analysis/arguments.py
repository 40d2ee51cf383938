"""What the four parameters of a bugcheck mean, as the lines under `Arguments:` say it."""

from __future__ import annotations

from lab.model import Bugcheck

Meanings = tuple[str, str, str, str]

_EXCEPTION: Meanings = (
    "Exception code that was not handled",
    "Address of the instruction that raised it",
    "Exception record address",
    "Context record address",
)
_PAGE_FAULT: Meanings = (
    "Memory referenced",
    "IRQL",
    "Kind of access (bit 0 write, bit 3 execute)",
    "Address of the instruction that referenced it",
)

MEANINGS: dict[int, Meanings] = {
    0x1: (
        "Address of the system call or worker routine",
        "APC state index",
        "APC disable counts, (special << 16) | kernel",
        "Kind of call (0 system call, 1 worker routine)",
    ),
    0xA: _PAGE_FAULT,
    0x1E: ("Exception code that was not handled", "Address of the instruction that raised it", "", ""),
    0x20: (
        "Address of the APC found pending during exit, 0 if none",
        "The thread's APC disable count",
        "Current IRQL",
        "Reserved",
    ),
    0x3B: (
        "Exception code that caused the bugcheck",
        "Address of the instruction that raised it",
        "Context record address",
        "Reserved",
    ),
    0x50: ("Memory referenced", "Kind of access", "Address of the instruction, 0 if unknown", "Reserved"),
    0x7E: _EXCEPTION,
    0x1000007E: _EXCEPTION,
    0xD1: _PAGE_FAULT,
    0x139: ("Kind of corruption", "Trap frame address", "Exception record address", "Reserved"),
}

_COUNTS = "Thread's APC disable count {} the {}"

VIOLATIONS: dict[tuple[int, int], Meanings] = {
    (0xC4, code): (
        f"Thread APC disable count changed by a driver's {routine}",
        f"Address of the {routine}",
        _COUNTS.format("after", routine),
        _COUNTS.format("before", routine),
    )
    for code, routine in {
        0xC5: "dispatch routine",
        0xC6: "fast I/O routine",
        0xFB: "completion routine",
    }.items()
} | {
    (0xC4, 0x3E): ("KeLeaveCriticalRegion called outside a critical region", "0", "0", "0"),
    (0xC4, 0xC1): ("Dispatch routine returned with interrupts disabled", "Address of the routine", "", ""),
    (0xC9, 0x11): ("Fast I/O routine changed the IRQL", "Address of the routine", "IRQL before", "IRQL now"),
    (0xC9, 0x12): ("Dispatch routine changed the IRQL", "Address of the routine", "IRQL before", "IRQL now"),
}


def meanings(bugcheck: Bugcheck) -> Meanings:
    """One clause a parameter; "" where this table knows none."""
    if bugcheck.code in (0xC4, 0xC9):
        kind = bugcheck.parameters[0]
        return VIOLATIONS.get((bugcheck.code, kind), (f"Kind of violation {kind:#x}", "", "", ""))
    return MEANINGS.get(bugcheck.code, ("", "", "", ""))
