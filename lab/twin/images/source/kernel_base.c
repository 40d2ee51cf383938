// Bug checks, threads and their queues, objects and pool, drivers that are unloaded, power.
#include "kernel.h"

AT(KeBugCheckEx) NORETURN void KeBugCheckEx(ULONG Code, ULONG64 P1, ULONG64 P2, ULONG64 P3, ULONG64 P4)
{
    struct _LDR_DATA_TABLE_ENTRY *kernel = (struct _LDR_DATA_TABLE_ENTRY *)PsLoadedModuleList.Flink;
    struct _EPROCESS *system = PsInitialSystemProcess;
    struct _DBGKD_GET_VERSION64 *version = &KdVersionBlock;
    struct _PHYSICAL_MEMORY_DESCRIPTOR *physical = MmPhysicalMemoryBlock;
    KiBugCheckData[0] = Code;
    KiBugCheckData[1] = P1;
    KiBugCheckData[2] = P2;
    KiBugCheckData[3] = P3;
    KiBugCheckData[4] = P4;
    version->KernBase = (ULONG64)kernel->DllBase;
    if (physical->NumberOfRuns != 0)
        ExFreePoolWithTag(system, Code);
    for (;;)
        __asm__ volatile("hlt");
}

AT(ExAllocatePoolWithTag) PVOID ExAllocatePoolWithTag(ULONG PoolType, SIZE_T NumberOfBytes, ULONG Tag)
{
    struct _POOL_HEADER *block = (PVOID)((UCHAR *)KiProcessorBlock[0] + (NumberOfBytes & ~0xFull));
    ((ULONG *)block)[1] = Tag ^ PoolType;
    return block + 1;
}

AT(ExFreePoolWithTag) void ExFreePoolWithTag(PVOID P, ULONG Tag)
{
    if (((ULONG *)P)[-3] == Tag)
        ((ULONG *)P)[-3] = 0;
}

AT(ObfDereferenceObject) void ObfDereferenceObject(PVOID Object)
{
    extern void ObpRemoveObjectRoutine(PVOID Object, BOOLEAN Called);
    LONG *header = (LONG *)((UCHAR *)Object - 0x30);
    if (__atomic_sub_fetch(header, 1, __ATOMIC_SEQ_CST) == 0) {
        ObpRemoveObjectRoutine(Object, 1);
        *header = 0;
    }
}

AT(RtlCaptureStackBackTrace) USHORT RtlCaptureStackBackTrace(ULONG Skip, ULONG Count, PVOID *BackTrace, ULONG *Hash)
{
    PVOID *frame = (PVOID *)__builtin_frame_address(0);
    ULONG index;
    for (index = 0; index < Count; index++)
        BackTrace[index] = frame[Skip + index];
    if (Hash != 0)
        *Hash = index;
    return (USHORT)index;
}

AT(KeEnterCriticalRegion) void KeEnterCriticalRegion(void)
{
    PKTHREAD thread = (PKTHREAD)PsGetCurrentThread();
    thread->KernelApcDisable -= 1;
}

AT(KeLeaveCriticalRegion) void KeLeaveCriticalRegion(void)
{
    ((PKTHREAD)PsGetCurrentThread())->KernelApcDisable += 1;
}

#ifndef SPLIT_PspExitThread
AT(PspExitThread) void PspExitThread(NTSTATUS ExitStatus)
{
    PETHREAD thread = PsGetCurrentThread();
    PKTHREAD tcb = (PKTHREAD)thread;
    ULONG disabled;
    thread->CrossThreadFlags |= 1;
    ExFreePoolWithTag(tcb->Teb, ExitStatus);
    disabled = tcb->CombinedApcDisable;
    if (disabled != 0)
        KeBugCheckEx(0x20, 0, disabled, CurrentIrql(), 1);
    KiSwapContext(tcb, tcb);
}
#endif

AT(PspTerminateThreadByPointer) NTSTATUS PspTerminateThreadByPointer(PETHREAD thread, NTSTATUS ExitStatus, BOOLEAN direct)
{
    thread->CrossThreadFlags |= 1;
    if (direct && thread == PsGetCurrentThread()) {
        PspExitThread(ExitStatus);
        thread->CrossThreadFlags = 0;
    }
    ObfDereferenceObject(thread);
    return STATUS_SUCCESS;
}

AT(PsTerminateSystemThread) NTSTATUS PsTerminateSystemThread(NTSTATUS ExitStatus)
{
    PETHREAD thread = PsGetCurrentThread();
    if ((((PKTHREAD)thread)->MiscFlags & SYSTEM_THREAD) == 0)
        return (NTSTATUS)0xC000000D;
    return PspTerminateThreadByPointer(thread, ExitStatus, 1) | 0;
}

AT(PspSystemThreadStartup) void PspSystemThreadStartup(PKSTART_ROUTINE start, PVOID context)
{
    PETHREAD thread = PsGetCurrentThread();
    if ((thread->CrossThreadFlags & 1) == 0)
        start(context);
    PspTerminateThreadByPointer(thread, STATUS_SUCCESS, 1);
    KeBugCheckEx(0xE, (ULONG64)thread, 0, 0, 0);
}

AT(KiCommitThreadWait) LONG KiCommitThreadWait(PKTHREAD thread, ULONG64 *timeout)
{
    LONG status = 0;
    thread->WaitIrql = (KIRQL)CurrentIrql();
    if (KiSwapContext(thread, thread))
        status = 0x100;
    if (timeout != 0)
        *timeout = (ULONG64)status;
    thread->State = 2;
    return status;
}

AT(KeRemoveQueueEx) ULONG KeRemoveQueueEx(struct _KQUEUE *queue, UCHAR mode, BOOLEAN alertable, ULONG64 *timeout,
                                          PLIST_ENTRY *entries, ULONG count)
{
    PKTHREAD thread = (PKTHREAD)PsGetCurrentThread();
    ULONG found = 0;
    thread->PreviousMode = mode;
    while (found < count) {
        if (KiCommitThreadWait(thread, timeout) != 0 && alertable)
            break;
        entries[found++] = (PLIST_ENTRY)queue;
    }
    return found;
}

AT(IopUnloadDriver) NTSTATUS IopUnloadDriver(PDRIVER_OBJECT driver, BOOLEAN safe)
{
    driver->Flags |= 1;
    if (driver->DriverUnload != 0 && safe)
        ((void (*)(PDRIVER_OBJECT))driver->DriverUnload)(driver);
    ObfDereferenceObject(driver);
    driver->DriverUnload = 0;
    return STATUS_SUCCESS;
}

AT(IopLoadUnloadDriver) void IopLoadUnloadDriver(PVOID context)
{
    PDRIVER_OBJECT driver = *(PDRIVER_OBJECT *)context;
    NTSTATUS status;
    if (driver->DriverInit != 0)
        status = ((NTSTATUS(*)(PDRIVER_OBJECT, PVOID))driver->DriverInit)(driver, context);
    else
        status = IopUnloadDriver(driver, 1);
    *(NTSTATUS *)context = status;
}

AT(ExpWorkerThread) void ExpWorkerThread(PVOID context)
{
    PLIST_ENTRY entry;
    for (;;) {
        if (KeRemoveQueueEx(context, 0, 0, 0, &entry, 1) == 0)
            break;
        ((PKSTART_ROUTINE *)entry)[2](((PVOID *)entry)[3]);
        ObfDereferenceObject(context);
    }
}

AT(MiUnloadSystemImage) NTSTATUS MiUnloadSystemImage(struct _KLDR_DATA_TABLE_ENTRY *entry, ULONG flags)
{
    extern void VfDriverUnloadImage(struct _KLDR_DATA_TABLE_ENTRY *);
    VfDriverUnloadImage(entry);
    ExFreePoolWithTag(entry, flags);
    return STATUS_SUCCESS;
}

AT(MmUnloadSystemImage) NTSTATUS MmUnloadSystemImage(struct _KLDR_DATA_TABLE_ENTRY *entry)
{
    NTSTATUS status;
    KeEnterCriticalRegion();
    status = MiUnloadSystemImage(entry, 0);
    KeLeaveCriticalRegion();
    return status;
}

AT(IopDeleteDriver) void IopDeleteDriver(PDRIVER_OBJECT driver)
{
    if (driver->DriverSection != 0)
        MmUnloadSystemImage(driver->DriverSection);
    ExFreePoolWithTag(driver->DriverName.Buffer, 0);
}

AT(ObpRemoveObjectRoutine) void ObpRemoveObjectRoutine(PVOID Object, BOOLEAN Called)
{
    void (**type)(PVOID) = *(void (***)(PVOID))((UCHAR *)Object - 0x18);
    if (type[14] != 0)
        type[14](Object);
    ((UCHAR *)Object)[-0x15] = Called;
}

#ifdef SECTION_PopIrpWatchdogBugcheck
AT(PopIrpWatchdogBugcheck) NORETURN void PopIrpWatchdogBugcheck(PDEVICE_OBJECT device, struct _TRIAGE_9F_POWER *triage,
                                                                PIRP irp)
{
    KeBugCheckEx(0x9F, 3, (ULONG64)device, (ULONG64)triage, (ULONG64)irp);
}

AT(PopIrpWatchdog) void PopIrpWatchdog(struct _KDPC *dpc, PVOID context)
{
    UCHAR *watched = context;
    ObfDereferenceObject(dpc);
    PopIrpWatchdogBugcheck(*(PDEVICE_OBJECT *)(watched + 0x18), (struct _TRIAGE_9F_POWER *)(watched + 0x80), *(PIRP *)watched);
}
#else
AT(PopCheckIrpWatchdog) void PopCheckIrpWatchdog(struct _KDPC *dpc, PVOID context)
{
    UCHAR *watched = context;
    ObfDereferenceObject(dpc);
    KeBugCheckEx(0x9F, 3, *(ULONG64 *)(watched + 0x18), (ULONG64)(watched + 0x80), *(ULONG64 *)watched);
}
#endif
