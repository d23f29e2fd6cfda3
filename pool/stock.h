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
#include "pool/lock.h"
#include "pool/meta.h"
#include "pool/size_class.h"
#include "pool/stats.h"

struct bucket {
    alignas(CACHE_LINE) struct block *newest;
    struct block *oldest;
    struct block *lent;
    struct block *empty;
    _Atomic size_t idle;   /* blocks from newest to oldest */
    _Atomic size_t hits;   /* requests of this class served by an idle block */
    _Atomic size_t misses; /* requests of this class served by memory of the system */
};

/* A hit and a release touch two lines here, the first and the bucket's, and a third where a bucket
 * gets its first idle block, or loses its last. */
struct pool {
    alignas(CACHE_LINE) struct lock lock;
    _Atomic size_t idle_bytes;
    struct stats stats; /* begins with the two gauges that change with every request */
    uint64_t stocked[SIZE_CLASSES / 64 + 1];

    struct backend *backend;
    struct meta_records *records;
    struct bucket buckets[SIZE_CLASSES];
};

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

/* Makes b, in no list, LOST. */
void stock_lose(struct pool *p, struct block *b) REQUIRES(p->lock);

/* The first class from c to last that has an idle block; SIZE_CLASSES: none. */
unsigned stock_next(const struct pool *p, unsigned c, unsigned last) REQUIRES(p->lock);

/* The block that became idle first, of those that hold `granules` or more; NULL: none does. */
struct block *stock_oldest(const struct pool *p, uint32_t granules) REQUIRES(p->lock);

/* Do lists and figures agree? */
bool stock_is_valid(const struct pool *p) REQUIRES(p->lock);

#endif
