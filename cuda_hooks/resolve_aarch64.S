/*
 * resolve_aarch64.S - dlsym and resolve_absent of resolve.h: what C cannot say is a jump to another
 * function with the stack as it came.
 *
 * Procedure Call Standard for the Arm 64-bit Architecture, 6.1.1: arguments in x0, x1, x2; two
 * pointers come back in x0 and x1; x9 to x17 are free to use before a call. A jump through x16 may
 * lead to the start of any function, also where branch targets are checked.
 */
    .text

    .hidden loader_next_dlsym
    .hidden resolve_name

    /* void *dlsym(void *handle, const char *name) */
    .globl dlsym
    .type dlsym, %function
    .p2align 5
dlsym:
    .cfi_startproc
    hint #34 /* bti c */
    ldrb w9, [x1]
    cmp w9, #'c'
    b.ne .Lnot_ours
    ldrb w9, [x1, #1]
    cmp w9, #'u'
    b.ne .Lnot_ours
    ldrb w9, [x1, #2]
    sub w9, w9, #'A'
    cmp w9, #('Z' - 'A')
    b.ls .Lask
.Lnot_ours:
    adrp x16, loader_next_dlsym
    ldr x16, [x16, #:lo12:loader_next_dlsym]
    cbz x16, .Lask
    br x16

.Lask:
    stp x29, x30, [sp, #-32]!
    .cfi_def_cfa_offset 32
    .cfi_offset 29, -32
    .cfi_offset 30, -24
    mov x29, sp
    stp x0, x1, [sp, #16]
    bl resolve_name
    mov x16, x0
    mov x9, x1
    ldp x0, x1, [sp, #16]
    ldp x29, x30, [sp], #32
    .cfi_def_cfa_offset 0
    .cfi_restore 29
    .cfi_restore 30
    cbz x16, .Lanswer
    br x16
.Lanswer:
    mov x0, x9
    ret
    .cfi_endproc
    .size dlsym, . - dlsym

    /* void *resolve_absent(void *handle, const char *name) */
    .globl resolve_absent
    .hidden resolve_absent
    .type resolve_absent, %function
resolve_absent:
    .cfi_startproc
    hint #34 /* bti c */
    adrp x2, .Lversion
    add x2, x2, #:lo12:.Lversion
    adrp x16, :got:dlvsym
    ldr x16, [x16, #:got_lo12:dlvsym]
    br x16
    .cfi_endproc
    .size resolve_absent, . - resolve_absent

    .section .rodata.str1.1, "aMS", %progbits, 1
.Lversion:
    .string "libcuda.so.1"

    .section .note.GNU-stack, "", %progbits
