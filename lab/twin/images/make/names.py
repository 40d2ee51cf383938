"""The functions, variables and structures that the twin's kernel has, by their public names."""

from __future__ import annotations

_FUNCTIONS = """
    KeBugCheckEx PspExitThread PspTerminateThreadByPointer PsTerminateSystemThread
    PspSystemThreadStartup KxStartSystemThread VfBugCheckNoStackUsage VfAfterCallDriver
    VfBeforeCallDriver IovCallDriver IovpCallDriverWithStackBuffer IofCallDriver KeEnterCriticalRegion
    KeLeaveCriticalRegion VerifierKeEnterCriticalRegion VerifierKeLeaveCriticalRegion
    RtlCaptureStackBackTrace IovAllocateIrp IovCompleteRequest IopLoadUnloadDriver ExpWorkerThread
    KiNmiInterrupt KxNmiInterrupt KiProcessNMI HalHandleNMI HalBugCheckSystem KdpSendWaitContinue
    KdpReportExceptionStateChange KdpReport KdpTrap KiDispatchException KiExceptionDispatch
    KiBreakpointTrap DbgBreakPointWithStatus KdCheckForDebugBreak KeAccumulateTicks
    KiInterruptDispatchNoLock KeClockInterruptNotify KiIdleLoop KiRetireDpcList KiExecuteAllDpcs
    KiProcessExpiredTimerList SwapContext KiSwapContext KiCommitThreadWait KeRemoveQueueEx KiPageFault
    KiBugCheckDispatch PopIrpWatchdogBugcheck PopIrpWatchdog PopCheckIrpWatchdog
    VerifierBugCheckIfAppropriate VfPoolCheckForLeaks VfTargetDriversRemove VfDriverUnloadImage
    MiUnloadSystemImage MmUnloadSystemImage IopDeleteDriver ObpRemoveObjectRoutine ObfDereferenceObject
    IopUnloadDriver ExAllocatePoolWithTag ExFreePoolWithTag
"""
FUNCTIONS = tuple(_FUNCTIONS.split())
VARIABLES: dict[str, int] = {
    "VfKeCriticalRegionTraces": 8,
    "VfKeCriticalRegionTracesIndex": 4,
    "VfKeCriticalRegionTracesLength": 4,
    "IovIrpTraces": 8,
    "IovIrpTracesIndex": 4,
    "IovIrpTracesLength": 4,
    "MmVerifierData": 0xB0,
    "VfOptionFlags": 4,
    "VfSuspectDriversList": 0x10,
    "ViTargetDriversAvl": 0x20,
    "KdDebuggerDataBlock": 0x380,
    "KdVersionBlock": 0x28,
    "KdpDataBlockEncoded": 1,
    "KiWaitNever": 8,
    "KiWaitAlways": 8,
    "PsLoadedModuleList": 0x10,
    "PsActiveProcessHead": 0x10,
    "KiProcessorBlock": 0x80,
    "MmUnloadedDrivers": 8,
    "MmLastUnloadedDriver": 4,
    "KiBugCheckData": 0x28,
    "NtBuildLab": 0x48,
    "VfErrorBugcheckData": 0x28,
    "VfBugcheckTmpData": 0x28,
    "MmPfnDatabase": 8,
    "MmSystemRangeStart": 8,
    "MmHighestUserAddress": 8,
    "MmPhysicalMemoryBlock": 8,
    "PsInitialSystemProcess": 8,
    "PspCidTable": 8,
    "KeNumberProcessors": 4,
    "KdpDebuggerDataListHead": 0x10,
    "KernelVerifier": 4,
    "KiInitialPCR": 0x180,
    "KiBugCheckDriver": 8,
    "NtBuildNumber": 4,
}
"""Name and size in bytes of what the image holds of it."""

_STRUCTURES = """
    _LIST_ENTRY _UNICODE_STRING _CLIENT_ID _DISPATCHER_HEADER _KAPC_STATE _KAPC _KTRAP_FRAME _CONTEXT
    _KTHREAD _ETHREAD _KPROCESS _EPROCESS _KDESCRIPTOR _KSPECIAL_REGISTERS _KPROCESSOR_STATE _KPRCB
    _KPCR _IRP _IO_STACK_LOCATION _DEVICE_OBJECT _DRIVER_OBJECT _DEVOBJ_EXTENSION _FILE_OBJECT _VPB
    _LDR_DATA_TABLE_ENTRY _KLDR_DATA_TABLE_ENTRY _DBGKD_GET_VERSION64 _PHYSICAL_MEMORY_DESCRIPTOR
    _PHYSICAL_MEMORY_RUN _VF_KE_CRITICAL_REGION_TRACE _IOV_IRP_TRACE _MM_DRIVER_VERIFIER_DATA
    _VF_SUSPECT_DRIVER_ENTRY _VF_TARGET_DRIVER _VF_TARGET_VERIFIED_DRIVER_DATA _VF_AVL_TREE
    _VF_AVL_TABLE _VF_AVL_TREE_NODE _VF_AVL_TREE_NODE_EX _RTL_AVL_TABLE _RTL_BALANCED_LINKS
    _TRIAGE_9F_POWER _TRIAGE_EX_WORK_QUEUE _TRIAGE_DEVICE_NODE _DEVICE_NODE _KQUEUE _KDPC _KTIMER
    _ERESOURCE _POOL_HEADER
"""
STRUCTURES = tuple(_STRUCTURES.split())

WRITTEN = ("_VF_AVL_TREE", "_VF_AVL_TABLE", "_VF_TARGET_DRIVER", "_VF_TARGET_VERIFIED_DRIVER_DATA")
"""Structures that dumps hold and whose layouts the built-in kernel tables do not have."""
