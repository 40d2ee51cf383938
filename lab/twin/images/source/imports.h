// What drivers import from the kernel.
#pragma once
#include "base.h"

#define NTKERNELAPI __declspec(dllimport)

NTKERNELAPI NORETURN void KeBugCheckEx(ULONG Code, ULONG64 P1, ULONG64 P2, ULONG64 P3, ULONG64 P4);
NTKERNELAPI NTSTATUS IofCallDriver(PDEVICE_OBJECT DeviceObject, PIRP Irp);
NTKERNELAPI void KeEnterCriticalRegion(void);
NTKERNELAPI void KeLeaveCriticalRegion(void);
NTKERNELAPI NTSTATUS PsTerminateSystemThread(NTSTATUS ExitStatus);
NTKERNELAPI ULONG KeRemoveQueueEx(PVOID Queue, UCHAR WaitMode, BOOLEAN Alertable, ULONG64 *Timeout,
                                  PLIST_ENTRY *Entries, ULONG Count);
NTKERNELAPI PVOID ExAllocatePoolWithTag(ULONG PoolType, SIZE_T NumberOfBytes, ULONG Tag);
NTKERNELAPI void ExFreePoolWithTag(PVOID P, ULONG Tag);
NTKERNELAPI void ObfDereferenceObject(PVOID Object);
