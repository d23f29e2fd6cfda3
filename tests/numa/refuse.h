/*
 * refuse.h - a sandbox as an ordinary container's, for this process and its children.
 */
#ifndef TESTS_NUMA_REFUSE_H
#define TESTS_NUMA_REFUSE_H

#include <stdbool.h>

/* From now on mbind, get_mempolicy, set_mempolicy, set_mempolicy_home_node and move_pages fail with
 * `error`, in all threads. False, and errno set: the kernel has no seccomp filters. Needs no rights. */
bool refuse_mempolicy(int error);

/* As on Linux before 6.9, mbind does not know MPOL_WEIGHTED_INTERLEAVE: EINVAL. */
bool refuse_weights(void);

/* From now on a call by its number in <sys/syscall.h> ends the process with SIGSYS. */
bool forbid_call(long number);

#endif
