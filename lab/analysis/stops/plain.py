"""Stops whose parameters always mean the same, and small tables (Microsoft's bug check code reference)."""

from __future__ import annotations

from collections.abc import Mapping

from lab.analysis.stops.shape import (
    DEVICE,
    NOTHING,
    REQUEST,
    RESERVED,
    Kinds,
    Parameter,
    Role,
    Stop,
    violation,
)

_STATUS = Parameter("Exception code that was not handled")
_RAISED = Parameter("Address of the instruction that raised it", Role.CODE)
_RECORD = Parameter("Exception record address")
_CONTEXT = Parameter("Context record address")
_TOUCHED = Parameter("Memory referenced", Role.MEMORY)
_INSTRUCTION = Parameter("Address of the instruction that referenced it", Role.CODE)
_MAYBE = Parameter("Address of the instruction, 0 if unknown", Role.CODE)
_ACCESS = Parameter("Kind of access (0 read, 1 write)")
_EXCEPTION = Stop("An exception was not handled", (_STATUS, _RAISED, _RECORD, _CONTEXT))
_TRAPPED = Stop("An exception was not handled", (_STATUS, _RAISED, Parameter("Trap frame address"), RESERVED))
_TOO_HIGH = Stop(
    "Memory was touched at an IRQL too high for it",
    (_TOUCHED, Parameter("IRQL"), Parameter("Kind of access (bit 0 write, bit 3 execute)"), _INSTRUCTION),
)


def _page_fault(meaning: str, kind: Parameter = _ACCESS) -> Stop:
    return Stop(meaning, (_TOUCHED, kind, _MAYBE, RESERVED))


PLAIN: Mapping[int, Stop] = {
    0x1: Stop(
        "A system call or worker routine returned with APC disable counts that it did not begin with",
        (
            Parameter("Address of the system call or worker routine"),
            Parameter("APC state index"),
            Parameter("APC disable counts, (special << 16) | kernel"),
            Parameter("Kind of call (0 system call, 1 worker routine)"),
        ),
    ),
    0xA: _TOO_HIGH,
    0x18: Stop(
        "The reference count of an object is wrong for its state",
        (Parameter("Object type"), Parameter("Object whose count is lowered"), RESERVED, RESERVED),
    ),
    0x1E: Stop(
        "An exception was not handled",
        (
            _STATUS,
            _RAISED,
            Parameter("Parameter 0 of the exception"),
            Parameter("Parameter 1 of the exception"),
        ),
    ),
    0x20: Stop(
        "A thread ended with an APC pending, or with APC disable counts that are not zero",
        (
            Parameter("Address of the APC found pending during exit, 0 if none"),
            Parameter("The thread's APC disable count"),
            Parameter("Current IRQL"),
            RESERVED,
        ),
    ),
    0x3B: Stop(
        "An exception was not handled",
        (Parameter("Exception code that caused the bugcheck"), _RAISED, _CONTEXT, RESERVED),
    ),
    0x50: _page_fault("Memory that does not exist was touched", Parameter("Kind of access")),
    0x7E: _EXCEPTION,
    0x1000007E: _EXCEPTION,
    0x8E: _TRAPPED,
    0x1000008E: _TRAPPED,
    0xBE: Stop(
        "Read-only memory was written to",
        (Parameter("Memory written to", Role.MEMORY), Parameter("Page table entry"), RESERVED, RESERVED),
    ),
    0xC5: Stop(
        "Memory was touched at an IRQL too high for it: almost certainly the pool is damaged",
        (_TOUCHED, Parameter("IRQL"), _ACCESS, _INSTRUCTION),
    ),
    0xCE: _page_fault("A driver that has been unloaded was called or touched"),
    0xD1: _TOO_HIGH,
    0xD5: _page_fault("Freed special pool was touched"),
    0xD6: _page_fault("Memory beyond the end of an allocation was touched"),
    0xEA: Stop(
        "A thread spins in a device driver",
        (
            Parameter("Stuck thread", Role.THREAD),
            Parameter("Watchdog object"),
            Parameter("Name of the driver", Role.NAME),
            NOTHING,
        ),
    ),
    0xF7: Stop(
        "A driver overran a buffer on the stack",
        (
            Parameter("Cookie on the stack"),
            Parameter("Cookie that was expected"),
            Parameter("Complement of the cookie that was expected"),
            NOTHING,
        ),
    ),
    0xFC: Stop(
        "Memory that may not be executed was executed",
        (Parameter("Address executed", Role.MEMORY), Parameter("Page table entry"), RESERVED, RESERVED),
    ),
    0x101: Stop(
        "A processor does not take clock interrupts",
        (
            Parameter("Time-out in clock ticks"),
            NOTHING,
            Parameter("PRCB of the processor that hangs"),
            NOTHING,
        ),
    ),
    0x116: Stop(
        "The display driver could not be reset after a time-out",
        (
            Parameter("Recovery context"),
            Parameter("Address in the driver responsible", Role.CODE),
            Parameter("Status of the last operation"),
            NOTHING,
        ),
    ),
    0x139: Stop(
        "A damaged structure was noticed",
        (
            Parameter("Kind of corruption"),
            Parameter("Trap frame address"),
            Parameter("Exception record address"),
            RESERVED,
        ),
    ),
}

_POWER_OBJECT = Parameter("Device object", Role.DEVICE)

POWER: Kinds = {
    0x1: violation("A device object is freed with a power request outstanding", _POWER_OBJECT),
    0x2: violation(
        "A device completed a system power IRP without PoStartNextPowerIrp",
        Parameter("Target device object, if known"),
        DEVICE,
        Parameter("Driver object, if known", Role.DRIVER),
    ),
    0x3: violation(
        "A device has blocked an IRP too long",
        Parameter("Physical device object of the stack"),
        Parameter("nt!TRIAGE_9F_POWER"),
        Parameter("Blocked IRP", Role.REQUEST),
    ),
    0x4: violation(
        "A power transition waited too long for Plug and Play",
        Parameter("Time-out in seconds"),
        Parameter("Thread that holds the Plug and Play lock", Role.THREAD),
        Parameter("nt!TRIAGE_9F_PNP"),
    ),
    0x5: violation(
        "A device did not finish a directed power transition in time",
        Parameter("Physical device object of the stack"),
        Parameter("POP_FX_DEVICE"),
    ),
    0x500: violation(
        "A device completed a system power IRP without PoStartNextPowerIrp",
        RESERVED,
        Parameter("Target device object, if known"),
        DEVICE,
    ),
}

WATCHDOG: Kinds = {
    0: violation(
        "A single DPC or interrupt routine exceeded its time",
        Parameter("Time taken, in ticks"),
        Parameter("Time allowed, in ticks"),
    ),
    1: violation("The system spent too long at DISPATCH_LEVEL or above", Parameter("Watchdog period")),
}

_HANDLE = Parameter("Framework handle")

FRAMEWORK: Kinds = {
    0x1: violation(
        "A driver timed out during a power operation", Parameter("WDF_POWER_ROUTINE_TIMED_OUT_DATA")
    ),
    0x2: violation("A lock that is held is acquired"),
    0x3: violation(
        "A request with references to its buffers cannot be deleted", _HANDLE, Parameter("References")
    ),
    0x4: violation(
        "NULL was passed where it may not be", RESERVED, Parameter("Address of the caller", Role.CODE)
    ),
    0x5: violation("A handle of the wrong type was passed", _HANDLE),
    0x6: violation("A request was handled wrongly", Parameter("Kind of error"), Parameter("IRP or request")),
    0x7: violation("A framework object was deleted by dereferencing it", _HANDLE),
    0x8: violation("A DMA transaction is in the wrong state", _HANDLE),
    0xA: violation("A request in a queue was handled wrongly", Parameter("WDF_QUEUE_FATAL_ERROR_DATA")),
    0xB: violation("A framework lock was used wrongly", _HANDLE, Parameter("Kind of error")),
    0xC: violation("A PnP IRP arrived while another was processed", _HANDLE, REQUEST),
    0xD: violation("A power policy owner got a power IRP that it did not request", _HANDLE, REQUEST),
    0xE: violation("An event callback changed the IRQL", Parameter("IRQL before"), Parameter("IRQL after")),
    0xF: violation(
        "An event callback entered a critical region and did not leave it",
        Parameter("Address of the event callback", Role.ROUTINE),
    ),
}
"""0x10D. In kind 0xD the doubtful thing may be a filter that owns power policy too."""
