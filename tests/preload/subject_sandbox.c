/*
 * subject_sandbox.c - another behaviour, where the kernel refuses what allocators like to ask of it
 * and libc's own can do without. seccomp(2).
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "tests/preload/subject.h"

enum {
    CALLS_MAX = 4
};

/* A system call, and the error that it ends with from now on. */
struct refusal {
    unsigned number;
    unsigned error;
};

static void refuse(const struct refusal *refusals, size_t count) {
    struct sock_filter filter[2 + 2 * CALLS_MAX] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
    unsigned short n = 1;
    CHECK(count <= CALLS_MAX);
    for (size_t i = 0; i < count; i++) {
        filter[n++] =
            (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, refusals[i].number, 0, 1);
        filter[n++] =
            (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | refusals[i].error);
    }
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {.len = n, .filter = filter};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

/* All that is advice, and what has come late to the kernel. */
void in_a_sandbox(void) {
    static const struct refusal refusals[] = {
        {SYS_madvise, EPERM}, {SYS_prctl, EPERM}, {SYS_mremap, EPERM}};
    refuse(refusals, 3);
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 && errno == EPERM);
    CHECK(run_behaviour(subject_arguments));
}

static unsigned error_named(const char *name) {
    static const struct {
        const char *name;
        unsigned number;
    } errors[] = {{"EPERM", EPERM},   {"ENOSYS", ENOSYS}, {"EINVAL", EINVAL}, {"ENOMEM", ENOMEM},
                  {"EFAULT", EFAULT}, {"EAGAIN", EAGAIN}, {"EACCES", EACCES}};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        if (strcmp(errors[i].name, name) == 0) {
            return errors[i].number;
        }
    }
    CHECK(false);
    return 0;
}

static void refuse_named(const char *what, unsigned error) {
    static const struct {
        const char *what;
        unsigned number;
    } calls[] = {{"mremap", SYS_mremap},
                 {"threads", SYS_clone},
                 {"folders", SYS_mkdirat},
                 {"files", SYS_openat},
                 {"space", SYS_fallocate}};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        if (strcmp(calls[i].what, what) == 0) {
            refuse((struct refusal[]){{SYS_clone3, ENOSYS}, {calls[i].number, error}}, 2);
            return;
        }
    }
    CHECK(false);
}

/* Arguments: what, the error, the behaviour and its own arguments. */
void where_system_calls_are_refused(void) {
    refuse_named(subject_arguments[0], error_named(subject_arguments[1]));
    CHECK(run_behaviour(subject_arguments + 2));
}
