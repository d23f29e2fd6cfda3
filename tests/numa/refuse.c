#include "tests/numa/refuse.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

#ifndef SYS_set_mempolicy_home_node
#define SYS_set_mempolicy_home_node 450 /* everywhere, since Linux 5.17 */
#endif

enum {
    WEIGHTED_INTERLEAVE = 6 /* MPOL_WEIGHTED_INTERLEAVE */
};

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define SKIP_IF(value, count) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (count), 0)
#define SKIP_UNLESS(value, count) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (count))
#define ANSWER(action) BPF_STMT(BPF_RET | BPF_K, (action))

/* seccomp(2) */
static bool install(struct sock_filter *filter, unsigned short length) {
    struct sock_fprog program = {.len = length, .filter = filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}

/* The numbers of calls are those of this architecture, so others' calls pass. */
bool refuse_mempolicy(int error) {
    struct sock_filter filter[] = {
        LOAD(arch),
        SKIP_UNLESS(ARCHITECTURE, 6),
        LOAD(nr),
        SKIP_IF(SYS_mbind, 5),
        SKIP_IF(SYS_get_mempolicy, 4),
        SKIP_IF(SYS_set_mempolicy, 3),
        SKIP_IF(SYS_set_mempolicy_home_node, 2),
        SKIP_IF(SYS_move_pages, 1),
        ANSWER(SECCOMP_RET_ALLOW),
        ANSWER(SECCOMP_RET_ERRNO | ((unsigned)error & SECCOMP_RET_DATA)),
    };
    return install(filter, sizeof filter / sizeof *filter);
}

bool refuse_weights(void) {
    struct sock_filter filter[] = {
        LOAD(arch),
        SKIP_UNLESS(ARCHITECTURE, 4),
        LOAD(nr),
        SKIP_UNLESS(SYS_mbind, 2),
        LOAD(args[2]), /* the lower half: both architectures are little-endian */
        SKIP_IF(WEIGHTED_INTERLEAVE, 1),
        ANSWER(SECCOMP_RET_ALLOW),
        ANSWER(SECCOMP_RET_ERRNO | EINVAL),
    };
    return install(filter, sizeof filter / sizeof *filter);
}

bool forbid_call(long number) {
    struct sock_filter filter[] = {
        LOAD(arch),
        SKIP_UNLESS(ARCHITECTURE, 2),
        LOAD(nr),
        SKIP_IF((unsigned)number, 1),
        ANSWER(SECCOMP_RET_ALLOW),
        ANSWER(SECCOMP_RET_KILL_PROCESS),
    };
    return install(filter, sizeof filter / sizeof *filter);
}
