/*
 * limits.c - a program that limits its own address space finds our reservations out of the way.
 *
 * They are terabytes of addresses without memory, which RLIMIT_AS counts all the same: once it is
 * below them, every mapping of the program would fail. So when the limit is about to become finite
 * we keep an eighth of it, as in a process that starts under one. getrlimit(2).
 */
#include <assert.h>
#include <sys/resource.h>
#include <unistd.h>

#include "interpose/exports.h"
#include "interpose/libc.h"
#include "interpose/life.h"
#include "interpose/small.h"
#include "pool/system.h"

static_assert(sizeof(struct rlimit) == sizeof(struct rlimit64), "one function serves both");

/* A limit that the kernel would turn down makes nobody give way. */
static bool is_finite(const struct rlimit *limit) {
    return limit != NULL && limit->rlim_cur != RLIM_INFINITY && limit->rlim_cur <= limit->rlim_max;
}

/* A child of vfork limits itself, and has its parent's memory. */
static int set(pid_t pid, int resource, const struct rlimit *limit, struct rlimit *old) {
    bool is_own = (pid == 0 || pid == getpid()) && life_is_owner();
    if (resource == RLIMIT_AS && is_finite(limit) && is_own) {
        size_t share = system_address_share(limit->rlim_cur);
        small_shrink(share);
        host_shrink(&life_host, share);
    }
    return libc_next()->prlimit(pid, resource, limit, old);
}

EXPORT int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit) {
    return set(0, (int)resource, limit, NULL);
}

EXPORT int setrlimit64(__rlimit_resource_t resource, const struct rlimit64 *limit) {
    return set(0, (int)resource, (const struct rlimit *)limit, NULL);
}

EXPORT int prlimit(pid_t pid, enum __rlimit_resource resource, const struct rlimit *limit,
                   struct rlimit *old) {
    return set(pid, (int)resource, limit, old);
}

EXPORT int prlimit64(pid_t pid, enum __rlimit_resource resource, const struct rlimit64 *limit,
                     struct rlimit64 *old) {
    return set(pid, (int)resource, (const struct rlimit *)limit, (struct rlimit *)old);
}
