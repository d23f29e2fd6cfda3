/*
 * stock.h - what a pool is made of, its lists, and how blocks change their state with all figures.
 *
 *     bucket[c].idle    newest -> ... -> oldest     pushed and popped at the newest end, whose
 *                                                   pages are warm; lent and drained from the oldest
  *     bucket[c].lent    -> ... ->                   empty but for a tail, refilled first
 *     bucket[c].empty   -> ... ->                   addresses without memory, refilled then
 *     stocked           bit c is set  <=>  bucket[c] has an idle block
 *
  * Equation: idle_bytes == sum over IDLE and EMPTY blocks of what they hold. A block in no list is MOVING.
 * The functions are for pool/ alone; the caller holds the lock of the pool.
 */
#ifndef POOL_STOCK_H
#define POOL_STOCK_H

#include <stdalign.h>

#include "pool/backend.h"
#include "pool/block.h"
#include "pool/figures.h"
#include "pool/lock.h"
#include "pool/meta.h"
#include "pool/profile.h"

struct bucket {
    alignas(CACHE_LINE) struct block *newest;
    struct block *oldest;
    struct block *lent;
    struct block *empty;
    size_t idle;          /* blocks from newest to oldest */
    size_t live_peak;     /* the most blocks that were LIVE at once */
    size_t largest_bytes; /* what the largest block held when it came, where blocks are whole */
};

static_assert(sizeof(struct bucket) == CACHE_LINE, "one line for each bucket");

/* The highest that gauges were since somebody looked last. */
struct marks {
    size_t live;
    size_t reserved;
};

/* Who looks. */
enum looker {
    LOOK_OF_SAMPLES,
    LOOK_OF_RETENTION,
    LOOKERS
};

/*
 * Where the figures of a pool are, apart from the pool: NULL stands for its own memory. The live file has
 * a table of these that reads as zeros in every child, so that no child writes to its parent's file,
 * not even one of a raw clone(2), in which nothing of ours runs. madvise(2), MADV_WIPEONFORK.
 */
typedef _Atomic(struct figures *) figures_slot;

/* A hit and a release touch two lines here, the first and the bucket's, and four of the figures: the
 * three first and that of the class. What decisions are made by stays here. */
struct pool {
    alignas(CACHE_LINE) struct lock lock;
    bool is_whole; /* as of its backend */
    _Atomic size_t idle_bytes;
    struct marks marks;           /* since anybody looked */
    struct figures *figures;      /* where they are now; while the lock is held */
    _Atomic(figures_slot *) slot; /* changes under the lock */
    uint64_t stocked[SIZE_CLASSES / 64 + 1];

    struct backend *backend;
    struct meta_records *records;
    struct marks seen[LOOKERS];   /* the marks of the looks of others, for each */
    struct profile_walk expected; /* what is still to be made ahead (ahead.h); of who makes it */
    struct bucket buckets[SIZE_CLASSES];
    struct figures own; /* where there is no live file. A figure is named by its address in here, as
                         * p->own.stats.failures, wherever it is; only p->figures may be written */
};

/* The slot of pools whose figures are their own. */
extern figures_slot stock_own_slot;

/* Where the figures are now, to be read without the lock. Async-signal-safe. */
static inline const struct figures *stock_figures(const struct pool *p) {
    const figures_slot *slot = atomic_load_explicit(&p->slot, memory_order_relaxed);
    const struct figures *f = atomic_load_explicit(slot, memory_order_acquire);
    return f != NULL ? f : &p->own;
}

/* Before the first change to the figures. */
HOT void stock_open(struct pool *p) REQUIRES(p->lock) {
    figures_slot *slot = atomic_load_explicit(&p->slot, memory_order_relaxed);
    struct figures *f = atomic_load_explicit(slot, memory_order_relaxed);
    p->figures = f != NULL ? f : &p->own;
    figures_begin(p->figures);
}

/* The lock of the pool, and with it the right to change lists and figures. */
HOT void stock_lock(struct pool *p) ACQUIRE(p->lock) {
    lock_acquire(&p->lock);
    stock_open(p);
}

HOT void stock_unlock(struct pool *p) RELEASE(p->lock) {
    figures_end(p->figures);
    lock_release(&p->lock);
}

/* Where the figure is now that is called by its address in p->own. */
static inline _Atomic size_t *stock_figure(struct pool *p, const _Atomic size_t *name)
    REQUIRES(p->lock) {
    size_t offset = (uintptr_t)name - (uintptr_t)&p->own;
    void *figure = (char *)p->figures + offset;
    return figure;
}

/* Makes b IDLE, as the newest of its bucket. */
void stock_push(struct pool *p, struct block *b) REQUIRES(p->lock);

/* After b lent or gave back what it held, or a part: makes it EMPTY where it has no granule left of those
 * that it had, else IDLE as of its age. */
void stock_file(struct pool *p, struct block *b) REQUIRES(p->lock);

/* Takes an IDLE block out. */
void stock_remove(struct pool *p, struct block *b) REQUIRES(p->lock);

/* Makes b, which holds no granule, EMPTY. */
void stock_push_empty(struct pool *p, struct block *b) REQUIRES(p->lock);

/* Takes out the first EMPTY block of a list, or of its rest; NULL: there is none. */
struct block *stock_pop(struct pool *p, struct block **list) REQUIRES(p->lock);

/* The same, of those that hold a tail. */
struct block *stock_pop_lent(struct pool *p, unsigned c) REQUIRES(p->lock);

/* A block of the class, MOVING: the one that holds most, of those that hold no more than said, or a new
 * one without an address. NULL: no memory for its record. */
enum stock_holds {
    HOLDS_NOTHING,
    HOLDS_TAIL,
    HOLDS_ANYTHING
};
struct block *stock_take(struct pool *p, unsigned c, enum stock_holds most) EXCLUDES(p->lock);

/* Notes that b, in no list, holds `bytes` from now on, or will once the program has touched them. By how
 * much that is more than before. */
size_t stock_use(struct block *b, size_t bytes);

/* Makes b LIVE for `bytes`; and MOVING again, which is false and changes nothing if it was not LIVE. */
void stock_hand_out(struct pool *p, struct block *b, size_t bytes) REQUIRES(p->lock);
MUST_CHECK bool stock_take_back(struct pool *p, struct block *b) REQUIRES(p->lock);

/* What was taken back is PARKED where a device knows its pages. False: none does. */
MUST_CHECK bool stock_park(struct pool *p, struct block *b) REQUIRES(p->lock);

/* To be called after the gauge of live memory, or that of reserved memory too, has grown. */
HOT void stock_grown_live(struct pool *p) REQUIRES(p->lock) {
    size_t live = gauge_current(&p->figures->stats.allocated_bytes);
    if (UNLIKELY(live > p->marks.live)) {
        p->marks.live = live;
    }
}

static inline void stock_grown(struct pool *p) REQUIRES(p->lock) {
    stock_grown_live(p);
    size_t reserved = gauge_current(&p->figures->stats.reserved_bytes);
    p->marks.reserved = size_max(p->marks.reserved, reserved);
}

/* The highest since this one looked, or since the beginning. */
struct marks stock_look(struct pool *p, enum looker who) REQUIRES(p->lock);

/* Makes b, in no list, LOST. */
void stock_lose(struct pool *p, struct block *b) REQUIRES(p->lock);

/* The first class from c to last that has an idle block; SIZE_CLASSES: none. */
unsigned stock_next(const struct pool *p, unsigned c, unsigned last) REQUIRES(p->lock);

/* The block that became idle first, of those that hold `granules` or more; NULL: none does. */
struct block *stock_oldest(const struct pool *p, uint32_t granules) REQUIRES(p->lock);

/* Do lists and figures agree? */
bool stock_is_valid(const struct pool *p) REQUIRES(p->lock);

#endif
