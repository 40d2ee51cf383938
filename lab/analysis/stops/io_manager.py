"""0xC9 DRIVER_VERIFIER_IOMANAGER_VIOLATION by parameter 1 (Microsoft's bug check code reference)."""

from __future__ import annotations

from lab.analysis.stops.shape import DEVICE, IRQL, REQUEST, Kinds, Parameter, Role, Stop, violation

_DISPATCH = Parameter("Address of the dispatch routine", Role.ROUTINE)
_BEFORE = Parameter("IRQL before")
_AFTER = Parameter("IRQL now")
_STATUS = Parameter("Exception status")

_BASIC = {
    0x1: violation("An object that is no IRP was freed as one", REQUEST),
    0x2: violation("An IRP was freed that still belongs to a thread", REQUEST),
    0x3: violation("IoCallDriver was given an IRP of the wrong type", REQUEST),
    0x4: violation("IoCallDriver was given a bad device object", DEVICE),
    0x5: violation(
        "Dispatch routine changed the IRQL",
        Parameter("Device object of the offending driver", Role.DEVICE),
        Parameter("IRQL before IoCallDriver"),
        Parameter("IRQL after IoCallDriver"),
    ),
    0x6: violation("An IRP was completed with a pending or bad status", Parameter("IRP status"), REQUEST),
    0x7: violation(
        "An IRP was completed while its cancel routine was set",
        Parameter("Address of the cancel routine", Role.CODE),
        REQUEST,
    ),
    0x8: violation(
        "IoBuildAsynchronousFsdRequest was given a bad buffer", DEVICE, Parameter("Major function"), _STATUS
    ),
    0x9: violation(
        "IoBuildDeviceIoControlRequest was given a bad buffer",
        DEVICE,
        Parameter("I/O control code"),
        _STATUS,
    ),
    0xA: violation("IoInitializeTimer was given a device whose timer is initialized", DEVICE),
    0xC: violation(
        "The I/O status block of an IRP is on a stack that has unwound", Parameter("Status block")
    ),
    0xD: violation("The event of an IRP is on a stack that has unwound", Parameter("Event")),
    0xE: violation("IoCompleteRequest was called above DISPATCH_LEVEL", IRQL, REQUEST),
    0xF: violation(
        "A create request was sent with a file object that is closed or cancelled",
        Parameter("Device object that the IRP is sent to", Role.DEVICE),
        REQUEST,
        Parameter("File object"),
    ),
    0x10: violation("IoCallDriver was called above DISPATCH_LEVEL", IRQL),
    0x11: violation(
        "Fast I/O routine changed the IRQL",
        Parameter("Address of the fast I/O routine", Role.ROUTINE),
        _BEFORE,
        _AFTER,
    ),
    0x12: violation("Dispatch routine changed the IRQL", _DISPATCH, _BEFORE, _AFTER),
}

_WDM = {
    0x200: "An I/O verification error that has no number of its own",
    0x201: "A device deletes itself while another is below it in the stack",
    0x202: "A driver detached from a device that is attached to nothing",
    0x203: "IoCallDriver was called without clearing the IRP's cancel routine",
    0x204: "IoCallDriver was given no device object",
    0x205: "An IRP was forwarded that is queued in a lower driver",
    0x206: "An IRP was forwarded without its control field cleared",
    0x207: "The stack of an IRP was copied with the upper driver's completion routine",
    0x208: "An IRP is about to run out of stack locations",
    0x209: "An IRP was completed that is queued in a lower driver",
    0x20A: "IoFreeIrp was given an IRP that is in use",
    0x20B: "IoFreeIrp was given an IRP that is in use",
    0x20C: "IoFreeIrp was given an IRP that is queued to a thread",
    0x20D: "IoInitializeIrp was given an IRP of IoAllocateIrp",
    0x20E: "A PnP IRP has a bad initial status",
    0x20F: "A power IRP has a bad initial status",
    0x210: "A WMI IRP has a bad initial status",
    0x211: "An IRP was forwarded past a device of the stack",
    0x212: "The stack of an IRP was damaged or not copied",
    0x213: "The status of an IRP was changed by a driver that does not understand it",
    0x214: "The information field of an IRP was changed by a driver that does not understand it",
    0x215: "A PnP IRP was passed down with a failure status",
    0x216: "The status of a PnP IRP was turned into STATUS_NOT_SUPPORTED",
    0x217: "A required IRP was not handled",
    0x218: "A driver answered an IRP that is meant for another device of the stack",
    0x219: "A power IRP was passed down with a failure status",
    0x21A: "The status of a power IRP was turned into STATUS_NOT_SUPPORTED",
    0x21B: "A driver returned a suspicious status",
    0x21C: "The stack of an IRP was copied without a completion routine",
    0x21D: "A driver did not detach upon a remove IRP",
    0x21E: "A driver did not delete its device upon a remove IRP",
    0x21F: "A driver has no dispatch routine for a required major function",
    0x220: "A WMI IRP was completed by another than its target",
    0x221: "A driver deleted a PDO whose hardware was not reported missing",
    0x222: "A bus filter detached while its PDO is alive",
    0x223: "A bus filter deleted its device while its PDO is present",
    0x224: "A dispatch routine returned another status than the IRP has",
    0x225: "A dispatch routine returned an illegal status",
    0x226: "A dispatch routine neither passed down, completed nor marked the IRP pending",
    0x227: "A completion routine is in pageable code",
    0x228: "A completion routine did not mark the IRP pending",
    0x229: "A cancel routine was set for an IRP that lower drivers process",
    0x22A: "The PDO did not answer a required IRP",
    0x22B: "The PDO did not fill in the TargetDeviceRelation list",
    0x22C: "A PDO was returned for TargetDeviceRelation without a reference",
    0x22D: "A PnP IRP was completed by a driver that does not understand it",
    0x22E: "A successful PnP IRP was completed instead of passed down",
    0x22F: "An untouched PnP IRP was completed instead of passed down",
    0x230: "A power IRP was completed by a driver that does not understand it",
    0x231: "A successful power IRP was completed instead of passed down",
    0x232: "An untouched power IRP was completed instead of passed down",
    0x233: "The version of a query capabilities structure was not initialized",
    0x234: "The size of a query capabilities structure was not initialized",
    0x235: "The address of a query capabilities structure was not initialized",
    0x236: "The UI number of a query capabilities structure was not initialized",
    0x237: "An IRP was sent that only the system may send",
    0x238: "IoInitializeIrp was given an IRP of IoAllocateIrp",
    0x239: "An IRP was completed that was never sent",
    0x23A: "An IRP was forwarded at an IRQL illegal for its major function",
    0x23B: "The status of an IRP was changed by a driver that does not understand it",
    0x23C: "An IRP was completed without clearing its cancel routine",
    0x23D: "STATUS_PENDING was returned for an IRP not marked pending",
    0x23E: "An IRP was marked pending but STATUS_PENDING was not returned",
    0x23F: "DO_POWER_PAGABLE was not inherited from the stack below",
    0x240: "A device object was deleted twice",
    0x241: "A device was detached during a surprise remove IRP",
    0x242: "A device was deleted during a surprise remove IRP",
    0x243: "DO_DEVICE_INITIALIZING was not cleared at the end of AddDevice",
    0x244: "DO_BUFFERED_IO or DO_DIRECT_IO was not copied from the device below",
    0x245: "Both DO_BUFFERED_IO and DO_DIRECT_IO are set",
    0x246: "DeviceType was not copied from the device below",
    0x247: "An IRP was failed that cannot be failed",
    0x248: "A device that is no PDO was added to device relations",
    0x249: "Two child PDOs have the same device ID",
    0x24A: "A file I/O routine was called at an IRQL other than PASSIVE_LEVEL",
    0x24B: "TargetDeviceRelation was completed without being filled in or forwarded",
    0x24C: "STATUS_PENDING was returned for an IRP not marked pending",
    0x24D: "A device object that is no PDO was passed where a PDO is required",
    0x300: "A driver returned a suspicious status",
    0x301: "An IRP was forwarded above DISPATCH_LEVEL",
    0x302: "An IRP was forwarded at APC_LEVEL or above",
    0x306: "A remove IRP was completed with a failure status",
    0x307: "A request with an event that was already signalled is pending",
    0x310: "An IRP that is in use was initialized again",
    0x311: "An IRP that the I/O manager made was initialized again",
    0x312: "The information field of an IRP is greater than its output buffer",
}

FIRST_WDM = 0x200
"""From here on parameter 2 is an address in the driver's code, 3 the IRP, 4 the device object."""


def wdm_stop(number: int) -> Stop:
    """A WDM driver error; one that this table does not know by its number."""
    return violation(
        _WDM.get(number, f"I/O verification error {number:#x}"),
        Parameter("Address in the driver's code where the error was found", Role.CODE),
        REQUEST,
        DEVICE,
    )


VIOLATIONS: Kinds = _BASIC | {number: wdm_stop(number) for number in _WDM}
