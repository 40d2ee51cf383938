# What every image needs: the bottom of the stack, stack probes, interrupts, other stacks.
    .intel_syntax noprefix
    .text

# The first function of a thread: its own return address is 0.
    .globl start
    .seh_proc start
start:
    sub rsp, 0x28
    .seh_stackalloc 0x28
    .seh_endprologue
    call run
    .globl finished
finished:
    int3
    .seh_endproc

# Does not return: the runner ends the run at `finished`.
    .globl leave
    .seh_proc leave
leave:
    sub rsp, 0x28
    .seh_stackalloc 0x28
    .seh_endprologue
    jmp finished
    .seh_endproc

# Touches each page of a frame of rax bytes; keeps every register but flags.
    .globl __chkstk
    .seh_proc __chkstk
__chkstk:
    sub rsp, 0x10
    .seh_stackalloc 0x10
    .seh_endprologue
    mov [rsp], r10
    mov [rsp + 8], r11
    lea r10, [rsp + 0x18]
    mov r11, r10
    sub r11, rax
1:  cmp r10, r11
    jbe 2f
    sub r10, 0x1000
    test byte ptr [r10], 0
    jmp 1b
2:  mov r10, [rsp]
    mov r11, [rsp + 8]
    add rsp, 0x10
    ret
    .seh_endproc

    .globl memcpy
    .seh_proc memcpy
memcpy:
    push rdi
    .seh_pushreg rdi
    push rsi
    .seh_pushreg rsi
    .seh_endprologue
    mov rax, rcx
    mov rdi, rcx
    mov rsi, rdx
    mov rcx, r8
    rep movsb
    pop rsi
    pop rdi
    ret
    .seh_endproc

    .globl memset
    .seh_proc memset
memset:
    push rdi
    .seh_pushreg rdi
    .seh_endprologue
    mov r9, rcx
    mov rdi, rcx
    mov eax, edx
    mov rcx, r8
    rep stosb
    mov rax, r9
    pop rdi
    ret
    .seh_endproc

# --- interrupts: a trap frame as the kernel lays it out, 0x190 bytes with the machine frame at its end ---

    .macro save_volatile
    mov [rbp - 0x50], rax
    mov [rbp - 0x48], rcx
    mov [rbp - 0x40], rdx
    mov [rbp - 0x38], r8
    mov [rbp - 0x30], r9
    mov [rbp - 0x28], r10
    mov [rbp - 0x20], r11
    movaps [rbp - 0x10], xmm0
    movaps [rbp], xmm1
    movaps [rbp + 0x10], xmm2
    movaps [rbp + 0x20], xmm3
    movaps [rbp + 0x30], xmm4
    movaps [rbp + 0x40], xmm5
    lea r11, [rsp + 0x18]  # not what was interrupted: nobody may rely on it
    mov rax, r11
    .endm

    .macro restore_volatile
    movaps xmm0, [rbp - 0x10]
    movaps xmm1, [rbp]
    movaps xmm2, [rbp + 0x10]
    movaps xmm3, [rbp + 0x20]
    movaps xmm4, [rbp + 0x30]
    movaps xmm5, [rbp + 0x40]
    mov rax, [rbp - 0x50]
    mov rcx, [rbp - 0x48]
    mov rdx, [rbp - 0x40]
    mov r8, [rbp - 0x38]
    mov r9, [rbp - 0x30]
    mov r10, [rbp - 0x28]
    mov r11, [rbp - 0x20]
    .endm

    .globl interrupt
    .seh_proc interrupt
interrupt:
    .seh_pushframe
    sub rsp, 8
    .seh_stackalloc 8
    push rbp
    .seh_pushreg rbp
    sub rsp, 0x158
    .seh_stackalloc 0x158
    lea rbp, [rsp + 0x80]
    .seh_setframe rbp, 0x80
    .seh_endprologue
    save_volatile
    call serve
    restore_volatile
    mov rsp, rbp
    mov rbp, [rbp + 0xD8]
    add rsp, 0xE8
    iretq
    .seh_endproc

    .globl interrupt_with_error
    .seh_proc interrupt_with_error
interrupt_with_error:
    .seh_pushframe @code
    push rbp
    .seh_pushreg rbp
    sub rsp, 0x158
    .seh_stackalloc 0x158
    lea rbp, [rsp + 0x80]
    .seh_setframe rbp, 0x80
    .seh_endprologue
    save_volatile
    call dispatch
    restore_volatile
    lea rsp, [rbp + 0xD8]
    pop rbp
    add rsp, 8
    iretq
    .seh_endproc

# An exception frame, 0x140 bytes with the return address at its end: nonvolatile registers by moves.
    .globl dispatch
    .seh_proc dispatch
dispatch:
    sub rsp, 0x138
    .seh_stackalloc 0x138
    lea rax, [rsp + 0x100]
    movaps [rsp + 0x30], xmm6
    .seh_savexmm xmm6, 0x30
    movaps [rsp + 0x40], xmm7
    .seh_savexmm xmm7, 0x40
    movaps [rsp + 0x50], xmm8
    .seh_savexmm xmm8, 0x50
    movaps [rsp + 0x60], xmm9
    .seh_savexmm xmm9, 0x60
    movaps [rsp + 0x70], xmm10
    .seh_savexmm xmm10, 0x70
    movaps [rax - 0x80], xmm11
    .seh_savexmm xmm11, 0x80
    movaps [rax - 0x70], xmm12
    .seh_savexmm xmm12, 0x90
    movaps [rax - 0x60], xmm13
    .seh_savexmm xmm13, 0xA0
    movaps [rax - 0x50], xmm14
    .seh_savexmm xmm14, 0xB0
    movaps [rax - 0x40], xmm15
    .seh_savexmm xmm15, 0xC0
    mov [rax - 8], rbp
    .seh_savereg rbp, 0xF8
    mov [rax], rbx
    .seh_savereg rbx, 0x100
    mov [rax + 8], rdi
    .seh_savereg rdi, 0x108
    mov [rax + 0x10], rsi
    .seh_savereg rsi, 0x110
    mov [rax + 0x18], r12
    .seh_savereg r12, 0x118
    mov [rax + 0x20], r13
    .seh_savereg r13, 0x120
    mov [rax + 0x28], r14
    .seh_savereg r14, 0x128
    mov [rax + 0x30], r15
    .seh_savereg r15, 0x130
    .seh_endprologue
    mov rbx, rax
    mov rsi, rcx
    xor edi, edi
    mov r12, rsp
    mov r13, rdx
    mov r14, rbx
    mov r15, 15
    xorps xmm6, xmm6
    movaps xmm15, xmm6
    call serve
    lea rcx, [rsp + 0x100]
    movaps xmm6, [rsp + 0x30]
    movaps xmm7, [rsp + 0x40]
    movaps xmm8, [rsp + 0x50]
    movaps xmm9, [rsp + 0x60]
    movaps xmm10, [rsp + 0x70]
    movaps xmm11, [rcx - 0x80]
    movaps xmm12, [rcx - 0x70]
    movaps xmm13, [rcx - 0x60]
    movaps xmm14, [rcx - 0x50]
    movaps xmm15, [rcx - 0x40]
    mov rbx, [rcx]
    mov rdi, [rcx + 8]
    mov rsi, [rcx + 0x10]
    mov r12, [rcx + 0x18]
    mov r13, [rcx + 0x20]
    mov r14, [rcx + 0x28]
    mov r15, [rcx + 0x30]
    mov rbp, [rcx - 8]
    add rsp, 0x138
    ret
    .seh_endproc

# --- other stacks: on_other_stack(to, depth, x) by a frame register, in_machine_frame by a machine frame ---

    .globl on_other_stack
    .seh_proc on_other_stack
on_other_stack:
    push rbp
    .seh_pushreg rbp
    mov rbp, rsp
    .seh_setframe rbp, 0
    .seh_endprologue
    mov rsp, [rip + other_stack]
    sub rsp, 0x20
    mov rax, rcx
    mov ecx, edx
    mov rdx, r8
    call rax
    mov rsp, rbp
    pop rbp
    ret
    .seh_endproc

    .globl in_machine_frame
    .seh_proc in_machine_frame
in_machine_frame:
    push rbx
    .seh_pushreg rbx
    sub rsp, 0x20
    .seh_stackalloc 0x20
    .seh_endprologue
    mov rbx, rdx
    mov rax, [rip + other_stack]
    lea r10, [rip + 1f]
    mov qword ptr [rax - 8], 0x18
    mov [rax - 0x10], rsp
    mov qword ptr [rax - 0x18], 0x246
    mov qword ptr [rax - 0x20], 0x10
    mov [rax - 0x28], r10
    call call_out
1:  add rax, rbx
    add rsp, 0x20
    pop rbx
    ret
    .seh_endproc

    .seh_proc call_out
call_out:
    lea rsp, [rax - 0x28]
    .seh_pushframe
    sub rsp, 0x28
    .seh_stackalloc 0x28
    .seh_endprologue
    mov rax, rcx
    mov ecx, edx
    mov rdx, r8
    call rax
    add rsp, 0x28
    iretq
    .seh_endproc

    .data
    .globl other_stack
other_stack:
    .quad 0
