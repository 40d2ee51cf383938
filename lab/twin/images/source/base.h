// What every image of the twin uses of the kernel.
#pragma once
#include "structures.h"

struct _KLDR_DATA_TABLE_ENTRY;
struct _TRIAGE_9F_POWER;

typedef unsigned char UCHAR, KIRQL, BOOLEAN;
typedef short SHORT;
typedef unsigned short USHORT;
typedef unsigned int ULONG;
typedef int LONG, NTSTATUS;
typedef unsigned long long ULONG64, SIZE_T;
typedef void *PVOID;
typedef struct _LIST_ENTRY *PLIST_ENTRY;
typedef struct _KTHREAD *PKTHREAD;
typedef struct _ETHREAD *PETHREAD;
typedef struct _DEVICE_OBJECT *PDEVICE_OBJECT;
typedef struct _DRIVER_OBJECT *PDRIVER_OBJECT;
typedef struct _IRP *PIRP;
typedef NTSTATUS (*PDRIVER_DISPATCH)(PDEVICE_OBJECT DeviceObject, PIRP Irp);
typedef void (*PKSTART_ROUTINE)(PVOID StartContext);

#define NORETURN __attribute__((noreturn))
#define STATUS_SUCCESS 0
#define STATUS_INSUFFICIENT_RESOURCES ((NTSTATUS)0xC000009A)
#define DISPATCH_LEVEL 2

static inline __attribute__((always_inline)) PETHREAD PsGetCurrentThread(void)
{
    PETHREAD Thread;
    __asm__ volatile("movq %%gs:0x188, %0" : "=r"(Thread));
    return Thread;
}

static inline __attribute__((always_inline)) ULONG64 CurrentIrql(void)
{
    ULONG64 Irql;
    __asm__ volatile("movq %%cr8, %0" : "=r"(Irql));
    return Irql;
}
