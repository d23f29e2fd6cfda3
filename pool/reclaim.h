/*
 * reclaim.h - idle memory goes back to the system: by age, down to a limit, or altogether.
 *
 * Victims are chosen under the lock, drained without it, and filed as EMPTY; one whose memory cannot
 * be had, because the program has locked it, is IDLE as before, or LOST where it is altered. `why` is the counter of the pool's
 * figures for what went back, by its cause. Thread-safe, not async-signal-safe, change errno.
 */
#ifndef POOL_RECLAIM_H
#define POOL_RECLAIM_H

#include "pool/stock.h"

/* Drains the oldest blocks, and the end of one more, until at most `idle_max` bytes are idle. What
 * went back. */
size_t reclaim_beyond(struct pool *p, size_t idle_max, const _Atomic size_t *why) EXCLUDES(p->lock);

/* Drains what became idle before `before_ms` as long as more than `idle_min` bytes are, the largest
 * blocks first: who is stopped half-way has done most of the work. What went back. */
size_t reclaim_aged(struct pool *p, uint64_t before_ms, size_t idle_min, const _Atomic size_t *why)
    EXCLUDES(p->lock);

/* When the block became idle that is so for longest; NEVER: none is. */
uint64_t reclaim_oldest_ms(struct pool *p) EXCLUDES(p->lock);

/* Drains b, which is MOVING, and from which `moved` bytes of what it is said to hold have gone to
 * another block already. What went back. */
size_t reclaim_block(struct pool *p, struct block *b, size_t moved, const _Atomic size_t *why)
    EXCLUDES(p->lock);

/* The system keeps a promise of memory, and mappings, for blocks that lent all their pages. Ends that
 * for those that are empty since before `before_ms`. False: there was none. */
bool reclaim_promises(struct pool *p, uint64_t before_ms) EXCLUDES(p->lock);

#endif
