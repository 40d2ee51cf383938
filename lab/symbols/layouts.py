"""Kernel structures that are laid out alike in every x64 build from 7601 on.

Offsets and sizes in bytes, from public symbols; where builds differ, `layouts` takes the build.
"""

from __future__ import annotations

Layout = tuple[int | None, dict[str, int]]
"""(size or None, field -> offset)."""

_CONSTANT: dict[str, Layout] = {
    "_LIST_ENTRY": (0x10, {"Flink": 0, "Blink": 8}),
    "_UNICODE_STRING": (0x10, {"Length": 0, "MaximumLength": 2, "Buffer": 8}),
    "_KPROCESS": (None, {"DirectoryTableBase": 0x28}),
    "_KSPECIAL_REGISTERS": (None, {"Cr0": 0, "Cr2": 8, "Cr3": 0x10, "Cr4": 0x18}),
    "_KPCR": (None, {"Prcb": 0x180, "KdVersionBlock": 0x108}),
    "_KAPC_STATE": (
        0x30,
        {
            "ApcListHead": 0,
            "Process": 0x20,
            "KernelApcInProgress": 0x28,
            "KernelApcPending": 0x29,
            "UserApcPending": 0x2A,
        },
    ),
    "_KAPC": (
        None,
        {
            "Thread": 8,
            "ApcListEntry": 0x10,
            "KernelRoutine": 0x20,
            "NormalRoutine": 0x30,
            "ApcMode": 0x51,
            "Inserted": 0x52,
        },
    ),
    "_KTRAP_FRAME": (
        0x190,
        {
            "PreviousMode": 0x28,
            "PreviousIrql": 0x29,
            "Rax": 0x30,
            "Rcx": 0x38,
            "Rdx": 0x40,
            "R8": 0x48,
            "R9": 0x50,
            "R10": 0x58,
            "R11": 0x60,
            "FaultAddress": 0xD0,
            "TrapFrame": 0x138,
            "Rbx": 0x140,
            "Rdi": 0x148,
            "Rsi": 0x150,
            "Rbp": 0x158,
            "ErrorCode": 0x160,
            "Rip": 0x168,
            "SegCs": 0x170,
            "EFlags": 0x178,
            "Rsp": 0x180,
            "SegSs": 0x188,
        },
    ),
    "_LDR_DATA_TABLE_ENTRY": (
        None,
        {
            "InLoadOrderLinks": 0,
            "DllBase": 0x30,
            "EntryPoint": 0x38,
            "SizeOfImage": 0x40,
            "FullDllName": 0x48,
            "BaseDllName": 0x58,
            "Flags": 0x68,
            "TimeDateStamp": 0x80,
        },
    ),
    "_DEVICE_OBJECT": (
        0x150,
        {
            "Type": 0,
            "Size": 2,
            "ReferenceCount": 4,
            "DriverObject": 8,
            "NextDevice": 0x10,
            "AttachedDevice": 0x18,
            "CurrentIrp": 0x20,
            "Flags": 0x30,
            "Characteristics": 0x34,
            "Vpb": 0x38,
            "DeviceExtension": 0x40,
            "DeviceType": 0x48,
            "StackSize": 0x4C,
            "DeviceObjectExtension": 0x138,
        },
    ),
    "_DEVOBJ_EXTENSION": (
        None,
        {
            "DeviceObject": 8,
            "PowerFlags": 0x10,
            "ExtensionFlags": 0x20,
            "DeviceNode": 0x28,
            "AttachedTo": 0x30,
            "StartIoCount": 0x38,
            "Vpb": 0x48,
        },
    ),
    "_DRIVER_OBJECT": (
        0x150,
        {
            "Type": 0,
            "Size": 2,
            "DeviceObject": 8,
            "Flags": 0x10,
            "DriverStart": 0x18,
            "DriverSize": 0x20,
            "DriverSection": 0x28,
            "DriverExtension": 0x30,
            "DriverName": 0x38,
            "FastIoDispatch": 0x50,
            "DriverInit": 0x58,
            "DriverUnload": 0x68,
            "MajorFunction": 0x70,
        },
    ),
    "_IRP": (
        None,
        {
            "Type": 0,
            "Size": 2,
            "Flags": 0x10,
            "IoStatus": 0x30,
            "StackCount": 0x42,
            "CurrentLocation": 0x43,
            "Tail.Overlay.Thread": 0x98,
            "Tail.Overlay.CurrentStackLocation": 0xB8,
        },
    ),
    "_IO_STACK_LOCATION": (
        0x48,
        {
            "MajorFunction": 0,
            "MinorFunction": 1,
            "Flags": 2,
            "Control": 3,
            "Parameters": 8,
            "DeviceObject": 0x28,
            "FileObject": 0x30,
            "CompletionRoutine": 0x38,
            "Context": 0x40,
        },
    ),
    "_FILE_OBJECT": (0xD8, {"Type": 0, "Size": 2, "DeviceObject": 8, "Vpb": 0x10, "FileName": 0x58}),
    "_DEVICE_NODE": (None, {"PhysicalDeviceObject": 0x20, "InstancePath": 0x28, "ServiceName": 0x38}),
    "_POOL_HEADER": (0x10, {"PreviousSize": 0, "PoolIndex": 0, "PoolTag": 4, "ProcessBilled": 8}),
    "_VF_KE_CRITICAL_REGION_TRACE": (0x40, {"Thread": 0, "StackTrace": 8}),
    "_VF_SUSPECT_DRIVER_ENTRY": (0x28, {"Links": 0, "Loads": 0x10, "Unloads": 0x14, "BaseName": 0x18}),
    "_RTL_BALANCED_LINKS": (0x20, {"Parent": 0, "LeftChild": 8, "RightChild": 0x10}),
    "_RTL_AVL_TABLE": (0x68, {"BalancedRoot": 0, "NumberGenericTableElements": 0x2C}),
}

_IOV_IRP_TRACE: Layout = (
    0x80,
    {
        "Irp": 0,
        "Thread": 8,
        "KernelApcDisable": 0x10,
        "SpecialApcDisable": 0x12,
        "CombinedApcDisable": 0x10,
        "Irql": 0x14,
        "StackTrace": 0x18,
    },
)

_VERIFIER_DATA = (
    ("Level", 0),
    ("RaiseIrqls", 4),
    ("AcquireSpinLocks", 8),
    ("SynchronizeExecutions", 0xC),
    ("AllocationsAttempted", 0x10),
    ("AllocationsSucceeded", 0x14),
    ("AllocationsSucceededSpecialPool", 0x18),
    ("AllocationsWithNoTag", 0x1C),
    ("TrimRequests", 0x20),
    ("Trims", 0x24),
    ("AllocationsFailed", 0x28),
    ("AllocationsFailedDeliberately", 0x2C),
    ("Loads", 0x30),
    ("Unloads", 0x34),
    ("UnTrackedPool", 0x38),
    ("UserTrims", 0x3C),
    ("CurrentPagedPoolAllocations", 0x40),
    ("CurrentNonPagedPoolAllocations", 0x44),
    ("PeakPagedPoolAllocations", 0x48),
    ("PeakNonPagedPoolAllocations", 0x4C),
    ("PagedBytes", 0x50),
    ("NonPagedBytes", 0x58),
    ("PeakPagedBytes", 0x60),
    ("PeakNonPagedBytes", 0x68),
    ("BurstAllocationsFailedDeliberately", 0x70),
    ("SessionTrims", 0x74),
    ("OptionChanges", 0x78),
    ("VerifyMode", 0x7C),
)
"""MM_DRIVER_VERIFIER_DATA up to build 19041."""

_TARGET_COUNTERS = (
    ("CurrentPagedPoolAllocations", 0),
    ("CurrentNonPagedPoolAllocations", 4),
    ("PeakPagedPoolAllocations", 8),
    ("PeakNonPagedPoolAllocations", 0xC),
    ("PagedBytes", 0x10),
    ("NonPagedBytes", 0x18),
    ("PeakPagedBytes", 0x20),
    ("PeakNonPagedBytes", 0x28),
    ("RaiseIrqls", 0x30),
    ("AcquireSpinLocks", 0x34),
    ("SynchronizeExecutions", 0x38),
    ("AllocationsWithNoTag", 0x3C),
    ("AllocationsFailed", 0x40),
    ("AllocationsFailedDeliberately", 0x44),
    ("LockedBytes", 0x48),
    ("PeakLockedBytes", 0x50),
    ("MappedLockedBytes", 0x58),
    ("PeakMappedLockedBytes", 0x60),
    ("MappedIoSpaceBytes", 0x68),
    ("PeakMappedIoSpaceBytes", 0x70),
    ("PagesForMdlBytes", 0x78),
    ("PeakPagesForMdlBytes", 0x80),
    ("ContiguousMemoryBytes", 0x88),
    ("PeakContiguousMemoryBytes", 0x90),
)
"""The counters of VF_TARGET_VERIFIED_DRIVER_DATA, from the first one on. Where that is, differs."""

_TARGETS: dict[int, tuple[int, int, int, int]] = {
    7601: (0x30, 0x28, 0x100, 0x50),
    9600: (0x38, 0x30, 0x100, 0x50),
    14393: (0x40, 0x38, 0x120, 0x50),
    17763: (0x40, 0x38, 0x120, 0x60),
    19041: (0x40, 0x38, 0x130, 0x68),
    20348: (0x38, 0x30, 0x130, 0x70),
}
"""Build -> size of VF_TARGET_DRIVER, its VerifiedData, size of what that points to, and its counters."""


def layouts(build: int) -> dict[str, Layout]:
    """Type name -> layout for kernels of `build` (7601 ... 22000)."""
    found = dict(_CONSTANT)
    late = build >= 20348
    shift = {name: 4 if at < 0x50 else 8 for name, at in _VERIFIER_DATA if late and at >= 0x30}
    found["_MM_DRIVER_VERIFIER_DATA"] = (
        {7601: 0xA0, 9600: 0xA0, 14393: 0xB0}.get(build, 0xB0 if late else 0xA8),
        {name: at + shift.get(name, 0) for name, at in _VERIFIER_DATA}
        | ({"AllocationFreed": 0x30} if late else {}),
    )
    found["_KPROCESSOR_STATE"] = (
        None,
        {"SpecialRegisters": 0, "ContextFrame": 0xF0 if build >= 17763 else 0xE0},
    )
    if build >= 9600:
        found["_IOV_IRP_TRACE"] = _IOV_IRP_TRACE
        found["_VF_AVL_TREE"] = (None, {"NodeCount": 8, "Tables": 0x10, "TablesNo": 0x18})
        found["_VF_AVL_TABLE"] = (0xC0, {"RtlTable": 0})
    else:
        found["_VF_AVL_TREE"] = (None, {"NodeCount": 0x18, "Tables": 0x20, "TablesNo": 0x28})
        found["_VF_AVL_TABLE"] = (0x70, {"RtlTable": 0})
    if build in _TARGETS:
        size, data, data_size, counters = _TARGETS[build]
        found["_VF_TARGET_DRIVER"] = (size, {"TreeNode": 0, "VerifiedData": data})
        found["_VF_TARGET_VERIFIED_DRIVER_DATA"] = (
            data_size,
            {"SuspectDriverEntry": 0} | {name: counters + at for name, at in _TARGET_COUNTERS},
        )
    return found
