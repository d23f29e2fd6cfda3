/*
 * advice.c - a program that changes the mappings of a block gets them back as libc's munmap leaves them.
 *
 * What madvise, mprotect and mlock do to a range stays with it, and moves with its pages: a block that was
 * kept out of children (MADV_DONTFORK, as RDMA libraries do), made read-only or locked must not be
 * handed to somebody else. So these functions note it, and such a block gives its memory back when
 * it is freed. Advice that asks for something once, and that on huge pages, changes nothing.
 */
#include <sys/mman.h>

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

static bool is_lasting(int advice) {
    switch (advice) {
    case MADV_DONTFORK:
    case MADV_WIPEONFORK:
    case MADV_DONTDUMP:
    case MADV_MERGEABLE:
    case MADV_NOHUGEPAGE: return true;
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

EXPORT int mlock(const void *address, size_t bytes) {
    note(address);
    return libc_next()->mlock(address, bytes);
}

EXPORT int mlock2(const void *address, size_t bytes, unsigned flags) {
    note(address);
    return libc_next()->mlock2(address, bytes, flags);
}
