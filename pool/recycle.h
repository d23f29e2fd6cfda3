/*
 * recycle.h - blocks lend each other their pages, so that memory follows the peak of what is live
 * and not the sum of what each size once needed.
 *
 *     idle, the oldest first   | 1 | 2 | 3 | 4 |     | 5 | 6 |        | 7 | 8 | 9 |
 *                                              \________/____________________/
 *     a block that needs 5     | 1 | 2 | 3 | 4 | 6 |    its rest is fresh, or nothing is left of it
 *
 * Buckets keep addresses; the pages go where they are needed, by granules, from the end of a block
 * that was idle for longest. What it keeps is a prefix still, and its tail; a block that lent all its
 * granules is EMPTY, its address ready to be filled again, and its tail is the first to be lent to
 * another that needs one. Moving 128 MiB takes the kernel 25 to 170 us,
 * where faulting it in takes 15 ms and more.
 *
 * For pool/ alone.
 */
#ifndef POOL_RECYCLE_H
#define POOL_RECYCLE_H

#include "pool/stock.h"

/*
 * Moves pages of idle blocks to where b needs them and has none: into its granules from offset `from` on, as far as
 * there are any, and into its tail if it holds none. What it holds grows by them. b is MOVING, the caller's own, and has
 * memory. False: b is LOST now. Thread-safe, changes errno.
 */
MUST_CHECK bool recycle_into(struct pool *p, struct block *b, size_t from, struct extent needed)
    EXCLUDES(p->lock);

/* After MOVE_LOST: gives back what m->to holds outside the addresses that are not ours any more, and
 * makes it LOST. */
void recycle_abandon(struct pool *p, const struct move *m) EXCLUDES(p->lock);

#endif
