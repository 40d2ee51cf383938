"""0xC4 kinds about pool and memory (Microsoft's bug check code reference)."""

from __future__ import annotations

from lab.analysis.stops.shape import (
    BLOCK,
    BYTES,
    IRQL,
    NOTHING,
    POOL_TYPE,
    REQUEST,
    Kinds,
    Parameter,
    Role,
    violation,
)

_WORK_ITEM = Parameter("Work item", Role.POOL)
_MDL = Parameter("MDL")
_FLAGS = Parameter("MDL flags")
_MODE = Parameter("Access mode")
_PROCESS = Parameter("Process")
_LEAKS = Parameter("Allocations that were not freed")
_USER_ADDRESS = Parameter("User-mode address")
_CONTENTS = Parameter("Pool header contents")

POOL: Kinds = {
    0x00: violation("Zero bytes of pool were requested", IRQL, POOL_TYPE, BYTES),
    0x01: violation("Paged pool was allocated at IRQL > APC_LEVEL", IRQL, POOL_TYPE, BYTES),
    0x02: violation("Nonpaged pool was allocated at IRQL > DISPATCH_LEVEL", IRQL, POOL_TYPE, BYTES),
    0x03: violation("More than one page of must-succeed pool was requested"),
    0x10: violation("An address that no allocation had returned was freed", BLOCK),
    0x11: violation("Paged pool was freed at IRQL > APC_LEVEL", IRQL, POOL_TYPE, BLOCK),
    0x12: violation("Nonpaged pool was freed at IRQL > DISPATCH_LEVEL", IRQL, POOL_TYPE, BLOCK),
    0x13: violation("Pool was freed twice", NOTHING, Parameter("Pool header", Role.POOL), _CONTENTS),
    0x14: violation("Pool was freed twice", NOTHING, Parameter("Pool header", Role.POOL), _CONTENTS),
    0x15: violation("Pool with an active timer in it was freed", Parameter("Timer"), POOL_TYPE, BLOCK),
    0x16: violation("Pool was freed at a bad address, or by bad parameters", NOTHING, BLOCK),
    0x51: violation(
        "Memory was written beyond the end of its allocation, then freed",
        BLOCK,
        Parameter("Address beyond the allocation"),
        Parameter("Bytes charged"),
    ),
    0x52: violation(
        "Memory was written beyond the end of its allocation, then freed",
        BLOCK,
        NOTHING,
        Parameter("Bytes charged"),
    ),
    0x53: violation("Memory was written beyond the end of its allocation, then freed", BLOCK),
    0x54: violation("Memory was written beyond the end of its allocation, then freed", BLOCK),
    0x59: violation("Memory was written beyond the end of its allocation, then freed", BLOCK),
    0x60: violation(
        "A driver unloads without having freed its pool",
        Parameter("Bytes of paged pool"),
        Parameter("Bytes of nonpaged pool"),
        _LEAKS,
    ),
    0x61: violation(
        "A thread of a driver that unloads allocated pool",
        Parameter("Bytes of paged pool"),
        Parameter("Bytes of nonpaged pool"),
        _LEAKS,
    ),
    0x62: violation(
        "A driver unloads without having freed its pool",
        Parameter("Name of the driver", Role.NAME),
        NOTHING,
        _LEAKS,
    ),
    0x105: violation("An IRP was freed by ExFreePool instead of IoFreeIrp", REQUEST),
    0x10A: violation("Pool quota was charged to the idle process"),
    0x10B: violation("Pool quota was charged from a DPC routine"),
    0x13A: violation(
        "Pool tracking data was found damaged at a free",
        BLOCK,
        Parameter("Wrong value"),
        Parameter("Address of the wrong value"),
    ),
    0x13B: violation(
        "Pool tracking data was found damaged at a free",
        BLOCK,
        Parameter("Address of the wrong value"),
        Parameter("Address of a pointer to the wrong page"),
    ),
    0x13C: violation(
        "Pool tracking data was found damaged at a free",
        BLOCK,
        Parameter("Wrong value"),
        Parameter("Address of the wrong value"),
    ),
    0x13D: violation(
        "Pool tracking data was found damaged at a free",
        BLOCK,
        Parameter("Address of the wrong value"),
        Parameter("Value that was expected"),
    ),
    0x13E: violation(
        "The freed address is not the one that verifier tracks",
        BLOCK,
        Parameter("Address that verifier tracks"),
        Parameter("Where verifier tracks it"),
    ),
    0x13F: violation(
        "The freed size is not the one that verifier tracks",
        BLOCK,
        Parameter("Bytes freed"),
        Parameter("Where verifier tracks the size"),
    ),
}

MEMORY: Kinds = {
    0x70: violation("MmProbeAndLockPages was called above DISPATCH_LEVEL", IRQL, _MDL, _MODE),
    0x71: violation("MmProbeAndLockProcessPages was called above DISPATCH_LEVEL", IRQL, _MDL, _PROCESS),
    0x72: violation("MmProbeAndLockSelectedPages was called above DISPATCH_LEVEL", IRQL, _MDL, _PROCESS),
    0x73: violation(
        "MmMapIoSpace was called above DISPATCH_LEVEL", IRQL, Parameter("Physical address"), BYTES
    ),
    0x74: violation("MmMapLockedPages (kernel mode) was called above DISPATCH_LEVEL", IRQL, _MDL, _MODE),
    0x75: violation("MmMapLockedPages (user mode) was called above APC_LEVEL", IRQL, _MDL, _MODE),
    0x76: violation(
        "MmMapLockedPagesSpecifyCache (kernel mode) was called above DISPATCH_LEVEL", IRQL, _MDL, _MODE
    ),
    0x77: violation("MmMapLockedPagesSpecifyCache (user mode) was called above APC_LEVEL", IRQL, _MDL, _MODE),
    0x78: violation("MmUnlockPages was called above DISPATCH_LEVEL", IRQL, _MDL),
    0x79: violation(
        "MmUnmapLockedPages (kernel mode) was called above DISPATCH_LEVEL",
        IRQL,
        Parameter("Address to unmap"),
        _MDL,
    ),
    0x7A: violation(
        "MmUnmapLockedPages (user mode) was called above APC_LEVEL", IRQL, Parameter("Address to unmap"), _MDL
    ),
    0x7B: violation("MmUnmapIoSpace was called above APC_LEVEL", IRQL, Parameter("Address to unmap"), BYTES),
    0x7C: violation("MmUnlockPages was given an MDL whose pages were never locked", _MDL, _FLAGS),
    0x7D: violation("MmUnlockPages was given an MDL of nonpaged pool", _MDL, _FLAGS),
    0x7E: violation("Pages for an MDL were allocated or freed above DISPATCH_LEVEL", IRQL),
    0x7F: violation("MmBuildMdlForNonPagedPool was given an MDL of paged pool", IRQL, _MDL, _FLAGS),
    0x81: violation("MmMapLockedPages was called, which stops the system when it fails", _MDL, _FLAGS),
    0x82: violation("MmMapLockedPagesSpecifyCache was told to stop the system when it fails", _MDL, _FLAGS),
    0x83: violation(
        "MmMapIoSpace was called for pages that are not locked",
        Parameter("Physical address"),
        BYTES,
        Parameter("First page that is not locked"),
    ),
    0x85: violation(
        "MmMapLockedPages was called for pages that are not locked",
        _MDL,
        Parameter("Number of pages"),
        Parameter("First page that is not locked"),
    ),
    0x89: violation(
        "An MDL not marked as I/O has pages that are no memory",
        _MDL,
        Parameter("Where the page is in the MDL"),
        Parameter("Page number"),
    ),
    0x91: violation("The driver switched stacks in a way that is not supported"),
    0xB0: violation("MmProbeAndLockPages: wrong MDL flags", _MDL, _FLAGS, Parameter("Wrong flags")),
    0xB1: violation("MmProbeAndLockProcessPages: wrong MDL flags", _MDL, _FLAGS, Parameter("Wrong flags")),
    0xB2: violation("MmMapLockedPages: wrong MDL flags", _MDL, _FLAGS, Parameter("Wrong flags")),
    0xB3: violation("MmMapLockedPages: MDL flags are missing", _MDL, _FLAGS, Parameter("Missing flags")),
    0xB4: violation("MmUnlockPages was given a partial MDL", _MDL, _FLAGS, Parameter("Partial MDL flag")),
    0xB8: violation("IoFreeMdl was given an MDL whose pages are still mapped", _MDL, _FLAGS),
    0xE0: violation("A kernel routine was given a user-mode address", _USER_ADDRESS, BYTES),
    0xF0: violation(
        "memcpy was called with buffers that overlap",
        Parameter("Destination"),
        Parameter("Source"),
        Parameter("Number of bytes"),
    ),
    0x130: violation("A work item is in session space", _WORK_ITEM),
    0x131: violation("A work item is in pageable memory", _WORK_ITEM),
    0x140: violation("An MDL of pageable memory is not locked", IRQL, _MDL, Parameter("Its address")),
}
