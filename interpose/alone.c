/*
 * alone.c - a program with one thread is one to the kernel, too, where that matters.
 *
 * unshare(2) and setns(2) refuse some namespaces to a process of several threads, so the helper steps aside
 * for them as it does for a fork. It comes back with the next large free.
 */
#include <sched.h>

#include "interpose/exports.h"
#include "interpose/helper.h"
#include "interpose/libc.h"
#include "interpose/life.h"

/* What unshare(2) names as refused to several threads. */
static const int FOR_ONE_THREAD = CLONE_NEWUSER | CLONE_THREAD | CLONE_SIGHAND | CLONE_VM;

/* A child of vfork has no helper: what it sees is its parent's. */
EXPORT int unshare(int flags) {
    if ((flags & FOR_ONE_THREAD) == 0 || !life_is_owner()) {
        return libc_next()->unshare(flags);
    }
    helper_pause();
    int result = libc_next()->unshare(flags);
    helper_resume();
    return result;
}

EXPORT int setns(int descriptor, int type) {
    if (!life_is_owner()) {
        return libc_next()->setns(descriptor, type);
    }
    helper_pause();
    int result = libc_next()->setns(descriptor, type);
    helper_resume();
    return result;
}
