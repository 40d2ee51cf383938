"""0xC4 DRIVER_VERIFIER_DETECTED_VIOLATION by parameter 1 (Microsoft's bug check code reference)."""

from __future__ import annotations

from lab.analysis.stops.shape import DEVICE, IRQL, REQUEST, Kinds, Parameter, Role, Stop, violation
from lab.analysis.stops.verifier_locks import DEADLOCKS, LEVELS_AND_LOCKS
from lab.analysis.stops.verifier_memory import MEMORY, POOL

_MODE = Parameter("Access mode")
_PROCESS = Parameter("Process")
_HANDLE = Parameter("Handle")
_TYPE = Parameter("Object type")
_USER_ADDRESS = Parameter("User-mode address")
_CALL = Parameter("Address of the call", Role.CODE)
_DISPATCH = Parameter("Address of the dispatch routine", Role.ROUTINE)
_FAST_IO = Parameter("Address of the fast I/O routine", Role.ROUTINE)
_COMPLETION = Parameter("Address of the completion routine", Role.ROUTINE)
_SERVICE = Parameter("Address of the interrupt service routine", Role.ROUTINE)


def _counts(routine: Parameter, name: str) -> Stop:
    return violation(
        f"Thread APC disable count changed by a driver's {name}",
        routine,
        Parameter(f"Thread's APC disable count after the {name}"),
        Parameter(f"Thread's APC disable count before the {name}"),
    )


_REQUESTS_AND_CALLS = {
    0xA0: violation("A checksum of disk data is wrong", REQUEST, DEVICE, Parameter("Sector")),
    0xA1: violation("A checksum of a disk sector is wrong", REQUEST, DEVICE, Parameter("Sector")),
    0xA2: violation("Copies of a disk checksum differ", REQUEST, DEVICE, Parameter("Sector")),
    0xC0: violation("IoCallDriver was called with interrupts disabled", REQUEST),
    0xC1: violation("Dispatch routine returned with interrupts disabled", _DISPATCH),
    0xC2: violation("A fast I/O routine was called with interrupts disabled"),
    0xC3: violation("Fast I/O routine returned with interrupts disabled", _FAST_IO),
    0xC5: _counts(_DISPATCH, "dispatch routine"),
    0xC6: _counts(_FAST_IO, "fast I/O routine"),
    0xDA: violation(
        "A driver unloads without deregistering its WMI callback",
        Parameter("Start of the driver", Role.IMAGE),
        Parameter("WMI callback", Role.CODE),
    ),
    0xDB: violation("A device object was deleted without being deregistered from WMI", DEVICE),
    0xDC: violation("EtwUnregister was given a bad handle"),
    0xDD: violation(
        "A driver unloads without calling EtwUnregister",
        Parameter("Address of the call to EtwRegister", Role.CODE),
        Parameter("Start of the driver", Role.IMAGE),
        Parameter("ETW handle"),
    ),
    0xE2: violation("A kernel-mode IRP holds a user-mode address", REQUEST, _USER_ADDRESS),
    0xE3: violation("A Zw routine was given a user-mode address", _CALL, _USER_ADDRESS),
    0xE4: violation("A Zw routine was given a malformed UNICODE_STRING", _CALL, Parameter("UNICODE_STRING")),
    0xE6: violation(
        "A Zw routine was called above PASSIVE_LEVEL or with special APCs disabled",
        Parameter("Address in the driver that made the call", Role.CODE),
        IRQL,
        Parameter("Special kernel APCs"),
    ),
    0xF5: violation("ObReferenceObjectByHandle was given a NULL handle", Parameter("NULL handle"), _TYPE),
    0xF6: violation(
        "A user-mode handle was referenced as kernel mode",
        _HANDLE,
        _PROCESS,
        Parameter("Address in the driver that made the reference", Role.CODE),
    ),
    0xF7: violation(
        "A kernel handle was referenced as user mode in the system process", _HANDLE, _TYPE, _MODE
    ),
    0xFA: violation(
        "Completion routine changed the IRQL",
        _COMPLETION,
        Parameter("IRQL before the completion routine"),
        Parameter("IRQL after the completion routine"),
    ),
    0xFB: _counts(_COMPLETION, "completion routine"),
    0x110: violation(
        "Interrupt service routine damaged the extended context of the thread",
        _SERVICE,
        Parameter("Extended context before"),
        Parameter("Extended context after"),
    ),
    0x111: violation(
        "Interrupt service routine changed the IRQL",
        _SERVICE,
        Parameter("IRQL before"),
        Parameter("IRQL after"),
    ),
    0x115: violation(
        "Shutdown takes more than twenty minutes", Parameter("Thread responsible for it", Role.THREAD)
    ),
    0x135: violation("A cancelled IRP was not completed in time", REQUEST, Parameter("Milliseconds allowed")),
    0x2000: violation(
        "A Storport miniport passed NULL to StorPortInitialize",
        Parameter("First argument: the driver object", Role.DRIVER),
        Parameter("Second argument"),
    ),
}

_SWITCH = {
    0xA001: "a NetBufferList without SourceHandle",
    0xA002: "a NetBufferList whose forwarding detail is not zero",
    0xA003: "a NetBufferList without packet header or routing context",
    0xA004: "an invalid combination of port and NIC index",
    0xA005: "an invalid destination",
    0xA006: "an invalid source NIC or port",
    0xA007: "an invalid destination list",
    0xA008: "a NIC referenced when that is not allowed",
    0xA009: "a port referenced when that is not allowed",
    0xA00A: "a failure context that is already set",
    0xA00B: "an invalid direction for a dropped NetBufferList",
    0xA00C: "several source ports in a chain said to have one",
    0xA00D: "an invalid destination in a chain said to have one",
}

_RULES = {
    0x20002: "IrqlApcLte",
    0x20003: "IrqlDispatch",
    0x20004: "IrqlExAllocatePool",
    0x20005: "IrqlExApcLte1",
    0x20006: "IrqlExApcLte2",
    0x20007: "IrqlExApcLte3",
    0x20008: "IrqlExPassive",
    0x20009: "IrqlIoApcLte",
    0x2000A: "IrqlIoPassive1",
    0x2000B: "IrqlIoPassive2",
    0x2000C: "IrqlIoPassive3",
    0x2000D: "IrqlIoPassive4",
    0x2000E: "IrqlIoPassive5",
    0x2000F: "IrqlKeApcLte1",
    0x20010: "IrqlKeApcLte2",
    0x20011: "IrqlKeDispatchLte",
    0x20015: "IrqlKeReleaseSpinLock",
    0x20016: "IrqlKeSetEvent",
    0x20019: "IrqlMmApcLte",
    0x2001A: "IrqlMmDispatch",
    0x2001B: "IrqlObPassive",
    0x2001C: "IrqlPsPassive",
    0x2001D: "IrqlReturn",
    0x2001E: "IrqlRtlPassive",
    0x2001F: "IrqlZwPassive",
    0x20022: "IrqlIoDispatch",
    0x40003: "CriticalRegions",
    0x40006: "QueuedSpinLock",
    0x40007: "QueuedSpinLockRelease",
    0x40009: "SpinLock",
    0x4000B: "SpinlockRelease",
    0x4000E: "GuardedRegions",
    0x4100B: "RequestedPowerIrp",
    0x4100F: "IoSetCompletionExCompleteIrp",
    0x43006: "PnpRemove",
    0x81001: "KsDeviceMutex",
    0x81002: "KsStreamPointerClone",
    0x81003: "KsStreamPointerLock",
    0x81004: "KsStreamPointerUnlock",
    0x91001: "NdisOidComplete",
    0x91002: "NdisOidDoubleComplete",
    0x9100E: "NdisOidDoubleRequest",
    0x92003: "NdisTimedOidComplete",
    0x9200D: "NdisTimedDataSend",
    0x9200F: "NdisTimedDataHang",
    0x93004: "WlanAssociation",
    0x93005: "WlanConnectionRoaming",
    0x93006: "WlanDisassociation",
    0x94007: "WlanTimedAssociation",
    0x94008: "WlanTimedConnectionRoaming",
    0x94009: "WlanTimedConnectRequest",
    0x9400B: "WlanTimedLinkQuality",
    0x9400C: "WlanTimedScan",
}
"""Rules of DDI compliance checking (0x2...., 0x4...., 0x8....) and NDIS/WIFI verification (0x9....)."""

_CONDITION = Parameter("Text of the rule's condition", Role.RULE)
_STATE = Parameter("State of the rule")

FIRST_RULE = 0x20000
"""Parameter 1 from here on is the number of a rule, known or not."""


def rule_stop(number: int) -> Stop:
    """A violated DDI compliance rule; one that this table does not know by its number."""
    name = _RULES.get(number, f"number {number:#x}")
    return violation(f"The driver broke the DDI compliance rule {name}", _CONDITION, _STATE, _STATE)


VIOLATIONS: Kinds = (
    POOL
    | LEVELS_AND_LOCKS
    | MEMORY
    | _REQUESTS_AND_CALLS
    | DEADLOCKS
    | {number: violation(f"VM switch: {what}") for number, what in _SWITCH.items()}
    | {number: rule_stop(number) for number in _RULES}
)
