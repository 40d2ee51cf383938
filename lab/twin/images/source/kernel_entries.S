# Entries that no compiler writes: traps and interrupts, the change of threads, the start of a thread.
#include "layout.h"

# Where a system thread begins: the routine is in rax, as the thread's first switch frame left it.
        .section SECTION_KxStartSystemThread,"xr"
        .globl  KxStartSystemThread, KiStartSystemThread
KiStartSystemThread:
KxStartSystemThread:
        .seh_proc KxStartSystemThread
        subq    $0x28, %rsp
        .seh_stackalloc 0x28
        .seh_endprologue
        movq    %gs:0x188, %r8
        leaq    PspSystemThreadStartup(%rip), %rax
        callq   *%rax
        int3
        .seh_endproc

        .section SECTION_SwapContext,"xr"
        .globl  SwapContext
SwapContext:
        .seh_proc SwapContext
        pushq   %rbp
        .seh_pushreg %rbp
        subq    $0x20, %rsp
        .seh_stackalloc 0x20
        .seh_endprologue
        movq    %rsp, KERNEL_STACK(%rdi)
        movq    KERNEL_STACK(%rsi), %rsp
        movb    $1, %al
        addq    $0x20, %rsp
        popq    %rbp
        retq
        .seh_endproc

        .section SECTION_KiSwapContext,"xr"
        .globl  KiSwapContext
KiSwapContext:
        .seh_proc KiSwapContext
        subq    $0x138, %rsp
        .seh_stackalloc 0x138
        leaq    0x100(%rsp), %rax
        movq    %rbx, 0x100(%rsp)
        .seh_savereg %rbx, 0x100
        movq    %rdi, 0x108(%rsp)
        .seh_savereg %rdi, 0x108
        movq    %rsi, 0x110(%rsp)
        .seh_savereg %rsi, 0x110
        .seh_endprologue
        movq    %rcx, %rdi
        movq    %rdx, %rsi
        callq   SwapContext
        movq    0x110(%rsp), %rsi
        movq    0x108(%rsp), %rdi
        movq    0x100(%rsp), %rbx
        addq    $0x138, %rsp
        retq
        .seh_endproc

        .section SECTION_IofCallDriver,"xr"
        .globl  IofCallDriver
IofCallDriver:                          # with I/O verification on, it goes to IovCallDriver
        movq    (%rsp), %r8
        jmp     IovCallDriver

        .section SECTION_DbgBreakPointWithStatus,"xr"
        .globl  DbgBreakPointWithStatus
DbgBreakPointWithStatus:
        int3
        retq

# An interrupt without error code, completed to a KTRAP_FRAME.
        .macro TRAP_FRAME name
        .seh_proc \name
        .seh_pushframe
        subq    $8, %rsp
        .seh_stackalloc 8
        pushq   %rbp
        .seh_pushreg %rbp
        subq    $0x158, %rsp
        .seh_stackalloc 0x158
        leaq    0x80(%rsp), %rbp
        .seh_setframe %rbp, 0x80
        .seh_endprologue
        movq    %rax, -0x50(%rbp)
        movq    %rcx, -0x48(%rbp)
        movq    %rdx, -0x40(%rbp)
        movq    %r8, -0x38(%rbp)
        .endm

        .macro TRAP_RETURN
        leaq    0xD8(%rbp), %rsp
        movq    (%rsp), %rbp
        addq    $0x10, %rsp
        iretq
        .seh_endproc
        .endm

        .section SECTION_KiNmiInterrupt,"xr"
        .globl  KiNmiInterrupt
KiNmiInterrupt:
        TRAP_FRAME KiNmiInterrupt
        movq    %rsp, %rcx
        callq   KxNmiInterrupt
        TRAP_RETURN

        .section SECTION_KxNmiInterrupt,"xr"
        .globl  KxNmiInterrupt
KxNmiInterrupt:
        .seh_proc KxNmiInterrupt
        subq    $0x138, %rsp
        .seh_stackalloc 0x138
        .seh_endprologue
        movq    %rsp, %rdx
        callq   KiProcessNMI
        addq    $0x138, %rsp
        retq
        .seh_endproc

        .section SECTION_KiBreakpointTrap,"xr"
        .globl  KiBreakpointTrap
KiBreakpointTrap:
        TRAP_FRAME KiBreakpointTrap
        movl    $0x80000003, %ecx
        callq   KiExceptionDispatch
        TRAP_RETURN

        .section SECTION_KiInterruptDispatchNoLock,"xr"
        .globl  KiInterruptDispatchNoLock
KiInterruptDispatchNoLock:
        TRAP_FRAME KiInterruptDispatchNoLock
        movq    %rsp, %rcx
#ifdef SECTION_KeClockInterruptNotify
        callq   KeClockInterruptNotify
#else
        callq   KeAccumulateTicks
#endif
        TRAP_RETURN

# A page fault has an error code, which the processor pushed.
        .section SECTION_KiPageFault,"xr"
        .globl  KiPageFault
KiPageFault:
        .seh_proc KiPageFault
        .seh_pushframe @code
        pushq   %rbp
        .seh_pushreg %rbp
        subq    $0x158, %rsp
        .seh_stackalloc 0x158
        leaq    0x80(%rsp), %rbp
        .seh_setframe %rbp, 0x80
        .seh_endprologue
        movq    %rax, -0x50(%rbp)
        movq    %rcx, -0x48(%rbp)
        movq    %rdx, -0x40(%rbp)
        movq    %cr2, %rdx
        movq    %rdx, 0x50(%rbp)
        movl    $0xA, %ecx              # KeBugCheckEx makes it 0xD1 when the code is a driver's
        callq   KiBugCheckDispatch
        TRAP_RETURN

        .macro EXCEPTION_FRAME name size
        .seh_proc \name
        subq    $\size, %rsp
        .seh_stackalloc \size
        movq    %rbx, 0x100(%rsp)
        .seh_savereg %rbx, 0x100
        movq    %rdi, 0x108(%rsp)
        .seh_savereg %rdi, 0x108
        movq    %rsi, 0x110(%rsp)
        .seh_savereg %rsi, 0x110
        movq    %r12, 0x118(%rsp)
        .seh_savereg %r12, 0x118
        movq    %r13, 0x120(%rsp)
        .seh_savereg %r13, 0x120
        .seh_endprologue
        .endm

        .section SECTION_KiBugCheckDispatch,"xr"
        .globl  KiBugCheckDispatch
KiBugCheckDispatch:
        EXCEPTION_FRAME KiBugCheckDispatch 0x138
        movq    %r10, 0x20(%rsp)
        callq   KeBugCheckEx
        int3
        .seh_endproc

        .section SECTION_KiExceptionDispatch,"xr"
        .globl  KiExceptionDispatch
KiExceptionDispatch:
        EXCEPTION_FRAME KiExceptionDispatch 0x1D8
        leaq    0x140(%rsp), %rcx
        movq    %rsp, %rdx
        movb    $0, %r9b
        callq   KiDispatchException
        addq    $0x1D8, %rsp
        retq
        .seh_endproc

#ifdef SPLIT_PspExitThread
# The optimizer that Microsoft used on 7601 moves what is rarely run far away from its function; such a block
# has unwind information that is chained to the function's.
        .section SECTION_PspExitThread,"xr"
        .globl  PspExitThread
PspExitThread:
.Lhot:
        pushq   %rbx
        pushq   %rbp
        pushq   %rsi
        pushq   %rdi
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        subq    $0xB8, %rsp
.Lbody:
        movq    %gs:0x188, %rbx
        movl    %ecx, %edi
        orl     $1, CROSS_THREAD_FLAGS(%rbx)
        movl    APC_DISABLE(%rbx), %r13d
        testl   %r13d, %r13d
        jne     .Lcold
        movq    %rbx, %rcx
        movq    %rbx, %rdx
        callq   KiSwapContext
        addq    $0xB8, %rsp
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %rdi
        popq    %rsi
        popq    %rbp
        popq    %rbx
        retq
.Lhot_end:

        .section SPLIT_PspExitThread,"xr"
.Lcold:
        movq    %cr8, %r9
        movl    %r13d, %r8d
        xorl    %edx, %edx
        movq    $1, 0x20(%rsp)
        leal    0x20(%rdx), %ecx
        callq   KeBugCheckEx
        int3
.Lcold_end:

        .section .xdata,"dr"
        .p2align 2
.Lhot_info:
        .byte 1, .Lbody-.Lhot, 10, 0
        .byte .Lbody-.Lhot, 0x01
        .short 0xB8/8
        .byte 12, 0xF0, 10, 0xE0, 8, 0xD0, 6, 0xC0, 4, 0x70, 3, 0x60, 2, 0x50, 1, 0x30
.Lcold_info:
        .byte 0x21, 0, 0, 0
        .long .Lhot@IMGREL, .Lhot_end@IMGREL, .Lhot_info@IMGREL

        .section .pdata,"dr"
        .long .Lhot@IMGREL, .Lhot_end@IMGREL, .Lhot_info@IMGREL
        .long .Lcold@IMGREL, .Lcold_end@IMGREL, .Lcold_info@IMGREL
#endif
