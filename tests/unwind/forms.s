# Prologues and epilogues that compilers for Windows write, and clang does not: every form that unwind data
# can describe. Each function is a `shape` of shapes.c: (ecx: depth, rdx: x).
    .intel_syntax noprefix
    .text

    .macro entry begin, end, info  # a RUNTIME_FUNCTION
    .section .pdata, "dr"
    .long \begin@IMGREL, \end@IMGREL, \info@IMGREL
    .text
    .endm

    .macro code at, op, info  # one unwind code
    .byte \at, \op | (\info << 4)
    .endm

    .set PUSH, 0
    .set LARGE, 1
    .set SMALL, 2
    .set SETFP, 3
    .set SAVE, 4
    .set SAVE_FAR, 5
    .set EPILOG, 6
    .set XMM, 8
    .set XMM_FAR, 9
    .set MACHINE, 10

# --- version 1 ----------------------------------------------------------------------------------------

# Registers saved in the home slots of the caller's frame.
    .seh_proc home_slots
home_slots:
    mov [rsp + 8], rbx
    mov [rsp + 0x10], rsi
    push rdi
    .seh_pushreg rdi
    sub rsp, 0x20
    .seh_stackalloc 0x20
    .seh_savereg rbx, 0x30
    .seh_savereg rsi, 0x38
    .seh_endprologue
    mov rbx, rdx
    mov rdi, rdx
    mov esi, ecx
    call again
    mov ecx, esi
    lea rdx, [rax + rdi]
    call again
    add rax, rbx
    mov rbx, [rsp + 0x30]
    mov rsi, [rsp + 0x38]
    add rsp, 0x20
    pop rdi
    ret
    .seh_endproc

# The frame is addressed and freed through a register that is not a frame register.
    .seh_proc freed_by_r11
freed_by_r11:
    mov rax, rsp
    mov [rax + 8], rbx
    mov [rax + 0x10], rsi
    push rdi
    .seh_pushreg rdi
    push r14
    .seh_pushreg r14
    sub rsp, 0x48
    .seh_stackalloc 0x48
    .seh_savereg rbx, 0x60
    .seh_savereg rsi, 0x68
    .seh_endprologue
    mov rbx, rdx
    mov r14d, ecx
    xor edi, edi
    xor esi, esi
    call again
    add rax, rbx
    lea r11, [rsp + 0x48]
    mov rbx, [r11 + 0x18]
    mov rsi, [r11 + 0x20]
    mov rsp, r11
    pop r14
    pop rdi
    ret
    .seh_endproc

# Far forms and 32-bit sizes, as a frame of megabytes would have them; a prologue with other work in between.
far_forms:
    mov r8, rdx
    sub rsp, 0x1108
.Lfar_forms_1:
    mov [rsp + 0x1030], r12
.Lfar_forms_2:
    movaps [rsp + 0x1000], xmm6
.Lfar_forms_3:
    movaps [rsp + 0x30], xmm15
.Lfar_forms_4:
    mov eax, ecx
    mov [rsp + 0x40], rbp
.Lfar_forms_5:
    mov rbp, r8
    mov r12d, eax
    cvtsi2sd xmm6, r8
    movaps xmm15, xmm6
    call again
    mov ecx, r12d
    lea rdx, [rax + rbp]
    call again
    movaps xmm6, [rsp + 0x1000]
    movaps xmm15, [rsp + 0x30]
    mov r12, [rsp + 0x1030]
    mov rbp, [rsp + 0x40]
    add rsp, 0x1108
    ret
.Lfar_forms_end:
    .section .xdata, "dr"
    .p2align 2
.Lfar_forms_info:
    .byte 1, .Lfar_forms_5 - far_forms, 13, 0
    code .Lfar_forms_5 - far_forms, SAVE, 5
    .short 0x40 / 8
    code .Lfar_forms_4 - far_forms, XMM, 15
    .short 0x30 / 16
    code .Lfar_forms_3 - far_forms, XMM_FAR, 6
    .long 0x1000
    code .Lfar_forms_2 - far_forms, SAVE_FAR, 12
    .long 0x1030
    code .Lfar_forms_1 - far_forms, LARGE, 1
    .long 0x1108
    .short 0
    .text
    entry far_forms, .Lfar_forms_end, .Lfar_forms_info

# A frame register other than rbp, at the largest distance; memory from the stack afterwards.
    .seh_proc other_frame_register
other_frame_register:
    push r13
    .seh_pushreg r13
    push rbx
    .seh_pushreg rbx
    sub rsp, 0x128
    .seh_stackalloc 0x128
    lea r13, [rsp + 0xF0]
    .seh_setframe r13, 0xF0
    mov [r13 + 0x10], rsi
    .seh_savereg rsi, 0x100
    .seh_endprologue
    mov esi, ecx
    mov rbx, rdx
    sub rsp, 0x60
    call again
    sub rsp, 0x1F0
    mov ecx, esi
    mov rdx, rax
    call again
    add rax, rbx
    mov rsi, [r13 + 0x10]
    lea rsp, [r13 + 0x38]
    pop rbx
    pop r13
    ret
    .seh_endproc

# Registers saved in front of the frame register's setting.
    .seh_proc saves_first
saves_first:
    push rbp
    .seh_pushreg rbp
    sub rsp, 0x60
    .seh_stackalloc 0x60
    mov [rsp + 0x30], rdi
    .seh_savereg rdi, 0x30
    movaps [rsp + 0x40], xmm9
    .seh_savexmm xmm9, 0x40
    lea rbp, [rsp + 0x50]
    .seh_setframe rbp, 0x50
    .seh_endprologue
    mov rdi, rdx
    cvtsi2sd xmm9, rdx
    sub rsp, 0x40
    call again
    add rax, rdi
    mov rdi, [rbp - 0x20]
    movaps xmm9, [rbp - 0x10]
    lea rsp, [rbp + 0x10]
    pop rbp
    ret
    .seh_endproc

# Eight bytes allocated by pushing a volatile register, two allocations, a prefix on the return.
    .seh_proc pushed_scratch
pushed_scratch:
    push rbx
    .seh_pushreg rbx
    push rcx
    .seh_stackalloc 8
    sub rsp, 0x28
    .seh_stackalloc 0x28
    .seh_endprologue
    mov rbx, rdx
    call again
    add rax, rbx
    add rsp, 0x28
    pop rcx
    pop rbx
    rep ret
    .seh_endproc

# The flags are kept.
    .seh_proc pushed_flags
pushed_flags:
    pushfq
    .seh_stackalloc 8
    push r15
    .seh_pushreg r15
    sub rsp, 0x28
    .seh_stackalloc 0x28
    .seh_endprologue
    mov r15, rdx
    call again
    add rax, r15
    add rsp, 0x28
    pop r15
    popfq
    .byte 0xF2  # bnd
    ret
    .seh_endproc

# --- calls in tail position: each form of jump --------------------------------------------------------

    .macro tail name, jump:vararg
    .seh_proc \name
\name:
    push rbx
    .seh_pushreg rbx
    push r12
    .seh_pushreg r12
    sub rsp, 0x28
    .seh_stackalloc 0x28
    .seh_endprologue
    mov ebx, ecx
    mov r12, rdx
    xor ecx, ecx
    call again
    mov ecx, ebx
    lea rdx, [rax + r12]
    lea rax, [rip + to_again - 8]
    mov r11, [rip + to_again]
    mov r10, r11
    add rsp, 0x28
    pop r12
    pop rbx
    \jump
    .seh_endproc
    .endm

    tail jumps_far, jmp again
    tail jumps_by_import, .byte 0xFF, 0x25; .long to_again - . - 4
    tail jumps_by_wide_import, rex64 jmp [rip + to_again]
    tail jumps_by_r11, .byte 0x49, 0xFF, 0xE3
    tail jumps_by_memory, rex64 jmp [rax + 8]
    tail jumps_bound, .byte 0xF2; jmp again
    tail jumps_near, .byte 0xEB, behind - . - 1

    .seh_proc behind
behind:
    sub rsp, 0x28
    .seh_stackalloc 0x28
    .seh_endprologue
    call again
    add rsp, 0x28
    ret
    .seh_endproc

# A jump to its own beginning calls itself, until nothing is left of x.
    .seh_proc jumps_to_itself
jumps_to_itself:
    push rbx
    .seh_pushreg rbx
    sub rsp, 0x20
    .seh_stackalloc 0x20
    .seh_endprologue
    mov rbx, rdx
    xor ecx, ecx
    call again
    mov rdx, rbx
    shr rdx, 13
    jz 1f
    add rsp, 0x20
    pop rbx
    jmp jumps_to_itself
1:  add rsp, 0x20
    pop rbx
    ret
    .seh_endproc

# A switch: the jump through a register stays inside.
    .seh_proc jumps_about
jumps_about:
    push rsi
    .seh_pushreg rsi
    sub rsp, 0x20
    .seh_stackalloc 0x20
    .seh_endprologue
    mov rsi, rdx
    and edx, 1
    lea rax, [rip + 1f]
    lea rax, [rax + rdx * 4]
    jmp rax
    nop
1:  jmp 2f
    nop
    nop
    jmp 3f
2:  mov rdx, rsi
    call again
    add rsp, 0x20
    pop rsi
    ret
    .zero 200, 0xCC
3:  xor ecx, ecx
    mov rdx, rsi
    call again
    add rax, rsi
    jmp 4f
    .zero 200, 0xCC
4:  add rsp, 0x20
    pop rsi
    ret
    .seh_endproc

# The last instruction is a call that does not return; the next function begins right behind.
    .seh_proc ends_with_a_call
ends_with_a_call:
    push rdi
    .seh_pushreg rdi
    sub rsp, 0x20
    .seh_stackalloc 0x20
    .seh_endprologue
    mov rdi, rdx
    mov r8d, edi
    and r8d, 31
    jz 1f
    call again
    add rax, rdi
    add rsp, 0x20
    pop rdi
    ret
1:  call give_up
    .seh_endproc
    .seh_proc begins_behind_a_call
begins_behind_a_call:
    push rbp
    .seh_pushreg rbp
    push rbx
    .seh_pushreg rbx
    push rsi
    .seh_pushreg rsi
    sub rsp, 0x20
    .seh_stackalloc 0x20
    .seh_endprologue
    mov rbx, rdx
    mov esi, ecx
    call again
    mov ebp, eax
    add rax, rbx
    add rsp, 0x20
    pop rsi
    pop rbx
    pop rbp
    ret
    .seh_endproc

# Two functions that share a frame: the first jumps to the second while the frame stands.
shares_its_frame:
    push rsi
.Lshares_1:
    sub rsp, 0x30
.Lshares_2:
    mov rsi, rdx
    call again
    mov ecx, 1
    mov [rsp], rax
    jmp takes_the_frame
.Lshares_end:
    .zero 200, 0xCC
takes_the_frame:
    mov rdx, rax
    call again
    add rax, rsi
    add rsp, 0x30
    pop rsi
    ret
.Ltakes_end:
    .section .xdata, "dr"
    .p2align 2
.Lshares_info:
    .byte 1, .Lshares_2 - shares_its_frame, 2, 0
    code .Lshares_2 - shares_its_frame, SMALL, (0x30 - 8) / 8
    code .Lshares_1 - shares_its_frame, PUSH, 6
.Ltakes_info:
    .byte 1, 0, 2, 0
    code 0, SMALL, (0x30 - 8) / 8
    code 0, PUSH, 6
    .text
    entry shares_its_frame, .Lshares_end, .Lshares_info
    entry takes_the_frame, .Ltakes_end, .Ltakes_info

# --- functions in parts -------------------------------------------------------------------------------

# Registers are saved late, in a part of the function; what follows it is the whole's again, once as a part
# without codes and once by an indirect entry.
late_saves:
    sub rsp, 0x38
.Llate_saves_1:
    test dl, 1
    jz .Llate_saves_out
.Llate_saves_part:
    mov [rsp + 0x20], rbx
.Llate_saves_2:
    mov [rsp + 0x28], r14
.Llate_saves_3:
    mov rbx, rdx
    mov r14d, ecx
    call again
    mov ecx, r14d
    lea rdx, [rbx + rax]
    mov rbx, [rsp + 0x20]
    mov r14, [rsp + 0x28]
    test dl, 2
    jz .Llate_saves_other
    jmp .Llate_saves_out
.Llate_saves_out:
    call again
    add rsp, 0x38
    ret
.Llate_saves_other:
    call again
    add rax, 5
    add rsp, 0x38
    ret
.Llate_saves_end:
    .section .xdata, "dr"
    .p2align 2
.Llate_saves_info:
    .byte 1, .Llate_saves_1 - late_saves, 1, 0
    code .Llate_saves_1 - late_saves, SMALL, (0x38 - 8) / 8
    .short 0
.Llate_saves_master:
    .long late_saves@IMGREL, .Llate_saves_part@IMGREL, .Llate_saves_info@IMGREL
.Llate_saves_part_info:
    .byte 1 | 4 << 3, .Llate_saves_3 - .Llate_saves_part, 4, 0
    code .Llate_saves_3 - .Llate_saves_part, SAVE, 14
    .short 0x28 / 8
    code .Llate_saves_2 - .Llate_saves_part, SAVE, 3
    .short 0x20 / 8
    .long late_saves@IMGREL, .Llate_saves_part@IMGREL, .Llate_saves_info@IMGREL
.Llate_saves_rest_info:
    .byte 1 | 4 << 3, 0, 0, 0
    .long late_saves@IMGREL, .Llate_saves_part@IMGREL, .Llate_saves_info@IMGREL
    .text
    entry late_saves, .Llate_saves_part, .Llate_saves_info
    entry .Llate_saves_part, .Llate_saves_out, .Llate_saves_part_info
    entry .Llate_saves_out, .Llate_saves_other, .Llate_saves_rest_info
    entry .Llate_saves_other, .Llate_saves_end, .Llate_saves_master + 1

# No frame until it is needed: pushes and the allocation are in a part. Its epilogue is a part of its own.
late_frame:
    test dl, 1
    jz .Llate_frame_part
    mov rax, rdx
    ret
.Llate_frame_part:
    push rbx
.Llate_frame_1:
    push r12
.Llate_frame_2:
    sub rsp, 0x28
.Llate_frame_3:
    mov rbx, rdx
    xor r12d, r12d
    call again
    lea rax, [rax + rbx]
    jmp .Llate_frame_exit
.Llate_frame_part_end:
    .zero 200, 0xCC
.Llate_frame_exit:
    add rsp, 0x28
    pop r12
    pop rbx
    ret
.Llate_frame_end:
    .section .xdata, "dr"
    .p2align 2
.Llate_frame_info:
    .byte 1, 0, 0, 0
    .long 0
.Llate_frame_part_info:
    .byte 1 | 4 << 3, .Llate_frame_3 - .Llate_frame_part, 3, 0
    code .Llate_frame_3 - .Llate_frame_part, SMALL, (0x28 - 8) / 8
    code .Llate_frame_2 - .Llate_frame_part, PUSH, 12
    code .Llate_frame_1 - .Llate_frame_part, PUSH, 3
    .short 0
    .long late_frame@IMGREL, .Llate_frame_part@IMGREL, .Llate_frame_info@IMGREL
.Llate_frame_exit_info:
    .byte 1 | 4 << 3, 0, 3, 0
    code 0, SMALL, (0x28 - 8) / 8
    code 0, PUSH, 12
    code 0, PUSH, 3
    .short 0
    .long late_frame@IMGREL, .Llate_frame_part@IMGREL, .Llate_frame_info@IMGREL
    .text
    entry late_frame, .Llate_frame_part, .Llate_frame_info
    entry .Llate_frame_part, .Llate_frame_part_end, .Llate_frame_part_info
    entry .Llate_frame_exit, .Llate_frame_end, .Llate_frame_exit_info

# A part in another section, far in front of or behind its function, reached by jumps while the frame stands;
# the frame register of the whole counts in it, as memory was taken from the stack since.
cold_part:
    push rbp
.Lcold_part_1:
    push rsi
.Lcold_part_2:
    sub rsp, 0x38
.Lcold_part_3:
    lea rbp, [rsp + 0x20]
.Lcold_part_4:
    mov [rbp + 0x10], rbx
.Lcold_part_5:
    mov rbx, rdx
    mov esi, ecx
    sub rsp, 0x70
    lea rax, [rip + .Lcold_part_returned]
    mov [rsp], rax  # as a callee may have left it in its home slot
    test dl, 3
    jnz .Lcold_part_warm
    jmp .Lcold
.Lcold_part_warm:
    call again
.Lcold_part_returned:
    jmp .Lcold_part_out
.Lcold_part_out:
    add rax, rbx
    mov rbx, [rbp + 0x10]
    lea rsp, [rbp + 0x18]
    pop rsi
    pop rbp
    ret
.Lcold_part_end:
    .section .text$zz, "xr"
.Lcold:
    call again
    mov ecx, esi
    lea rdx, [rax + rbx]
    test dl, 1
    jz .Lcold_leaves
    call again
    jmp .Lcold_part_out
.Lcold_leaves:
    mov rbx, [rbp + 0x10]
    mov [rbp + 8], r15
.Lcold_1:
    xor r15d, r15d
    mov [rbp], r12
.Lcold_2:
    xor r12d, r12d
    call again
    mov ecx, 1
    mov rdx, rax
    mov r15, [rbp + 8]
    mov r12, [rbp]
    lea rsp, [rbp + 0x18]
    pop rsi
    pop rbp
    jmp again
.Lcold_end:
    .section .xdata, "dr"
    .p2align 2
.Lcold_part_info:
    .byte 1, .Lcold_part_5 - cold_part, 6, 5 | 2 << 4
    code .Lcold_part_5 - cold_part, SAVE, 3
    .short 0x30 / 8
    code .Lcold_part_4 - cold_part, SETFP, 0
    code .Lcold_part_3 - cold_part, SMALL, (0x38 - 8) / 8
    code .Lcold_part_2 - cold_part, PUSH, 6
    code .Lcold_part_1 - cold_part, PUSH, 5
.Lcold_info:
    .byte 1 | 4 << 3, 0, 0, 5 | 2 << 4
    .long cold_part@IMGREL, .Lcold_part_end@IMGREL, .Lcold_part_info@IMGREL
.Lcold_late_info:
    .byte 1 | 4 << 3, .Lcold_2 - .Lcold_leaves, 4, 5 | 2 << 4
    code .Lcold_2 - .Lcold_leaves, SAVE, 12
    .short 0x20 / 8
    code .Lcold_1 - .Lcold_leaves, SAVE, 15
    .short 0x28 / 8
    .long cold_part@IMGREL, .Lcold_part_end@IMGREL, .Lcold_part_info@IMGREL
    .text
    entry cold_part, .Lcold_part_end, .Lcold_part_info
    entry .Lcold, .Lcold_leaves, .Lcold_info
    entry .Lcold_leaves, .Lcold_end, .Lcold_late_info

# --- version 2: the unwind data say where epilogues are -----------------------------------------------

# One, at the end.
one_epilogue:
    push rbx
.Lone_epilogue_1:
    push r12
.Lone_epilogue_2:
    sub rsp, 0x28
.Lone_epilogue_3:
    mov ebx, ecx
    mov r12, rdx
    call again
    mov ecx, ebx
    lea rdx, [rax + r12]
    call again
    add rsp, 0x28
    pop r12
    pop rbx
    ret
.Lone_epilogue_end:
    .section .xdata, "dr"
    .p2align 2
.Lone_epilogue_info:
    .byte 2, .Lone_epilogue_3 - one_epilogue, 5, 0
    code 4, EPILOG, 1
    code 0, EPILOG, 0
    code .Lone_epilogue_3 - one_epilogue, SMALL, (0x28 - 8) / 8
    code .Lone_epilogue_2 - one_epilogue, PUSH, 12
    code .Lone_epilogue_1 - one_epilogue, PUSH, 3
    .short 0
    .text
    entry one_epilogue, .Lone_epilogue_end, .Lone_epilogue_info

# Three: one far from the end (the distance takes more than eight bits), one that jumps, one at the end.
three_epilogues:
    push rsi
.Lthree_1:
    push rdi
.Lthree_2:
    push r14
.Lthree_3:
    sub rsp, 0x20
.Lthree_4:
    mov rsi, rdx
    mov edi, ecx
    xor r14d, r14d
    xor ecx, ecx
    call again
    mov rdx, rax
    mov ecx, edi
    test dl, 1
    jz 1f
    call again
    add rsp, 0x20
.Lthree_a:
    pop r14
    pop rdi
    pop rsi
    ret
    .zero 300, 0xCC
1:  test dl, 2
    jz 2f
    add rsp, 0x20
.Lthree_b:
    pop r14
    pop rdi
    pop rsi
    jmp again
2:  call again
    mov ecx, edi
    lea rdx, [rax + rsi]
    call again
    add rsp, 0x20
    pop r14
    pop rdi
    pop rsi
    ret
.Lthree_end:
    .section .xdata, "dr"
    .p2align 2
.Lthree_info:
    .byte 2, .Lthree_4 - three_epilogues, 8, 0
    code 5, EPILOG, 1
    code (.Lthree_end - .Lthree_b) & 0xFF, EPILOG, (.Lthree_end - .Lthree_b) >> 8
    code (.Lthree_end - .Lthree_a) & 0xFF, EPILOG, (.Lthree_end - .Lthree_a) >> 8
    code 0, EPILOG, 0
    code .Lthree_4 - three_epilogues, SMALL, (0x20 - 8) / 8
    code .Lthree_3 - three_epilogues, PUSH, 14
    code .Lthree_2 - three_epilogues, PUSH, 7
    code .Lthree_1 - three_epilogues, PUSH, 6
    .text
    entry three_epilogues, .Lthree_end, .Lthree_info

# A frame register, the flags kept below the pushes, none at the end: the function ends with a trap.
framed_epilogue:
    pushfq
.Lframed_1:
    push rbp
.Lframed_2:
    push r13
.Lframed_3:
    sub rsp, 0x30
.Lframed_4:
    lea rbp, [rsp + 0x30]
.Lframed_5:
    mov r13, rdx
    sub rsp, 0x50
    call again
    add rax, r13
    lea rsp, [rbp]
.Lframed_a:
    pop r13
    pop rbp
    pop rcx
    ret
    int3
    int3
.Lframed_end:
    .section .xdata, "dr"
    .p2align 2
.Lframed_info:
    .byte 2, .Lframed_5 - framed_epilogue, 7, 5 | 3 << 4
    code 5, EPILOG, 0
    code .Lframed_end - .Lframed_a, EPILOG, 0
    code .Lframed_5 - framed_epilogue, SETFP, 0
    code .Lframed_4 - framed_epilogue, SMALL, (0x30 - 8) / 8
    code .Lframed_3 - framed_epilogue, PUSH, 13
    code .Lframed_2 - framed_epilogue, PUSH, 5
    code .Lframed_1 - framed_epilogue, SMALL, 0
    .short 0
    .text
    entry framed_epilogue, .Lframed_end, .Lframed_info

# A part with an epilogue of its own, which pops what the whole pushed; the whole has none.
part_with_epilogue:
    push rbx
.Lpart_1:
    push r15
.Lpart_2:
    sub rsp, 0x38
.Lpart_3:
    mov rbx, rdx
    mov r15d, ecx
.Lpart_end:
    mov [rsp + 0x28], rdi
.Lpart_4:
    mov rdi, rdx
    call again
    mov ecx, r15d
    lea rdx, [rax + rdi]
    call again
    add rax, rbx
    mov rdi, [rsp + 0x28]
    add rsp, 0x38
    pop r15
    pop rbx
    ret
.Lpart_part_end:
    .section .xdata, "dr"
    .p2align 2
.Lpart_info:
    .byte 2, .Lpart_3 - part_with_epilogue, 3, 0
    code .Lpart_3 - part_with_epilogue, SMALL, (0x38 - 8) / 8
    code .Lpart_2 - part_with_epilogue, PUSH, 15
    code .Lpart_1 - part_with_epilogue, PUSH, 3
    .short 0
.Lpart_part_info:
    .byte 2 | 4 << 3, .Lpart_4 - .Lpart_end, 4, 0
    code 4, EPILOG, 1
    code 0, EPILOG, 0
    code .Lpart_4 - .Lpart_end, SAVE, 7
    .short 0x28 / 8
    .long part_with_epilogue@IMGREL, .Lpart_end@IMGREL, .Lpart_info@IMGREL
    .text
    entry part_with_epilogue, .Lpart_end, .Lpart_info
    entry .Lpart_end, .Lpart_part_end, .Lpart_part_info

# An interrupt: its epilogue ends in iretq.
    .globl interrupt_version_2
interrupt_version_2:
    push rbp
.Linterrupt_1:
    push rbx
.Linterrupt_2:
    sub rsp, 0x100
.Linterrupt_3:
    lea rbp, [rsp + 0x80]
.Linterrupt_4:
    mov [rbp], rax
    mov [rbp + 8], rcx
    mov [rbp + 0x10], rdx
    mov [rbp + 0x18], r8
    mov [rbp + 0x20], r9
    mov [rbp + 0x28], r10
    mov [rbp + 0x30], r11
    movups [rbp - 0x60], xmm0
    movups [rbp - 0x50], xmm1
    movups [rbp - 0x40], xmm2
    movups [rbp - 0x30], xmm3
    movups [rbp - 0x20], xmm4
    movups [rbp - 0x10], xmm5
    lea r11, [rsp + 0x18]  # not what was interrupted
    mov rbx, rsp
    and rsp, -16
    sub rsp, 0x20
    call serve
    mov rsp, rbx
    movups xmm0, [rbp - 0x60]
    movups xmm1, [rbp - 0x50]
    movups xmm2, [rbp - 0x40]
    movups xmm3, [rbp - 0x30]
    movups xmm4, [rbp - 0x20]
    movups xmm5, [rbp - 0x10]
    mov rax, [rbp]
    mov rcx, [rbp + 8]
    mov rdx, [rbp + 0x10]
    mov r8, [rbp + 0x18]
    mov r9, [rbp + 0x20]
    mov r10, [rbp + 0x28]
    mov r11, [rbp + 0x30]
    lea rsp, [rbp + 0x80]
.Linterrupt_a:
    pop rbx
    pop rbp
    iretq
.Linterrupt_end:
    .section .xdata, "dr"
    .p2align 2
.Linterrupt_info:
    .byte 2, .Linterrupt_4 - interrupt_version_2, 8, 5 | 8 << 4
    code 3, EPILOG, 0
    code .Linterrupt_end - .Linterrupt_a, EPILOG, 0
    code .Linterrupt_4 - interrupt_version_2, SETFP, 0
    code .Linterrupt_3 - interrupt_version_2, LARGE, 0
    .short 0x100 / 8
    code .Linterrupt_2 - interrupt_version_2, PUSH, 3
    code .Linterrupt_1 - interrupt_version_2, PUSH, 5
    code 0, MACHINE, 0
    .text
    entry interrupt_version_2, .Linterrupt_end, .Linterrupt_info

# --- all of them --------------------------------------------------------------------------------------

    .section .rdata, "dr"
    .p2align 3
    .globl assembled
assembled:
    .quad home_slots, freed_by_r11, far_forms, other_frame_register, saves_first, pushed_scratch, pushed_flags
    .quad jumps_far, jumps_by_import, jumps_by_wide_import, jumps_by_r11, jumps_by_memory, jumps_bound
    .quad jumps_near, jumps_to_itself, jumps_about, ends_with_a_call, begins_behind_a_call
    .quad shares_its_frame, late_saves, late_frame, cold_part
    .quad one_epilogue, three_epilogues, framed_epilogue, part_with_epilogue
.Lassembled_end:
to_again:
    .quad again
    .globl assembled_count
assembled_count:
    .long (.Lassembled_end - assembled) / 8
