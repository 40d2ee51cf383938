"""One stop: its code and four parameters, as KeBugCheckEx got them."""

from __future__ import annotations

from dataclasses import dataclass

NAMES = {
    0x1: "APC_INDEX_MISMATCH",
    0xA: "IRQL_NOT_LESS_OR_EQUAL",
    0x18: "REFERENCE_BY_POINTER",
    0x19: "BAD_POOL_HEADER",
    0x1E: "KMODE_EXCEPTION_NOT_HANDLED",
    0x20: "KERNEL_APC_PENDING_DURING_EXIT",
    0x3B: "SYSTEM_SERVICE_EXCEPTION",
    0x50: "PAGE_FAULT_IN_NONPAGED_AREA",
    0x7E: "SYSTEM_THREAD_EXCEPTION_NOT_HANDLED",
    0x80: "NMI_HARDWARE_FAILURE",
    0x8E: "KERNEL_MODE_EXCEPTION_NOT_HANDLED",
    0x9F: "DRIVER_POWER_STATE_FAILURE",
    0xBE: "ATTEMPTED_WRITE_TO_READONLY_MEMORY",
    0xC1: "SPECIAL_POOL_DETECTED_MEMORY_CORRUPTION",
    0xC2: "BAD_POOL_CALLER",
    0xC4: "DRIVER_VERIFIER_DETECTED_VIOLATION",
    0xC5: "DRIVER_CORRUPTED_EXPOOL",
    0xC9: "DRIVER_VERIFIER_IOMANAGER_VIOLATION",
    0xCE: "DRIVER_UNLOADED_WITHOUT_CANCELLING_PENDING_OPERATIONS",
    0xD1: "DRIVER_IRQL_NOT_LESS_OR_EQUAL",
    0xD5: "DRIVER_PAGE_FAULT_IN_FREED_SPECIAL_POOL",
    0xD6: "DRIVER_PAGE_FAULT_BEYOND_END_OF_ALLOCATION",
    0xE2: "MANUALLY_INITIATED_CRASH",
    0xE6: "DRIVER_VERIFIER_DMA_VIOLATION",
    0xEA: "THREAD_STUCK_IN_DEVICE_DRIVER",
    0xF7: "DRIVER_OVERRAN_STACK_BUFFER",
    0xFC: "ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY",
    0xFE: "BUGCODE_USB_DRIVER",
    0x101: "CLOCK_WATCHDOG_TIMEOUT",
    0x10D: "WDF_VIOLATION",
    0x116: "VIDEO_TDR_FAILURE",
    0x133: "DPC_WATCHDOG_VIOLATION",
    0x139: "KERNEL_SECURITY_CHECK_FAILURE",
    0x13A: "KERNEL_MODE_HEAP_CORRUPTION",
    0x161: "LIVE_SYSTEM_DUMP",
    0x1000007E: "SYSTEM_THREAD_EXCEPTION_NOT_HANDLED_M",
    0x1000008E: "KERNEL_MODE_EXCEPTION_NOT_HANDLED_M",
}
"""Names from Microsoft's bug check code reference."""

IMAGER = 0x5454414D
"""What MoonSols DumpIt writes in place of a code: the mark "MATT". No system stopped."""

IMAGER_MARKS = {0x4E4F4F4D: "MOON", 0x534C4F53: "SOLS"}
"""Its marks in place of parameters."""


@dataclass(frozen=True)
class Bugcheck:
    """A bugcheck code and its four parameters (unsigned 64-bit)."""

    code: int
    parameters: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def name(self) -> str:
        if self.imaged:
            return "no stop: written by a memory imager"
        return NAMES.get(self.code, "UNKNOWN_BUGCHECK")

    @property
    def title(self) -> str:
        """`KERNEL_APC_PENDING_DURING_EXIT (20)`, as the debugger writes it."""
        return f"{self.name} ({self.code:x})"

    @property
    def imaged(self) -> bool:
        """True for the marks that a memory imager writes where a stop has its code and parameters."""
        return self.code == IMAGER and all(each in IMAGER_MARKS for each in self.parameters)

    @property
    def ours(self) -> bool:
        """True for the stops a lab causes itself: an NMI (0x80) or a manual crash (0xE2)."""
        return self.code in (0x80, 0xE2)
