/*
 * block.h - the record of a block, and the map from addresses to records.
 *
 * The arena is one reservation of addresses. Blocks start on granules of 2 MiB, so that one array
 * with an entry for each granule answers "whose is this address?" without a lock or a search:
 *
 *     addresses  | A . . | A . . | A .   | B .   | C . . | C ...
 *     map        |  &A   |  &A   |  &A   |  &B   |  &C   |  &C         NULL: never a block
 *
  * Life of a block:   (new) -> MOVING -> LIVE <-> IDLE -> MOVING -> EMPTY -> MOVING -> LIVE
 *
 *     LIVE    in the program's hands
 *     IDLE    in its bucket's list, memory kept
  *     EMPTY   in a list of empty blocks: an address, its granules given back or lent
 *     MOVING  in the hands of a thread of ours that fills, drains or lends it, in no list
 *     PARKED  freed while a device still knows its pages: in no list until that has let go of them
 *     LOST    in no list for ever: some of its addresses are no longer ours, or cannot be used
 *
 * What a block holds, that is, where it may have pages that are not zero:
 *
 *     | granule | granule | granule | . . . . . | tail|xx gap |        granules == 3, tail_bytes > 0
 *     ^ address                     ^ no pages  ^ block_whole_bytes
 *
 * Whole granules are lent to other blocks, from the last one down; a tail, which has small pages, becomes the tail
 * of another.
 *
 * State, lists and requested_bytes change under the lock of the home pool. A record never goes
 * away and its address never becomes another's, so reading a stale map entry is harmless.

 */
#ifndef POOL_BLOCK_H
#define POOL_BLOCK_H

#include <assert.h>
#include <stdatomic.h>

#include "pool/backend.h"
#include "pool/lock.h"
#include "pool/size_class.h"

#include "pool/util.h"

struct pool;

enum block_state {
    BLOCK_MOVING,
    BLOCK_LIVE,
    BLOCK_IDLE,
    BLOCK_EMPTY,
    BLOCK_PARKED,
    BLOCK_LOST
};

struct block {
    char *address;          /* on a granule; NULL: not placed yet */
    struct pool *home;      /* where it returns to */
    struct block *newer;    /* neighbours in the bucket's idle list; in the empty list and in */
    struct block *older;    /*   lists of victims `older` is the next */
    size_t requested_bytes; /* what the program asked for, while LIVE; 0 otherwise */
    uint64_t freed_ms;      /* when it became IDLE, monotonic clock */
    uint32_t granules;      /* so many granules from the first on hold pages */
    uint32_t tail_bytes;    /* so many bytes behind the last whole granule do */
    uint16_t size_class;
    uint16_t mappings;      /* that it costs beyond its share in one for all (see host_backend.h) */
    _Atomic uint8_t state;  /* enum block_state */
    bool committed : 1;     /* writable: the system has promised the memory */
    bool has_gap : 1;       /* its last granule is not whole: a tail, and a gap behind it */
    bool is_hole : 1;       /* it was committed, and is not any more */
    bool wiped_on_fork : 1; /* the fork under way leaves it zero in the child */
    bool is_tail_apart : 1; /* its tail has moved in: a mapping of its own */
    bool is_altered;        /* the program has changed its mappings; set while LIVE */
    uint8_t registrations;  /* with devices, for which its pages stay where they are */
};

static_assert(sizeof(struct block) == 64, "one cache line for each block");

static inline enum block_state block_state(const struct block *b) {
    return (enum block_state)atomic_load_explicit(&b->state, memory_order_relaxed);
}

static inline void block_set_state(struct block *b, enum block_state state) {
    atomic_store_explicit(&b->state, (uint8_t)state, memory_order_relaxed);
}

/* The bytes of its class, which are the most that the program may use in place. */
static inline size_t block_bytes(const struct block *b) {
    return size_class_bytes(b->size_class);
}

/* The bytes that the program may use now: what it asked for, up to the end of the page. */
static inline size_t block_usable_bytes(const struct block *b) {
    return round_up(b->requested_bytes, PAGE);
}

/* The bytes of its whole granules, which huge pages can fill. */
static inline size_t block_whole_bytes(const struct block *b) {
    size_t bytes = block_bytes(b);
    return b->has_gap ? round_down(bytes, GRANULE) : round_up(bytes, GRANULE);
}

/* The most that its tail can hold. */
static inline size_t block_tail_room(const struct block *b) {
    return size_minus(block_bytes(b), block_whole_bytes(b));
}

/* Where the first `bytes` of b lie: in so many granules, and in so many bytes of its tail. */
struct extent {
    uint32_t granules;
    uint32_t tail_bytes;
};

static inline struct extent block_extent(const struct block *b, size_t bytes) {
    size_t whole = block_whole_bytes(b);
    size_t in_granules = size_min(round_up(bytes, GRANULE), whole);
    return (struct extent){.granules = (uint32_t)(in_granules / GRANULE),
                           .tail_bytes = (uint32_t)round_up(size_minus(bytes, whole), PAGE)};
}

static inline size_t extent_bytes(struct extent e) {
    return e.granules * GRANULE + e.tail_bytes;
}

/* What it holds. */
static inline struct extent block_held(const struct block *b) {
    return (struct extent){.granules = b->granules, .tail_bytes = b->tail_bytes};
}

static inline void block_set_held(struct block *b, struct extent e) {
    b->granules = e.granules;
    b->tail_bytes = e.tail_bytes;
}

/* Where the last byte of an extent of b ends. */
static inline size_t block_extent_end(const struct block *b, struct extent e) {
    return e.tail_bytes != 0 ? block_whole_bytes(b) + e.tail_bytes : e.granules * GRANULE;
}

static inline size_t block_held_end(const struct block *b) {
    return block_extent_end(b, block_held(b));
}

/* The map of an arena is whole pieces of so many bytes. */
#define ARENA_MAP_PIECE (64 * KIB)

/* The reserved addresses and their map. Zero-initialised: empty, and owns nothing. */
struct arena {
    char *_Atomic base;           /* on a granule; set before bytes */
    _Atomic size_t bytes;         /* whole granules; shrinks only from above what is used */
    _Atomic size_t used;          /* handed out from the bottom; written under the lock */
    _Atomic(struct block *) *map; /* one entry for each granule; all can be read */
    size_t map_writable;          /* bytes of the map that can be written; under the lock */
    struct lock lock;
};

/* Is p an address of the arena? Thread-safe, async-signal-safe, one compare. */
static inline bool arena_owns(const struct arena *a, const void *p) {
    size_t bytes = atomic_load_explicit(&a->bytes, memory_order_acquire);
    return (uintptr_t)p - (uintptr_t)a->base < bytes;
}

/* The block that p, an address of the arena, lies in; NULL where none ever was. */
static inline struct block *arena_find(const struct arena *a, const void *p) {
    size_t granule = ((uintptr_t)p - (uintptr_t)a->base) / GRANULE;
    return atomic_load_explicit(&a->map[granule], memory_order_acquire);
}

/* Addresses that a backend takes for its own blocks in advance, so that they are neighbours. Zero: none, and
 * each block takes what it needs. Changes under the lock of the arena. */
struct span {
    size_t
        step; /* so many bytes at a time, or more, whole granules; what another span takes does not touch it */
    size_t next; /* offsets in the arena: what is left, from here ... */
    size_t end;  /* ... to here */
};

/*
 * Gives b the next unused addresses of the span, whole granules for its class, and enters it into the map.
 * *taken is how many bytes, from its first on, the span took from the arena for that; 0: it had room. What
 * an earlier piece of the span has left is not used any more. b stays as it was when the addresses are used
 * up, or the map is refused the memory it needs. Thread-safe.
 */
MUST_CHECK enum fill_result arena_place(struct arena *a, struct span *span, struct block *b,
                                        size_t *taken) EXCLUDES(a->lock);

/* The block at or after *cursor (0 at first), which moves past it; NULL at the end. What is placed
 * meanwhile may be missed. */
struct block *arena_next(const struct arena *a, size_t *cursor);

#endif
