// The hardware abstraction layer: what it does on a non-maskable interrupt.
#include "imports.h"

__attribute__((noinline)) NORETURN void HalBugCheckSystem(PVOID source, PVOID record)
{
    ExFreePoolWithTag(record, 0);
    KeBugCheckEx(0x80, 0x4F4454, (ULONG64)source, 0, 0);
}

static volatile ULONG HalpNmiPort;

__declspec(dllexport) __attribute__((noinline)) void HalHandleNMI(PVOID info)
{
    if (HalpNmiPort & 0x40)
        HalBugCheckSystem(0, info);
    HalBugCheckSystem(info, (PVOID)&HalpNmiPort);
}

NTSTATUS HalInitSystem(ULONG phase)
{
    HalpNmiPort = phase;
    return STATUS_SUCCESS;
}
