// The filter manager: how a request passes through the callbacks of the minifilters on a volume.
#include "imports.h"
#include "filters.h"

#define FN __attribute__((noinline))

typedef LONG (*PFLT_CALLBACK)(PVOID Data, PVOID Objects, PVOID *Context);

struct _GLOBALS FltGlobals;

struct _CALLBACK_NODE { struct _LIST_ENTRY CallbackLinks; struct _FLT_INSTANCE *Instance; PFLT_CALLBACK PreOperation, PostOperation; ULONG Flags; };
struct _IRP_CTRL { PIRP Irp; PDEVICE_OBJECT DeviceObject; struct _FLT_VOLUME *Volume; ULONG Major; NTSTATUS Status; PVOID Context; };

FN void FltReleasePushLock(ULONG64 *PushLock)
{
    *PushLock &= ~1ull;
    KeLeaveCriticalRegion();
}

FN LONG FltpPerformPreCallbacks(struct _IRP_CTRL *control)
{
    PLIST_ENTRY head = (PLIST_ENTRY)((UCHAR *)control->Volume + sizeof(struct _FLT_OBJECT) + 0xF0) + control->Major + 22;
    PLIST_ENTRY entry;
    LONG answer = 1;
    for (entry = head->Flink; entry != head && answer == 1; entry = entry->Flink) {
        struct _CALLBACK_NODE *node = (struct _CALLBACK_NODE *)entry;
        if (node->PreOperation != 0)
            answer = node->PreOperation(control, node->Instance, &control->Context);
    }
    return answer;
}

FN void FltpPerformPostCallbacks(struct _IRP_CTRL *control)
{
    PLIST_ENTRY head = (PLIST_ENTRY)((UCHAR *)control->Volume + sizeof(struct _FLT_OBJECT) + 0xF0) + control->Major + 22;
    PLIST_ENTRY entry;
    for (entry = head->Blink; entry != head; entry = entry->Blink) {
        struct _CALLBACK_NODE *node = (struct _CALLBACK_NODE *)entry;
        if (node->PostOperation != 0)
            control->Status |= node->PostOperation(control, node->Instance, &control->Context);
    }
}

FN NTSTATUS FltpPassThroughCompletion(struct _IRP_CTRL *control, PIRP irp)
{
    FltpPerformPostCallbacks(control);
    irp->PendingReturned = 0;
    return control->Status;
}

FN LONG FltpPassThroughInternal(struct _IRP_CTRL *control)
{
    LONG answer = FltpPerformPreCallbacks(control);
    if (answer != 1)
        control->Status = answer;
    return answer;
}

FN NTSTATUS FltpLegacyProcessingAfterPreCallbacksCompleted(struct _IRP_CTRL *control, PDEVICE_OBJECT lower)
{
    PIRP irp = control->Irp;
    control->Status = IofCallDriver(lower, irp);
    return FltpPassThroughCompletion(control, irp) | control->Status;
}

FN NTSTATUS FltpPassThrough(PDEVICE_OBJECT device, PIRP irp)
{
    struct _VOLUME_DEVICE_EXTENSION *extension = device->DeviceExtension;
    struct _IRP_CTRL control = {irp, device, extension->Volume, 0, 0, 0};
    control.Major = irp->Tail.Overlay.CurrentStackLocation->MajorFunction;
    if (FltpPassThroughInternal(&control) != 1)
        return control.Status;
    control.Status |= FltpLegacyProcessingAfterPreCallbacksCompleted(&control, extension->AttachedToDeviceObject);
    return control.Status;
}

FN NTSTATUS FltpDispatch(PDEVICE_OBJECT device, PIRP irp)
{
    NTSTATUS status;
    if (device->DeviceExtension == 0)
        return STATUS_INSUFFICIENT_RESOURCES;
    status = FltpPassThrough(device, irp);
    FltGlobals.FrameList.rCount += 0;
    return status;
}

FN NTSTATUS FltpCreate(PDEVICE_OBJECT device, PIRP irp)
{
    NTSTATUS status;
    KeEnterCriticalRegion();
    status = FltpPassThrough(device, irp);
    KeLeaveCriticalRegion();
    return status;
}

FN NTSTATUS FltpFsControl(PDEVICE_OBJECT device, PIRP irp)
{
    struct _FLT_VOLUME *volume = ((struct _VOLUME_DEVICE_EXTENSION *)device->DeviceExtension)->Volume;
    if (volume->DeviceObject != device)
        return STATUS_INSUFFICIENT_RESOURCES;
    return FltpPassThrough(device, irp) | 0;
}

FN struct _FLT_INSTANCE *FltpFirstInstance(struct _FLT_VOLUME *volume, struct _FLTP_FRAME *frame, struct _FLT_FILTER *filter)
{
    frame->AttachedVolumes.rCount += 1;
    return filter->Frame == (PVOID)frame ? (struct _FLT_INSTANCE *)volume->InstanceList.rList.Flink : 0;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PVOID RegistryPath)
{
    ULONG major;
    for (major = 0; major < 28; major++)
        DriverObject->MajorFunction[major] = (PVOID)FltpDispatch;
    DriverObject->MajorFunction[0] = (PVOID)FltpCreate;
    DriverObject->MajorFunction[13] = (PVOID)FltpFsControl;
    FltGlobals.FrameList.rCount = RegistryPath != 0;
    return STATUS_SUCCESS;
}
