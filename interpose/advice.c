/*
 * advice.c - a program that changes the mappings of a block gets them back as libc's munmap leaves them.
 *
 * What madvise, mprotect, mlock and mbind do to a range stays with it, and moves with its pages: a block that
 * was kept out of children (MADV_DONTFORK, as RDMA libraries do), made read-only, locked or bound to a node must
 * not be handed to somebody else. So these functions note it, and such a block gives its memory back when
 * it is freed. Advice that asks for something once, and that on huge pages, changes nothing.
 */
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "interpose/exports.h"
#include "interpose/large.h"
#include "interpose/libc.h"

/* Our own calls are about blocks that are not LIVE. */
static void note(const void *address) {
    struct block *b = large_owns(address) ? arena_find(&life_host.arena, address) : NULL;
    if (b != NULL && block_state(b) == BLOCK_LIVE) {
        b->is_altered = true;
    }
}

/* Linux 6.13; headers of Debian 12 do not have it. */
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

/* That on the order of accesses splits mappings, of which our budget knows nothing. */
static bool is_lasting(int advice) {
    switch (advice) {
    case MADV_RANDOM:
    case MADV_SEQUENTIAL:
    case MADV_DONTFORK:
    case MADV_WIPEONFORK:
    case MADV_DONTDUMP:
    case MADV_MERGEABLE:
    case MADV_NOHUGEPAGE:
    case MADV_GUARD_INSTALL: return true;
    default: return false;
    }
}

EXPORT int madvise(void *address, size_t bytes, int advice) {
    if (UNLIKELY(is_lasting(advice))) {
        note(address);
    }
    return libc_next()->madvise(address, bytes, advice);
}

EXPORT int mprotect(void *address, size_t bytes, int protection) {
    note(address);
    return libc_next()->mprotect(address, bytes, protection);
}

EXPORT int pkey_mprotect(void *address, size_t bytes, int protection, int key) {
    note(address);
    return libc_next()->pkey_mprotect(address, bytes, protection, key);
}

/* libnuma's, which need not be here: so the call is made as libnuma makes it. What else libnuma does to a range
 * (numa_tonode_memory and the like) comes this way, too; hwloc makes the call itself. */
long mbind(void *address, unsigned long bytes, int mode, const unsigned long *nodes,
           unsigned long node_bits, unsigned flags);

/* NOLINTNEXTLINE(readability-function-size): the parameters are the kernel's */
EXPORT long mbind(void *address, unsigned long bytes, int mode, const unsigned long *nodes,
                  unsigned long node_bits, unsigned flags) {
    note(address);
    return syscall(SYS_mbind, address, bytes, mode, nodes, node_bits, flags);
}

EXPORT int mlock(const void *address, size_t bytes) {
    note(address);
    return libc_next()->mlock(address, bytes);
}

EXPORT int mlock2(const void *address, size_t bytes, unsigned flags) {
    note(address);
    return libc_next()->mlock2(address, bytes, flags);
}
