"""Offsets that readers have as numbers, against the public symbols of real kernels."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from lab.kernel import devices, irp, irplog, power, prcb, regionlog
from lab.kernel.verified import TARGET_COUNTERS
from lab.kernel.verifier import COUNTERS
from lab.symbols.isf import Isf, load_isf
from lab.symbols.port import PdbId

ISF = Path(__file__).parents[2].parent / "shared" / "data" / "isf"
FILES = sorted(ISF.glob("*.json.xz"))

pytestmark = pytest.mark.skipif(not FILES, reason=f"no symbols at {ISF}")

FIXED = {
    ("_DEVICE_OBJECT", "DriverObject"): 0x08,
    ("_DEVICE_OBJECT", "NextDevice"): 0x10,
    ("_DEVICE_OBJECT", "AttachedDevice"): 0x18,
    ("_DEVICE_OBJECT", "DeviceExtension"): 0x40,
    ("_DEVICE_OBJECT", "DeviceType"): 0x48,
    ("_DEVICE_OBJECT", "DeviceObjectExtension"): 0x138,
    ("_DEVOBJ_EXTENSION", "DeviceObject"): 0x08,
    ("_DEVOBJ_EXTENSION", "AttachedTo"): 0x30,
    ("_DRIVER_OBJECT", "DeviceObject"): 0x08,
    ("_DRIVER_OBJECT", "DriverStart"): 0x18,
    ("_DRIVER_OBJECT", "DriverSize"): 0x20,
    ("_DRIVER_OBJECT", "DriverName"): 0x38,
    ("_DRIVER_OBJECT", "DriverUnload"): 0x68,
    ("_DRIVER_OBJECT", "MajorFunction"): 0x70,
    ("_IRP", "Size"): 2,
    ("_IRP", "IoStatus"): 0x30,
    ("_IRP", "StackCount"): 0x42,
    ("_IRP", "CurrentLocation"): 0x43,
    ("_IRP", "Tail.Overlay.Thread"): 0x98,
    ("_IRP", "Tail.Overlay.CurrentStackLocation"): 0xB8,
    ("_IO_STACK_LOCATION", "DeviceObject"): 0x28,
    ("_IO_STACK_LOCATION", "FileObject"): 0x30,
    ("_IO_STACK_LOCATION", "CompletionRoutine"): 0x38,
    ("_IO_STACK_LOCATION", "Context"): 0x40,
    ("_FILE_OBJECT", "DeviceObject"): 8,
    ("_FILE_OBJECT", "FileName"): 0x58,
    ("_DEVICE_NODE", "PhysicalDeviceObject"): 0x20,
    ("_DEVICE_NODE", "InstancePath"): 0x28,
    ("_DEVICE_NODE", "ServiceName"): 0x38,
    ("_KPRCB", "CurrentThread"): prcb._CURRENT_THREAD,
    ("_KPRCB", "Number"): prcb._NUMBER,
    ("_KSPECIAL_REGISTERS", "Cr3"): 0x10,
    ("_VF_KE_CRITICAL_REGION_TRACE", "StackTrace"): 8,
    ("_VF_SUSPECT_DRIVER_ENTRY", "BaseName"): 0x18,
    ("_RTL_BALANCED_LINKS", "LeftChild"): 8,
    ("_RTL_BALANCED_LINKS", "RightChild"): 0x10,
    ("_RTL_AVL_TABLE", "NumberGenericTableElements"): 0x2C,
    ("_POOL_HEADER", "PoolTag"): 4,
    ("_PNP_DEVICE_COMPLETION_REQUEST", "DeviceNode"): power._REQUEST_NODE,
    ("_PNP_DEVICE_COMPLETION_QUEUE", "DispatchedList"): 0,
}

WHERE_PUBLISHED = {
    ("_TRIAGE_9F_POWER", "IrpList"): power._IRP_LIST,
    ("_TRIAGE_9F_POWER", "ThreadList"): power._THREAD_LIST,
    ("_TRIAGE_9F_PNP", "CompletionQueue"): power._COMPLETION_QUEUE,
    ("_TRIAGE_PNP_DEVICE_COMPLETION_QUEUE", "DispatchedList"): 0,
    ("_TRIAGE_POP_IRP_DATA", "Irp"): power._ENTRY_IRP,
    ("_TRIAGE_POP_IRP_DATA", "Pdo"): power._ENTRY_PDO,
    ("_POP_IRP_WORKER_ENTRY", "Thread"): power._WORKER_THREAD,
    ("_POP_IRP_WORKER_ENTRY", "Irp"): power._WORKER_IRP,
    ("_POP_IRP_WORKER_ENTRY", "Device"): power._WORKER_DEVICE,
    ("_IOV_IRP_TRACE", "KernelApcDisable"): 0x10,
    ("_IOV_IRP_TRACE", "SpecialApcDisable"): 0x12,
    ("_IOV_IRP_TRACE", "Irql"): 0x14,
    ("_IOV_IRP_TRACE", "StackTrace"): 0x18,
    ("_KLDR_DATA_TABLE_ENTRY", "Flags"): 0x68,
    ("_KLDR_DATA_TABLE_ENTRY", "TimeDateStamp"): 0x9C,
}
"""Types that not every kernel publishes."""

SIZES = {
    "_DRIVER_OBJECT": devices.DRIVER_SIZE,
    "_IRP": irp.IRP_SIZE,
    "_IO_STACK_LOCATION": irp.LOCATION_SIZE,
    "_POOL_HEADER": 0x10,
    "_VF_KE_CRITICAL_REGION_TRACE": regionlog.ENTRY_SIZES[0],
    "_IOV_IRP_TRACE": irplog.ENTRY,
}


@pytest.fixture(scope="module", params=FILES, ids=lambda path: path.name[:8])
def isf(request: pytest.FixtureRequest) -> Isf:
    guid, age = request.param.name.partition(".")[0].split("-")
    found = load_isf(request.param, PdbId("ntkrnlmp.pdb", guid, int(age, 16)))
    assert isinstance(found, Isf)
    return found


def test_fields_that_are_alike_in_every_build(isf: Isf) -> None:
    for (type_name, field), offset in FIXED.items():
        assert isf.offset(type_name, field) == offset, (type_name, field)
    everything = isf.size("_TRIAGE_9F_POWER") is not None  # since 14393 all of them are public
    for (type_name, field), offset in WHERE_PUBLISHED.items():
        allowed = (offset,) if everything else (offset, None)
        assert isf.offset(type_name, field) in allowed, (type_name, field)
    for type_name, size in SIZES.items():
        assert isf.size(type_name) in (size, None), type_name


def test_counters_are_fields_of_verifiers_structures(isf: Isf) -> None:
    for name in TARGET_COUNTERS:
        assert isf.offset("_VF_TARGET_VERIFIED_DRIVER_DATA", name) is not None, name
    for name in COUNTERS:
        assert isf.offset("_MM_DRIVER_VERIFIER_DATA", name) is not None or name == "AllocationFreed", name


def test_counters_of_bytes_and_no_others_are_64_bits_wide(isf: Isf) -> None:
    """A field is as wide as the way to the next one lets it be."""
    for owner, names in (
        ("_MM_DRIVER_VERIFIER_DATA", COUNTERS),
        ("_VF_TARGET_VERIFIED_DRIVER_DATA", TARGET_COUNTERS),
    ):
        offsets = sorted(
            (isf.offset(owner, name) or 0, name) for name in names if isf.offset(owner, name) is not None
        )
        for (at, name), (following, _) in pairwise(offsets):
            assert following - at >= (8 if name.endswith("Bytes") else 4), name
            assert not name.endswith("Bytes") or at % 8 == 0, name
