// What interrupts and exceptions run, the debugger, the idle loop and its deferred procedure calls.
#include "kernel.h"

AT(KiProcessExpiredTimerList) void KiProcessExpiredTimerList(struct _KPRCB *prcb, PLIST_ENTRY list, ULONG64 now)
{
    PLIST_ENTRY entry;
    for (entry = list->Flink; entry != list; entry = entry->Flink) {
        struct _KTIMER *timer = (struct _KTIMER *)((UCHAR *)entry - 0x20);
        PVOID *dpc = ((PVOID **)entry)[2];
        ((void (*)(PVOID, PVOID, ULONG64))dpc[3])(dpc, dpc[4], now);
        prcb->MHz += 1 + ((UCHAR *)timer)[3];
    }
}

AT(KiExecuteAllDpcs) ULONG KiExecuteAllDpcs(struct _KPRCB *prcb, PLIST_ENTRY list, ULONG64 now)
{
    ULONG count = 0;
    do {
        KiProcessExpiredTimerList(prcb, list, now);
        count++;
    } while (list->Flink != list);
    return count;
}

AT(KiRetireDpcList) void KiRetireDpcList(struct _KPRCB *prcb)
{
    struct _LIST_ENTRY expired = {&expired, &expired};
    while (KiExecuteAllDpcs(prcb, &expired, (ULONG64)prcb->CurrentThread) > 1)
        prcb->Number += 0;
}

AT(KiIdleLoop) void KiIdleLoop(struct _KPRCB *prcb)
{
    for (;;) {
        __asm__ volatile("sti\n\tnop\n\tcli" ::: "memory");
        KiRetireDpcList(prcb);
        if (prcb->NextThread != 0)
            KiSwapContext((PKTHREAD)prcb->IdleThread, (PKTHREAD)prcb->NextThread);
    }
}

#ifdef SECTION_HalHandleNMI
AT(HalBugCheckSystem) NORETURN void HalBugCheckSystem(PVOID source, PVOID record)
{
    ExFreePoolWithTag(record, 0);
    KeBugCheckEx(0x80, 0x4F4454, (ULONG64)source, 0, 0);
}

AT(HalHandleNMI) void HalHandleNMI(PVOID info)
{
    static const ULONG64 Port = 0x61;
    if (*(volatile ULONG *)&Port & 0x40)
        HalBugCheckSystem(0, info);
    HalBugCheckSystem(info, (PVOID)Port);
}
#else
__declspec(dllimport) void HalHandleNMI(PVOID info);
#endif

AT(KiProcessNMI) BOOLEAN KiProcessNMI(struct _KTRAP_FRAME *trap, PVOID exception)
{
    struct _KPCR *pcr = (struct _KPCR *)((UCHAR *)KiProcessorBlock[0] - 0x180);
    trap->PreviousMode = pcr->Irql;
    HalHandleNMI(exception);
    trap->ExceptionActive = 0;
    return 1;
}

AT(KdCheckForDebugBreak) void KdCheckForDebugBreak(BOOLEAN poll)
{
    if (poll)
        DbgBreakPointWithStatus(1);
    KernelVerifier &= ~1u;
}

AT(KeAccumulateTicks) void KeAccumulateTicks(struct _KPRCB *prcb, ULONG ticks, ULONG limit, BOOLEAN poll)
{
    prcb->MHz += ticks;
    KdCheckForDebugBreak(poll);
    if (ticks > limit)
        KeBugCheckEx(0x133, 0, ticks, limit, 0);
    prcb->Number += 0;
}

#ifdef SECTION_KeClockInterruptNotify
AT(KeClockInterruptNotify) void KeClockInterruptNotify(struct _KTRAP_FRAME *trap, ULONG ticks, BOOLEAN poll)
{
    KeAccumulateTicks(KiProcessorBlock[0], ticks, 0x500, poll);
    trap->ExceptionActive = 0;
}
#endif

AT(KdpSendWaitContinue) ULONG KdpSendWaitContinue(ULONG packet, PVOID message, PVOID data, struct _CONTEXT *context)
{
    UCHAR state[0xA8];
    ULONG index;
    for (index = 0; index < sizeof state; index++)
        state[index] = ((UCHAR *)message)[index];
    ObfDereferenceObject(data);
    if (state[packet] == 0x49)
        KeBugCheckEx(0xE2, 0, 0, 0, 0);
    context->Rip += state[0];
    return 0;
}

AT(KdpReportExceptionStateChange) BOOLEAN KdpReportExceptionStateChange(PVOID record, struct _CONTEXT *context, BOOLEAN second)
{
    UCHAR change[0xF0];
    change[0] = second;
    *(ULONG64 *)(change + 0x18) = context->Rip;
    KdpSendWaitContinue(7, change, record, context);
    return change[0] == 0;
}

AT(KdpReport) BOOLEAN KdpReport(struct _KTRAP_FRAME *trap, PVOID record, struct _CONTEXT *context, BOOLEAN second)
{
    BOOLEAN handled = KdpReportExceptionStateChange(record, context, second);
    trap->ExceptionActive = handled;
    return handled;
}

AT(KdpTrap) BOOLEAN KdpTrap(struct _KTRAP_FRAME *trap, PVOID record, struct _CONTEXT *context, BOOLEAN second)
{
    BOOLEAN handled = KdpReport(trap, record, context, second);
    context->EFlags &= ~0x100u;
    return handled;
}

AT(KiDispatchException) void KiDispatchException(PVOID record, PVOID frame, struct _KTRAP_FRAME *trap, UCHAR mode)
{
    struct _CONTEXT context;
    context.Rip = trap->Rip;
    context.EFlags = trap->EFlags;
    if (KdpTrap(trap, record, &context, mode))
        trap->Rip = context.Rip;
    ObfDereferenceObject(frame);
}
