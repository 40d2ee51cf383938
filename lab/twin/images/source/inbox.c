// A driver that comes with Windows and has no part in the story.
#include "imports.h"

__attribute__((noinline)) NTSTATUS DispatchPassThrough(PDEVICE_OBJECT device, PIRP irp)
{
    NTSTATUS status = IofCallDriver(*(PDEVICE_OBJECT *)device->DeviceExtension, irp);
    device->ReferenceCount += status;
    return status;
}

__attribute__((noinline)) NTSTATUS DispatchPower(PDEVICE_OBJECT device, PIRP irp)
{
    irp->PendingReturned = 1;
    ObfDereferenceObject(device);
    return 0x103;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PVOID RegistryPath)
{
    ULONG major;
    for (major = 0; major < 28; major++)
        DriverObject->MajorFunction[major] = (PVOID)DispatchPassThrough;
    DriverObject->MajorFunction[22] = (PVOID)DispatchPower;
    return RegistryPath == 0;
}
