/*
 * pool.h - the blocks of one place (a NUMA node, a GPU), by size class.
 *
 *     bucket[c].idle    newest -> ... -> oldest     pushed and popped at the newest end, whose
 *                                                   pages are warm; drained from the oldest end
 *     bucket[c].empty   -> ... ->                   addresses without memory, refilled first
 *
 * Equations, whenever the lock is free:
 *     allocated_bytes.current == sum of block_bytes over LIVE blocks
 *     idle_bytes              == the same over IDLE blocks
 *     reserved_bytes.current  == both together (and MOVING blocks that are being drained)
 *
 * Decisions are made under the lock; the backend is called without it, on blocks that are MOVING.
 * Unless said otherwise functions are thread-safe, not async-signal-safe, and may change errno.
 */
#ifndef POOL_POOL_H
#define POOL_POOL_H

#include <stdalign.h>

#include "pool/backend.h"
#include "pool/block.h"
#include "pool/lock.h"
#include "pool/meta.h"
#include "pool/size_class.h"
#include "pool/stats.h"

struct bucket {
    alignas(CACHE_LINE) struct block *newest;
    struct block *oldest;
    struct block *empty;
    _Atomic size_t idle;   /* blocks from newest to oldest */
    _Atomic size_t hits;   /* requests of this class served by an idle block */
    _Atomic size_t misses; /* requests of this class served by memory of the system */
};

/* A hit and a release touch two lines here, the first and the bucket's. */
struct pool {
    alignas(CACHE_LINE) struct lock lock;
    _Atomic size_t idle_bytes;
    struct stats stats; /* begins with the two gauges that change with every request */
    struct backend *backend;
    struct meta_records *records;
    struct bucket buckets[SIZE_CLASSES];
};

/* Zero-initialised before. backend and records outlive the pool. */
void pool_init(struct pool *p, struct backend *backend, struct meta_records *records);

/*
 * An idle block for `bytes` (at most SIZE_CLASS_MAX), now LIVE, of its class or up to twice as large.
 * NULL: none there, which pool_fill changes. Takes about 10 ns and no system call.
 */
MUST_CHECK struct block *pool_acquire(struct pool *p, size_t bytes) EXCLUDES(p->lock);

/* A block for `bytes` with memory fresh from the backend, now LIVE; NULL and why not. */
MUST_CHECK struct block *pool_fill(struct pool *p, size_t bytes, enum fill_result *result)
    EXCLUDES(p->lock);

/* Takes a LIVE block back as the newest of its bucket. False, and nothing done: it was not LIVE. */
MUST_CHECK bool pool_release(struct pool *p, struct block *b, uint64_t now_ms) EXCLUDES(p->lock);

/* The same, and gives its memory back at once: nobody is about to ask for such a block again. */
MUST_CHECK bool pool_discard(struct pool *p, struct block *b) EXCLUDES(p->lock);

/* Notes that the LIVE block now serves `bytes`. False: it is too small, and nothing changed. */
MUST_CHECK bool pool_resize(struct pool *p, struct block *b, size_t bytes) EXCLUDES(p->lock);

/* Makes what the program may use of the LIVE block zero, and no more of it resident than it pays. */
void pool_zero(struct pool *p, struct block *b) EXCLUDES(p->lock);

/* Gives back the memory of idle blocks, oldest first, until `bytes` or all of it went. The sum. */
size_t pool_drain(struct pool *p, size_t bytes) EXCLUDES(p->lock);

/* The same, until at most `idle_max` bytes are idle. */
size_t pool_keep(struct pool *p, size_t idle_max) EXCLUDES(p->lock);

/* Adds one to a counter of the pool's. */
void pool_count(struct pool *p, _Atomic size_t *counter) EXCLUDES(p->lock);

/* Bytes of idle blocks. Async-signal-safe. */
static inline size_t pool_idle_bytes(const struct pool *p) {
    return stats_read(&p->idle_bytes);
}

/*
 * Around fork(2), which pool_before_fork waits for by taking the lock. Idle blocks are not copied:
 * the child finds its pool with the LIVE blocks of its parent, no idle one, and figures that
 * start from there. In the child pool_after_fork_in_child comes first, then pool_adopt for every
 * block there is.
 */
void pool_before_fork(struct pool *p) ACQUIRE(p->lock);
void pool_after_fork_in_parent(struct pool *p) RELEASE(p->lock);
void pool_after_fork_in_child(struct pool *p) RELEASE(p->lock);
void pool_adopt(struct pool *p, struct block *b) EXCLUDES(p->lock);

/* Does every equation above hold? For tests, while no other thread uses the pool. */
bool pool_is_valid(struct pool *p) EXCLUDES(p->lock);

#endif
