/*
 * libc.h - the functions that ours stand in front of: the next ones in the search order.
 */
#ifndef INTERPOSE_LIBC_H
#define INTERPOSE_LIBC_H

#include <signal.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/types.h>

struct libc {
    void (*free)(void *p);
    void *(*realloc)(void *p, size_t bytes);
    size_t (*malloc_usable_size)(void *p);
    int (*sigaction)(int number, const struct sigaction *action, struct sigaction *old);
    sighandler_t (*signal)(int number, sighandler_t handler);
    void (*exit_now)(int status); /* _exit */
    int (*madvise)(void *address, size_t bytes, int advice);
    int (*mprotect)(void *address, size_t bytes, int protection);
    int (*mlock)(const void *address, size_t bytes);
    int (*mlock2)(const void *address, size_t bytes, unsigned flags);
    int (*pkey_mprotect)(void *address, size_t bytes, int protection, int key);
    int (*unshare)(int flags);
    int (*setns)(int descriptor, int type);
    int (*prlimit)(pid_t pid, int resource, const struct rlimit *new, struct rlimit *old);
};

/* The functions, looked up by the first call, which the constructor makes. */
const struct libc *libc_next(void);

#endif
