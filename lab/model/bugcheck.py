"""One stop: its code and four parameters, as KeBugCheckEx got them."""

from __future__ import annotations

from dataclasses import dataclass

NAMES = {
    0x1: "APC_INDEX_MISMATCH",
    0xA: "IRQL_NOT_LESS_OR_EQUAL",
    0x1E: "KMODE_EXCEPTION_NOT_HANDLED",
    0x20: "KERNEL_APC_PENDING_DURING_EXIT",
    0x3B: "SYSTEM_SERVICE_EXCEPTION",
    0x50: "PAGE_FAULT_IN_NONPAGED_AREA",
    0x7E: "SYSTEM_THREAD_EXCEPTION_NOT_HANDLED",
    0x80: "NMI_HARDWARE_FAILURE",
    0x9F: "DRIVER_POWER_STATE_FAILURE",
    0xC1: "SPECIAL_POOL_DETECTED_MEMORY_CORRUPTION",
    0xC2: "BAD_POOL_CALLER",
    0xC4: "DRIVER_VERIFIER_DETECTED_VIOLATION",
    0xC9: "DRIVER_VERIFIER_IOMANAGER_VIOLATION",
    0xD1: "DRIVER_IRQL_NOT_LESS_OR_EQUAL",
    0xE2: "MANUALLY_INITIATED_CRASH",
    0xE6: "DRIVER_VERIFIER_DMA_VIOLATION",
    0x133: "DPC_WATCHDOG_VIOLATION",
    0x139: "KERNEL_SECURITY_CHECK_FAILURE",
    0x13A: "KERNEL_MODE_HEAP_CORRUPTION",
    0x161: "LIVE_SYSTEM_DUMP",
    0x1000007E: "SYSTEM_THREAD_EXCEPTION_NOT_HANDLED_M",
}
"""Names from Microsoft's bug check code reference."""


@dataclass(frozen=True)
class Bugcheck:
    """A bugcheck code and its four parameters (unsigned 64-bit)."""

    code: int
    parameters: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def name(self) -> str:
        return NAMES.get(self.code, "UNKNOWN_BUGCHECK")

    @property
    def title(self) -> str:
        """`KERNEL_APC_PENDING_DURING_EXIT (20)`, as the debugger writes it."""
        return f"{self.name} ({self.code:x})"

    @property
    def ours(self) -> bool:
        """True for the stops a lab causes itself: an NMI (0x80) or a manual crash (0xE2)."""
        return self.code in (0x80, 0xE2)
