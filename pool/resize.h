/*
 * resize.h - what realloc(3) needs of a pool: blocks change their size, and pages move with the data.
 *
 *     grow within the class     in place; what is new is fresh
 *     grow beyond               granules move to a block of the new class, the rest is copied:
 *                               | 1 | 2 | 3 | tail |   ->   | 1 | 2 | 3 | tail + fresh . . .
 *     shrink                    in place; granules behind the end become an idle block of their own
 *
 * Moving takes 3 us and copying 200 us for a granule, at whatever size: only what is no whole
 * granule is copied. The caller owns the LIVE block b. Thread-safe, not async-signal-safe, change errno.
 */
#ifndef POOL_RESIZE_H
#define POOL_RESIZE_H

#include "pool/stock.h"

/* Notes that b now serves `bytes`. False: it is too small, and nothing changed. */
MUST_CHECK bool resize_in_place(struct pool *p, struct block *b, size_t bytes) EXCLUDES(p->lock);

/* Makes pages that b holds beyond what it serves useful to others: an idle block, or given back. */
void resize_shed(struct pool *p, struct block *b, uint64_t now_ms) EXCLUDES(p->lock);

/*
 * A LIVE block for `bytes`, more than b has room for, with the contents of b, which is taken back: its
 * memory is gone. NULL, why not, and b as it was.
 */
MUST_CHECK struct block *resize_by_moving(struct pool *p, struct block *b, size_t bytes,
                                          enum fill_result *result) EXCLUDES(p->lock);

#endif
