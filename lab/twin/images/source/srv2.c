// The file server: worker threads that take requests off a queue, and end when there is nothing to do.
#include "imports.h"

struct _SRV_WORK_QUEUE { struct _LIST_ENTRY Items; ULONG Threads; ULONG Idle; BOOLEAN Terminate; };
struct _SRV2_WORKITEM { struct _LIST_ENTRY Link; PDEVICE_OBJECT DeviceObject; PIRP Irp; ULONG Command; NTSTATUS Status; };
typedef NTSTATUS (*PSMB2_EXECUTE)(struct _SRV2_WORKITEM *WorkItem);

#define FN __attribute__((noinline))

FN NTSTATUS Smb2ExecuteRead(struct _SRV2_WORKITEM *WorkItem)
{
    PIRP irp = WorkItem->Irp;
    struct _IO_STACK_LOCATION *next = irp->Tail.Overlay.CurrentStackLocation - 1;
    UCHAR header[0x40];
    ULONG index;
    next->MajorFunction = 3;
    next->DeviceObject = WorkItem->DeviceObject;
    for (index = 0; index < sizeof header; index++)
        header[index] = (UCHAR)(index ^ WorkItem->Command);
    WorkItem->Status = IofCallDriver(WorkItem->DeviceObject, irp);
    irp->PendingReturned = header[WorkItem->Status & 0x3F];
    return WorkItem->Status;
}

FN NTSTATUS Smb2ExecuteWrite(struct _SRV2_WORKITEM *WorkItem)
{
    WorkItem->Status = IofCallDriver(WorkItem->DeviceObject, WorkItem->Irp);
    ObfDereferenceObject(WorkItem->DeviceObject);
    return WorkItem->Status;
}

FN NTSTATUS Smb2ExecuteClose(struct _SRV2_WORKITEM *WorkItem)
{
    ObfDereferenceObject(WorkItem->DeviceObject);
    return WorkItem->Status;
}

static PSMB2_EXECUTE Srv2Commands[] = {Smb2ExecuteClose, Smb2ExecuteRead, Smb2ExecuteWrite};

FN NTSTATUS SrvProcessPacket(struct _SRV2_WORKITEM *WorkItem, struct _SRV_WORK_QUEUE *Queue)
{
    NTSTATUS status = Srv2Commands[WorkItem->Command & 1](WorkItem);
    Queue->Idle = 0;
    WorkItem->Status = status;
    return status;
}

FN void SrvProcTerminateWorkerThreadInternal(struct _SRV_WORK_QUEUE *Queue, BOOLEAN Always)
{
    if (Always || Queue->Threads > 1) {
        Queue->Threads -= 1;
        ObfDereferenceObject(Queue);
        PsTerminateSystemThread(STATUS_SUCCESS);
        Queue->Threads += 1;
    }
}

FN void SrvProcWorkerThread(PVOID Context)
{
    struct _SRV_WORK_QUEUE *Queue = Context;
    PLIST_ENTRY entry;
    ULONG64 timeout = 0;
    Queue->Threads += 1;
    for (;;) {
        if (KeRemoveQueueEx(&Queue->Items, 0, 0, &timeout, &entry, 1) == 0) {
            Queue->Idle += 1;
            if (Queue->Idle > 3 || Queue->Terminate)
                SrvProcTerminateWorkerThreadInternal(Queue, Queue->Terminate);
            continue;
        }
        SrvProcessPacket((struct _SRV2_WORKITEM *)entry, Queue);
        ExFreePoolWithTag(entry, 0x7332534C);
    }
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PVOID RegistryPath)
{
    DriverObject->MajorFunction[14] = RegistryPath;
    return STATUS_SUCCESS;
}
