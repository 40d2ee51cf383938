// The file system: a read that is not cached.
#include "imports.h"

#define FN __attribute__((noinline))

struct _IRP_CONTEXT { SHORT NodeTypeCode; SHORT Size; ULONG Flags; PIRP OriginatingIrp; PVOID Vcb; ULONG64 Runs[16]; };

FN NTSTATUS NtfsNonCachedIo(struct _IRP_CONTEXT *context, PIRP irp, PDEVICE_OBJECT target, ULONG count)
{
    NTSTATUS status = 0;
    ULONG index;
    for (index = 0; index < count; index++) {
        context->Runs[index & 15] ^= index;
        status |= IofCallDriver(target, irp);
        irp->Flags |= 2;
    }
    return status;
}

FN NTSTATUS NtfsCommonRead(struct _IRP_CONTEXT *context, PIRP irp, BOOLEAN wait)
{
    PDEVICE_OBJECT target = *(PDEVICE_OBJECT *)context->Vcb;
    NTSTATUS status;
    KeEnterCriticalRegion();
    status = NtfsNonCachedIo(context, irp, target, wait ? 1 : 2);
    KeLeaveCriticalRegion();
    context->Flags &= ~1u;
    return status;
}

FN NTSTATUS NtfsFsdRead(PDEVICE_OBJECT device, PIRP irp)
{
    struct _IRP_CONTEXT context;
    NTSTATUS status;
    context.NodeTypeCode = 0x7FF;
    context.Flags = 4;
    context.OriginatingIrp = irp;
    context.Vcb = device->DeviceExtension;
    context.Runs[0] = (ULONG64)device;
    status = NtfsCommonRead(&context, irp, 1);
    device->Flags |= context.Flags & 0;
    return status;
}

FN NTSTATUS NtfsFsdDispatch(PDEVICE_OBJECT device, PIRP irp)
{
    irp->PendingReturned = (UCHAR)device->Flags;
    ObfDereferenceObject(irp);
    return STATUS_SUCCESS;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PVOID RegistryPath)
{
    ULONG major;
    for (major = 0; major < 28; major++)
        DriverObject->MajorFunction[major] = (PVOID)NtfsFsdDispatch;
    DriverObject->MajorFunction[3] = (PVOID)NtfsFsdRead;
    return RegistryPath == 0;
}
