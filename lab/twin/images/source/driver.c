// A third-party driver: a filter's callbacks, a dispatch routine, a worker of its own, a timer. VARIANT makes
// drivers of different makers differ in code and addresses.
#include "imports.h"

#define FN __attribute__((noinline))
#ifndef VARIANT
#define VARIANT 0
#endif

struct _DEVICE_EXTENSION { PDEVICE_OBJECT Lower; ULONG Requests; ULONG Depth; ULONG64 Seen[8 + VARIANT]; };

static struct _DEVICE_EXTENSION Shared;

#if VARIANT & 1
FN ULONG HashName(const USHORT *name, ULONG length)
{
    ULONG hash = 5381 + VARIANT;
    while (length--)
        hash = hash * 33 ^ *name++;
    return hash;
}
#endif

FN void Enter(PVOID context)
{
    KeEnterCriticalRegion();
    ((struct _DEVICE_EXTENSION *)context)->Depth += 1;
}

FN void Leave(PVOID context)
{
    ((struct _DEVICE_EXTENSION *)context)->Depth -= 1;
    KeLeaveCriticalRegion();
    ((struct _DEVICE_EXTENSION *)context)->Requests += 1;
}

FN void Start(struct _DEVICE_EXTENSION *extension)
{
    UCHAR state[0x20 + 0x10 * VARIANT];
    ULONG index;
    Enter(extension);
    for (index = 0; index < sizeof state; index++)
        state[index] = (UCHAR)extension->Seen[index & 7];
    extension->Requests += state[extension->Depth & 15];
}

FN void Worker(PVOID context)
{
    struct _DEVICE_EXTENSION *extension = context;
    Start(extension);
    extension->Seen[0] += VARIANT;
    Leave(extension);
    extension->Seen[1] = extension->Requests;
}

#if VARIANT & 2
FN BOOLEAN IsOurs(PIRP irp)
{
    return irp->RequestorMode == 0 && irp->Flags & 0x40;
}
#endif

FN LONG PreRead(PVOID Data, PVOID Objects, PVOID *Context)
{
    UCHAR name[0x40 + 0x20 * VARIANT];
    ULONG index;
    for (index = 0; index < sizeof name; index++)
        name[index] = ((UCHAR *)Data)[index & 0x1F];
    KeEnterCriticalRegion();
    Shared.Requests += name[Shared.Depth & 0x3F];
    *Context = Objects;
    return 1;
}

FN LONG PostRead(PVOID Data, PVOID Objects, PVOID *Context)
{
    Shared.Seen[2] = (ULONG64)Data;
    KeLeaveCriticalRegion();
    *Context = 0;
    return Objects == 0;
}

FN NTSTATUS Dispatch(PDEVICE_OBJECT device, PIRP irp)
{
    struct _DEVICE_EXTENSION *extension = device->DeviceExtension;
    NTSTATUS status;
    KeEnterCriticalRegion();
    extension->Requests += 1;
    status = IofCallDriver(extension->Lower, irp);
    extension->Seen[3] = (ULONG64)irp;
    return status;
}

// At DISPATCH_LEVEL: it may not touch what can be paged out, and must not take long.
FN void TimerDpc(PVOID Dpc, PVOID Context, ULONG64 Now)
{
    struct _DEVICE_EXTENSION *extension = Context;
    volatile ULONG64 *paged = (ULONG64 *)extension->Seen[4];
    extension->Requests += 1;
    ObfDereferenceObject(Dpc);
    extension->Seen[5] = *paged;
    while (extension->Seen[5] < Now)
        extension->Seen[5] += *paged;
}

void DriverUnload(PDRIVER_OBJECT DriverObject)
{
    ExFreePoolWithTag(DriverObject->DeviceObject, 0x76697244);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PVOID RegistryPath)
{
    ULONG major;
    for (major = 0; major < 28; major++)
        DriverObject->MajorFunction[major] = (PVOID)Dispatch;
    DriverObject->DriverUnload = (PVOID)DriverUnload;
    Shared.Seen[6] = (ULONG64)PreRead ^ (ULONG64)PostRead ^ (ULONG64)TimerDpc;
    Shared.Seen[7] = (ULONG64)Worker ^ (ULONG64)RegistryPath;
#if VARIANT & 1
    Shared.Depth = HashName(RegistryPath, 8);
#endif
#if VARIANT & 2
    Shared.Depth += IsOurs(RegistryPath);
#endif
    return STATUS_SUCCESS;
}
