/*
 * pool.h - the blocks of one place (a NUMA node, a GPU), by size class.
 *
 * Equations, whenever the lock is free:
 *     allocated_bytes.current == sum over LIVE blocks of what they hold, or will once they are touched
 *     idle_bytes              == sum over IDLE blocks of what they hold
 *     reserved_bytes.current  == both together (and MOVING blocks)
 *
 * Decisions are made under the lock; the backend is called without it, on blocks that are MOVING.
 * Unless said otherwise functions are thread-safe, not async-signal-safe, and may change errno.
 */
#ifndef POOL_POOL_H
#define POOL_POOL_H

#include "pool/stock.h"

/* Zero-initialised before. backend and records outlive the pool. */
void pool_init(struct pool *p, struct backend *backend, struct meta_records *records);

/* What is to be in a block. */
enum pool_pages {
    PAGES_ANY,  /* anything */
    PAGES_ZERO, /* zeros, and no more of them resident than it pays */
    PAGES_FRESH /* zeros of the system, not resident before they are touched; pool_fill only */
};

/*
 * An idle block for `bytes` (at most SIZE_CLASS_MAX), now LIVE, of its class or somewhat larger. NULL:
 * there is none that would do without a system call. Takes about 10 ns, and the time to zero it.
 */
MUST_CHECK struct block *pool_acquire(struct pool *p, size_t bytes, enum pool_pages pages)
    EXCLUDES(p->lock);

/* A block for `bytes`, now LIVE, with pages of idle blocks as far as they go, and with memory of the
 * system; NULL and why not. */
MUST_CHECK struct block *pool_fill(struct pool *p, size_t bytes, enum pool_pages pages,
                                   enum fill_result *result) EXCLUDES(p->lock);

/* Takes a LIVE block back as the newest of its bucket. False, and nothing done: it was not LIVE. */
MUST_CHECK bool pool_release(struct pool *p, struct block *b, uint64_t now_ms) EXCLUDES(p->lock);

/* The same, and gives its memory back at once, which is counted by its cause, one of p->own.stats: nobody
 * is about to ask for such a block again, or should have this one. */
MUST_CHECK bool pool_discard(struct pool *p, struct block *b, const _Atomic size_t *why)
    EXCLUDES(p->lock);

/*
 * Around the time for which a device knows the pages of a LIVE block, or of a part of it: they are neither lent,
 * nor moved, nor given back, and neither are they if it is freed in between, but after the last of these times.
 */
void pool_register(struct pool *p, struct block *b) EXCLUDES(p->lock);
void pool_unregister(struct pool *p, struct block *b) EXCLUDES(p->lock);

/* pool_release in two steps: what is held is neither LIVE nor idle, and the caller's alone. */
MUST_CHECK bool pool_hold(struct pool *p, struct block *b) EXCLUDES(p->lock);
void pool_put(struct pool *p, struct block *b, uint64_t now_ms) EXCLUDES(p->lock);

/* Somebody else gives its memory back, or has done so: the record is EMPTY, and has no address. Was it
 * LIVE? It must not be EMPTY, and be in nobody's hands if it is held. */
bool pool_forget(struct pool *p, struct block *b) EXCLUDES(p->lock);

/* Makes an idle block of `bytes`, all of it there before anybody asks for it. False: refused. */
MUST_CHECK bool pool_prefault(struct pool *p, size_t bytes, uint64_t now_ms) EXCLUDES(p->lock);

/* So much memory of the device is free, says the driver. */
void pool_tell_free(struct pool *p, size_t bytes) EXCLUDES(p->lock);

/* Adds to a counter of the pool's, one of p->own.stats. */
void pool_add(struct pool *p, const _Atomic size_t *counter, size_t n) EXCLUDES(p->lock);

/* From now on the figures are at `place`, zeroed pages that other processes may see, as long as the slot
 * says so, which is empty now. Where they were they stay as they are. */
void pool_show(struct pool *p, figures_slot *slot, struct figures *place) EXCLUDES(p->lock);

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
