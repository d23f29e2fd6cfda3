/*
 * address_map.h - from the first byte of a driver allocation to the block that stands for it.
 *
 *     hash of the address -> | . | B | A | . | . | C | . . .    open addressing, the next free slot serves
 *
 * The driver chooses addresses, so that no arena tells whose they are. The table is a fixed one of addresses
 * that cost nothing before they are used; what does not fit is left to the driver. Removal moves later
 * blocks of a run back, so that no marks remain (Knuth, The Art of Computer Programming 3, section 6.4,
 * algorithm R).
 *
 * Thread-safe. Not async-signal-safe.
 */
#ifndef CUDA_HOOKS_ADDRESS_MAP_H
#define CUDA_HOOKS_ADDRESS_MAP_H

#include "pool/block.h"

enum {
    ADDRESS_MAP_LG_SLOTS = 20,
    ADDRESS_MAP_SLOTS = 1 << ADDRESS_MAP_LG_SLOTS,
    ADDRESS_MAP_MOST = ADDRESS_MAP_SLOTS / 2 /* blocks; runs of slots stay short */
};

/* Zero-initialised: empty. */
struct address_map {
    struct lock lock;
    _Atomic size_t count; /* changes under the lock */
    struct block **slots; /* NULL before the first block */
};

/* Enters b by its address. A block that is there under the same one was freed behind our back: it comes out,
 * and is what *stale is; else that is NULL. False: there is no room. */
MUST_CHECK bool address_map_put(struct address_map *m, struct block *b, struct block **stale)
    EXCLUDES(m->lock);

/* The block that begins there; NULL: none does. */
struct block *address_map_find(struct address_map *m, const void *address) EXCLUDES(m->lock);

/* For a look without the lock: what other threads enter meanwhile may be missed. */
bool address_map_is_empty(const struct address_map *m);

/* Takes b out, which was there under that address. False: it is not any more. */
bool address_map_remove(struct address_map *m, const struct block *b, const void *address)
    EXCLUDES(m->lock);

/* Takes out a block of that pool, from *cursor on (0 at first), which moves; NULL: none is left. */
struct block *address_map_take_next(struct address_map *m, const struct pool *home, size_t *cursor)
    EXCLUDES(m->lock);

/* In a forked child, where nobody else uses it: empty. */
void address_map_reset(struct address_map *m);

#endif
