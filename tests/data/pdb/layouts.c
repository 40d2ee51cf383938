/* Structures as kernels have them: unions without a name, bit fields, arrays, references to later types. */
typedef struct _LIST_ENTRY { struct _LIST_ENTRY *Flink, *Blink; } LIST_ENTRY;
typedef struct _UNICODE_STRING { unsigned short Length, MaximumLength; unsigned short *Buffer; } UNICODE_STRING;

struct _NEVER_DEFINED;

typedef struct _THREAD {
    LIST_ENTRY Links;
    union {
        struct { short KernelApcDisable; short SpecialApcDisable; };
        unsigned CombinedApcDisable;
    };
    union {
        unsigned long long Flags;
        struct { unsigned long long Alertable : 1; unsigned long long Level : 5; unsigned long long Rest : 58; };
    };
    unsigned char Tiny : 3;
    struct _NEVER_DEFINED *Elsewhere;
    volatile long Counter;
    const volatile UNICODE_STRING Name;
} THREAD;

typedef struct _IRP {
    short Type;
    unsigned short Size;
    char StackCount, CurrentLocation;
    union {
        struct {
            union {
                LIST_ENTRY DeviceQueueEntry;
                struct { void *DriverContext[4]; };
            };
            THREAD *Thread;
            struct {
                LIST_ENTRY ListEntry;
                union { struct _STACK_LOCATION *CurrentStackLocation; unsigned PacketType; };
            };
        } Overlay;
        struct { int Apc[22]; } Other;
        void *CompletionKey;
    } Tail;
    THREAD Threads[3];
    UNICODE_STRING Names[2][3];
    int (*Routine)(struct _IRP *, int);
    enum { First, Second = 70000, Negative = -5 } State;
} IRP;

struct _STACK_LOCATION { unsigned char MajorFunction, MinorFunction; IRP *Irp; };

#pragma pack(push, 1)
struct _PACKED { char One; unsigned long long Eight; short Two; };
#pragma pack(pop)

struct _HUGE { char Before[0x12345]; int After; char More[0x7fffffff]; char Last; };
struct _FLEXIBLE { int Count; int Item[]; };
union _EITHER { int A; double B; struct _PACKED C; };

IRP GlobalIrp;
static THREAD HiddenThread = {.Counter = 1};
struct _STACK_LOCATION Location;
struct _PACKED Packed;
union _EITHER Either;
struct _HUGE *Huge;
struct _FLEXIBLE *Flexible;
const char Text[] = "a string";

static __declspec(noinline) int Hidden(int argument) { return argument * (int)HiddenThread.Counter; }
__declspec(noinline) int Visible(int argument) { HiddenThread.Counter++; return Hidden(argument) + 1; }
int Start(void) { return Visible(3) + GlobalIrp.Type + Location.MajorFunction + Packed.One + Either.A + !Huge + !Flexible + Text[0]; }
