// The twin's kernel: its functions and variables. Each function has a section of its own, whose name places it.
#pragma once
#include "base.h"
#include "layout.h"

#define AT(name) __attribute__((section(SECTION_##name), noinline))

extern struct _VF_KE_CRITICAL_REGION_TRACE *VfKeCriticalRegionTraces;
extern volatile ULONG VfKeCriticalRegionTracesIndex;
extern ULONG VfKeCriticalRegionTracesLength, VfOptionFlags, KernelVerifier, KeNumberProcessors, NtBuildNumber;
extern struct _MM_DRIVER_VERIFIER_DATA MmVerifierData;
extern struct _LIST_ENTRY PsLoadedModuleList, PsActiveProcessHead, VfSuspectDriversList;
extern struct _VF_AVL_TREE ViTargetDriversAvl;
extern ULONG64 KiBugCheckData[5], VfBugcheckTmpData[5];
extern struct _KPRCB *KiProcessorBlock[];
extern struct _EPROCESS *PsInitialSystemProcess;
extern struct _DBGKD_GET_VERSION64 KdVersionBlock;
extern struct _PHYSICAL_MEMORY_DESCRIPTOR *MmPhysicalMemoryBlock;
#ifdef HAS_IRP_TRACES
extern struct _IOV_IRP_TRACE *IovIrpTraces;
extern volatile ULONG IovIrpTracesIndex;
extern ULONG IovIrpTracesLength;
#endif

NORETURN void KeBugCheckEx(ULONG Code, ULONG64 P1, ULONG64 P2, ULONG64 P3, ULONG64 P4);
PVOID ExAllocatePoolWithTag(ULONG PoolType, SIZE_T NumberOfBytes, ULONG Tag);
void ExFreePoolWithTag(PVOID P, ULONG Tag);
void ObfDereferenceObject(PVOID Object);
USHORT RtlCaptureStackBackTrace(ULONG FramesToSkip, ULONG FramesToCapture, PVOID *BackTrace, ULONG *Hash);
void KeEnterCriticalRegion(void);
void KeLeaveCriticalRegion(void);
void PspExitThread(NTSTATUS ExitStatus);
NTSTATUS PspTerminateThreadByPointer(PETHREAD Thread, NTSTATUS ExitStatus, BOOLEAN DirectTerminate);
ULONG KeRemoveQueueEx(struct _KQUEUE *Queue, UCHAR WaitMode, BOOLEAN Alertable, ULONG64 *Timeout,
                      PLIST_ENTRY *Entries, ULONG Count);
BOOLEAN KiSwapContext(PKTHREAD OldThread, PKTHREAD NewThread);
void DbgBreakPointWithStatus(ULONG Status);
NTSTATUS IovCallDriver(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Caller);
NTSTATUS IovpCallDriverWithStackBuffer(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Caller);
