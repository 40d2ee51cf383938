// Driver Verifier: watched calls of IoCallDriver, the critical region log, leaks at unload.
#include "kernel.h"

// The record of a watched call has no public type.
#define ROUTINE(data) (*(PDRIVER_DISPATCH *)((data) + 0x30))
#define FLAGS(data) (*(ULONG *)((data) + 0x98))
#define IRQL_BEFORE(data) (*(KIRQL *)((data) + 0x9C))
#define DEVICE(data) (*(PDEVICE_OBJECT *)((data) + 0xA0))
#define REQUEST(data) (*(PIRP *)((data) + 0xA8))
#define CALLER(data) (*(PVOID *)((data) + 0xB0))
#define STATUS(data) (*(NTSTATUS *)((data) + 0xB8))
#define COUNT_BEFORE(data) (*(ULONG *)((data) + 0xBC))
#define DATA_SIZE 0xC0
#define DATA_TAG 0x6F496656

AT(VfBugCheckNoStackUsage) NORETURN void VfBugCheckNoStackUsage(ULONG Code, ULONG64 P1, ULONG64 P2, ULONG64 P3, ULONG64 P4)
{
    VfBugcheckTmpData[0] = Code;
    VfBugcheckTmpData[1] = P1;
    VfBugcheckTmpData[2] = P2;
    VfBugcheckTmpData[3] = P3;
    VfBugcheckTmpData[4] = P4;
    KeBugCheckEx(Code, P1, P2, P3, P4);
}

AT(VfBeforeCallDriver) void VfBeforeCallDriver(UCHAR *data, PDEVICE_OBJECT device, PIRP irp, PVOID caller)
{
    struct _IO_STACK_LOCATION *next = irp->Tail.Overlay.CurrentStackLocation - 1;
    ROUTINE(data) = (PDRIVER_DISPATCH)device->DriverObject->MajorFunction[next->MajorFunction];
    FLAGS(data) = 1;
    IRQL_BEFORE(data) = (KIRQL)CurrentIrql();
    DEVICE(data) = device;
    REQUEST(data) = irp;
    CALLER(data) = caller;
    STATUS(data) = 0;
    COUNT_BEFORE(data) = ((PKTHREAD)PsGetCurrentThread())->CombinedApcDisable;
}

AT(VfAfterCallDriver) void VfAfterCallDriver(UCHAR *data, NTSTATUS *status, PDEVICE_OBJECT device)
{
    PETHREAD thread = PsGetCurrentThread();
    ULONG now;
    STATUS(data) = *status;
    ObfDereferenceObject(device);
    if (CurrentIrql() != IRQL_BEFORE(data))
        VfBugCheckNoStackUsage(0xC9, 0x12, (ULONG64)ROUTINE(data), IRQL_BEFORE(data), CurrentIrql());
    now = ((PKTHREAD)thread)->CombinedApcDisable;
    if (now != COUNT_BEFORE(data))
        VfBugCheckNoStackUsage(0xC4, 0xC5, (ULONG64)ROUTINE(data), now, COUNT_BEFORE(data));
}

AT(IovpCallDriverWithStackBuffer) NTSTATUS IovpCallDriverWithStackBuffer(PDEVICE_OBJECT device, PIRP irp, PVOID caller)
{
    UCHAR buffer[DATA_SIZE];
    NTSTATUS status;
    VfBeforeCallDriver(buffer, device, irp, caller);
    status = ROUTINE(buffer)(device, irp);
    VfAfterCallDriver(buffer, &status, device);
    return status;
}

AT(IovCallDriver) NTSTATUS IovCallDriver(PDEVICE_OBJECT device, PIRP irp, PVOID caller)
{
    UCHAR *data = ExAllocatePoolWithTag(0x200, DATA_SIZE, DATA_TAG);
    NTSTATUS status;
    if (data == 0)
        return IovpCallDriverWithStackBuffer(device, irp, caller);
    VfBeforeCallDriver(data, device, irp, caller);
    status = ROUTINE(data)(device, irp);
    VfAfterCallDriver(data, &status, device);
    ExFreePoolWithTag(data, DATA_TAG);
    return status;
}

AT(VerifierKeEnterCriticalRegion) void VerifierKeEnterCriticalRegion(void)
{
    if (VfKeCriticalRegionTraces != 0) {
        ULONG slot = __atomic_add_fetch(&VfKeCriticalRegionTracesIndex, 1, __ATOMIC_SEQ_CST) &
                     (VfKeCriticalRegionTracesLength - 1);
        struct _VF_KE_CRITICAL_REGION_TRACE *trace = &VfKeCriticalRegionTraces[slot];
        *(PETHREAD *)trace = PsGetCurrentThread();
        RtlCaptureStackBackTrace(0, 7, (PVOID *)trace + 1, 0);
    }
    KeEnterCriticalRegion();
}

AT(VerifierKeLeaveCriticalRegion) void VerifierKeLeaveCriticalRegion(void)
{
    PETHREAD thread = PsGetCurrentThread();
    if (VfKeCriticalRegionTraces != 0) {
        ULONG slot = __atomic_add_fetch(&VfKeCriticalRegionTracesIndex, 1, __ATOMIC_SEQ_CST) &
                     (VfKeCriticalRegionTracesLength - 1);
        struct _VF_KE_CRITICAL_REGION_TRACE *trace = &VfKeCriticalRegionTraces[slot];
        *(PETHREAD *)trace = thread;
        RtlCaptureStackBackTrace(0, 7, (PVOID *)trace + 1, 0);
    }
    if (((PKTHREAD)thread)->CombinedApcDisable == 0)
        KeBugCheckEx(0xC4, 0x3E, 0, 0, 0);
    KeLeaveCriticalRegion();
}

#ifdef HAS_IRP_TRACES
#define TRACE(irp)                                                                                           \
    if (IovIrpTraces != 0) {                                                                                 \
        PKTHREAD current = (PKTHREAD)PsGetCurrentThread();                                                   \
        ULONG slot = __atomic_add_fetch(&IovIrpTracesIndex, 1, __ATOMIC_SEQ_CST) & (IovIrpTracesLength - 1); \
        struct _IOV_IRP_TRACE *trace = &IovIrpTraces[slot];                                                  \
        trace->Irp = (irp);                                                                                  \
        trace->Thread = current;                                                                             \
        trace->CombinedApcDisable = current->CombinedApcDisable;                                             \
        trace->Irql = (KIRQL)CurrentIrql();                                                                  \
        RtlCaptureStackBackTrace(0, 13, (PVOID *)trace->StackTrace, 0);                                      \
    }
#else
#define TRACE(irp)
#endif

AT(IovAllocateIrp) PIRP IovAllocateIrp(UCHAR StackSize, BOOLEAN ChargeQuota)
{
    PIRP irp = ExAllocatePoolWithTag(0x200, 0xD0 + 0x48 * (SIZE_T)StackSize, 0x20707249);
    if (irp == 0)
        return 0;
    irp->Type = 6;
    irp->StackCount = StackSize;
    irp->AllocationFlags = ChargeQuota;
    TRACE(irp)
    return irp;
}

AT(IovCompleteRequest) void IovCompleteRequest(PIRP irp, UCHAR PriorityBoost)
{
    TRACE(irp)
    irp->CurrentLocation += 1;
    irp->Tail.Overlay.CurrentStackLocation += 1;
    irp->Flags |= PriorityBoost;
    ObfDereferenceObject(irp);
}

AT(VerifierBugCheckIfAppropriate) void VerifierBugCheckIfAppropriate(ULONG Code, ULONG64 P1, ULONG64 P2, ULONG64 P3, ULONG64 P4)
{
    if (VfOptionFlags & 0x80000000)
        return;
    KeBugCheckEx(Code, P1, P2, P3, P4);
}

AT(VfPoolCheckForLeaks) void VfPoolCheckForLeaks(struct _VF_TARGET_VERIFIED_DRIVER_DATA *data, struct _UNICODE_STRING *name)
{
    ULONG64 left = (ULONG64)data->CurrentPagedPoolAllocations + data->CurrentNonPagedPoolAllocations;
    if (left != 0)
        VerifierBugCheckIfAppropriate(0xC4, 0x62, (ULONG64)name->Buffer, (ULONG64)data, left);
    data->CurrentPagedPoolAllocations = 0;
}

AT(VfTargetDriversRemove) BOOLEAN VfTargetDriversRemove(struct _KLDR_DATA_TABLE_ENTRY *entry)
{
    struct _VF_TARGET_DRIVER *node = ExAllocatePoolWithTag(0x200, sizeof *node, 0x64546656);
    if (node == 0)
        return 0;
    VfPoolCheckForLeaks(node->VerifiedData, (struct _UNICODE_STRING *)((UCHAR *)entry + 0x58));
    ExFreePoolWithTag(node, 0x64546656);
    return 1;
}

AT(VfDriverUnloadImage) void VfDriverUnloadImage(struct _KLDR_DATA_TABLE_ENTRY *entry)
{
    struct _MM_DRIVER_VERIFIER_DATA *verifier = &MmVerifierData;
    struct _VF_AVL_TREE *targets = &ViTargetDriversAvl;
    if (verifier->Level != 0 && targets->TablesNo != 0 && VfTargetDriversRemove(entry))
        VfOptionFlags |= 0x40000000;
}
