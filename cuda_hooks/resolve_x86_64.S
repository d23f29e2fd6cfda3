/*
 * resolve_x86_64.S - dlsym and resolve_absent of resolve.h: what C cannot say is a jump to another
 * function with the stack as it came.
 *
 * System V ABI, AMD64 supplement 1.0, 3.2.3: arguments in rdi, rsi, rdx; two pointers come back in
 * rax and rdx; rax, r10 and r11 are free to use before a call.
 */
    .text

    .hidden loader_next_dlsym
    .hidden resolve_name

    /* void *dlsym(void *handle, const char *name) */
    .globl dlsym
    .type dlsym, @function
    .p2align 5
dlsym:
    .cfi_startproc
    endbr64
    cmpb $'c', (%rsi)
    jne .Lnot_ours
    cmpb $'u', 1(%rsi)
    jne .Lnot_ours
    movzbl 2(%rsi), %eax
    subl $'A', %eax
    cmpl $('Z' - 'A'), %eax
    jbe .Lask
.Lnot_ours:
    movq loader_next_dlsym(%rip), %rax
    testq %rax, %rax
    jz .Lask
    jmp *%rax

.Lask:
    pushq %rdi
    .cfi_adjust_cfa_offset 8
    pushq %rsi
    .cfi_adjust_cfa_offset 8
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    call resolve_name
    addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    popq %rsi
    .cfi_adjust_cfa_offset -8
    popq %rdi
    .cfi_adjust_cfa_offset -8
    testq %rax, %rax
    jz .Lanswer
    jmp *%rax
.Lanswer:
    movq %rdx, %rax
    ret
    .cfi_endproc
    .size dlsym, . - dlsym

    /* void *resolve_absent(void *handle, const char *name) */
    .globl resolve_absent
    .hidden resolve_absent
    .type resolve_absent, @function
resolve_absent:
    .cfi_startproc
    endbr64
    leaq .Lversion(%rip), %rdx
    jmp *dlvsym@GOTPCREL(%rip)
    .cfi_endproc
    .size resolve_absent, . - resolve_absent

    .section .rodata.str1.1, "aMS", @progbits, 1
.Lversion:
    .string "libcuda.so.1"

    .section .note.GNU-stack, "", @progbits
