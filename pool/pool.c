#include "pool/pool.h"

#include <string.h>

#include "pool/reclaim.h"
#include "pool/recycle.h"

void pool_init(struct pool *p, struct backend *backend, struct meta_records *records) {
    p->backend = backend;
    p->records = records;
}

/* ---- acquire and release ---- */

/* A request may take a block that is so many classes larger: at most a quarter of it stays unused. */
enum {
    REACH = 2
};

/*
 * The class itself, then the next larger one that has a block. (CNN training: 510 MiB with up to four
 * classes more, 585 with eight, as what is unused there is lent to nobody.) What has lent its
 * pages is no match: system calls are needed to use it.
 */
static bool fits(const struct block *b, size_t bytes) {
    return b->granules >= block_extent(b, bytes).granules;
}

ASIDE static struct block *newest_fit_above(const struct pool *p, unsigned c, size_t bytes)
    REQUIRES(p->lock) {
    unsigned last = (unsigned)size_min(c + REACH, SIZE_CLASSES - 1);
    while ((c = stock_next(p, c + 1, last)) < SIZE_CLASSES) {
        struct block *b = p->buckets[c].newest;
        if (fits(b, bytes)) {
            return b;
        }
    }
    return NULL;
}

static struct block *newest_fit(const struct pool *p, unsigned c, size_t bytes) REQUIRES(p->lock) {
    struct block *b = p->buckets[c].newest;
    return LIKELY(b != NULL && fits(b, bytes)) ? b : newest_fit_above(p, c, bytes);
}

/*
 * Zeroing a warm block and filling it takes half the time of filling fresh pages, huge ones at that,
 * from 1 MiB to 1 GiB. But it also touches what the program may never look at (a sparse np.zeros):
 * very large blocks are exchanged for fresh pages, which takes a thousandth of the time.
 */
static const size_t LAZY_ZERO_FROM = 512 * MIB;

/* Then it holds what the program asked for and no more, untouched. */
static bool exchange(struct pool *p, struct block *b) {
    if (!p->backend->clear(p->backend, b, 0, block_held_end(b))) {
        return false;
    }
    lock_acquire(&p->lock);
    size_t held = extent_bytes(block_held(b));
    block_set_held(b, block_extent(b, b->requested_bytes));
    size_t dropped = held - extent_bytes(block_held(b));
    gauge_sub(&p->stats.allocated_bytes, dropped);
    gauge_sub(&p->stats.reserved_bytes, dropped);
    stats_add(&p->stats.released_bytes, dropped);
    stats_add(&p->stats.exchanged_bytes, dropped);
    lock_release(&p->lock);
    return true;
}

/* Clears bytes from `from` to `to`, as far as the program may use them. How many that were. */
static size_t clear_range(const struct block *b, size_t from, size_t to) {
    size_t bytes = size_minus(size_min(to, block_usable_bytes(b)), from);
    memset(b->address + from, 0, bytes);
    return bytes;
}

/* Makes the LIVE block zero as far as the program may use it; `dirty` is what it held before. */
ASIDE static void zero(struct pool *p, struct block *b, struct extent dirty) {
    size_t bytes = size_min(extent_bytes(dirty), block_usable_bytes(b));
    if (bytes < LAZY_ZERO_FROM || !exchange(p, b)) {
        size_t whole = block_whole_bytes(b);
        bytes = clear_range(b, 0, dirty.granules * GRANULE) +
                clear_range(b, whole, whole + dirty.tail_bytes);
    }
    pool_add(p, &p->stats.zeroed_bytes, bytes);
}

struct block *pool_acquire(struct pool *p, size_t bytes, enum pool_pages pages) {
    unsigned c = size_class_of(bytes);
    struct extent dirty = {0};
    lock_acquire(&p->lock);
    struct block *b = newest_fit(p, c, bytes);
    if (LIKELY(b != NULL)) {
        stock_remove(p, b);
        dirty = block_held(b);
        stock_hand_out(p, b, bytes);
        stats_add(&p->buckets[c].hits, 1);
    }
    lock_release(&p->lock);
    if (UNLIKELY(pages == PAGES_ZERO && extent_bytes(dirty) != 0)) {
        zero(p, b, dirty);
    }
    return b;
}

bool pool_release(struct pool *p, struct block *b, uint64_t now_ms) {
    lock_acquire(&p->lock);
    bool live = stock_take_back(p, b);
    if (LIKELY(live)) {
        b->freed_ms = now_ms;
        stock_push(p, b);
    }
    lock_release(&p->lock);
    return live;
}

/* ---- memory from the backend and back ---- */

static enum stock_holds holds(enum pool_pages pages) {
    return pages == PAGES_FRESH ? HOLDS_NOTHING : HOLDS_ANYTHING;
}

/* Large zero pages are better fresh than moved and exchanged. */
static bool wants_pages(size_t bytes, enum pool_pages pages) {
    return pages == PAGES_ANY || (pages == PAGES_ZERO && bytes < LAZY_ZERO_FROM);
}

static enum fill_result fill(struct pool *p, struct block *b, size_t bytes, bool move) {
    enum fill_result result = p->backend->fill(p->backend, b);
    if (result != FILL_OK || !move) {
        return result;
    }
    bool kept = recycle_into(p, b, b->granules, block_extent(b, bytes).granules);
    return kept ? FILL_OK : FILL_LOST;
}

/* `b` after it was filled, or not: LIVE, or EMPTY. */
static void file_filled(struct pool *p, struct block *b, size_t bytes, bool filled)
    EXCLUDES(p->lock) {
    lock_acquire(&p->lock);
    if (filled) {
        stock_hand_out(p, b, bytes);
        stats_add(&p->buckets[size_class_of(bytes)].misses, 1);
        stats_add(&p->stats.missed_bytes, bytes);
    } else {
        stock_push_empty(p, b);
    }
    lock_release(&p->lock);
}

struct block *pool_fill(struct pool *p, size_t bytes, enum pool_pages pages,
                        enum fill_result *result) {
    struct block *b = stock_take(p, size_class_of(bytes), holds(pages));
    *result = b != NULL ? fill(p, b, bytes, wants_pages(bytes, pages)) : FILL_REFUSED;
    if (*result == FILL_LOST) {
        b = stock_take(p, size_class_of(bytes), holds(pages));
        *result = b != NULL ? fill(p, b, bytes, false) : FILL_REFUSED;
    }
    if (b == NULL) {
        return NULL;
    }
    struct extent dirty = block_held(b);
    file_filled(p, b, bytes, *result == FILL_OK);
    if (*result != FILL_OK) {
        return NULL;
    }
    if (pages == PAGES_ZERO && extent_bytes(dirty) != 0) {
        zero(p, b, dirty);
    }
    return b;
}

bool pool_prefault(struct pool *p, size_t bytes, uint64_t now_ms) {
    struct block *b = stock_take(p, size_class_of(bytes), HOLDS_NOTHING);
    if (b == NULL) {
        return false;
    }
    bool filled = p->backend->fill(p->backend, b) == FILL_OK;
    for (size_t at = 0; filled && at < bytes; at += PAGE) {
        *(volatile char *)(b->address + at) = 0;
    }
    lock_acquire(&p->lock);
    if (filled) {
        gauge_add(&p->stats.reserved_bytes, stock_use(b, bytes));
        stats_add(&p->stats.prefaulted_bytes, bytes);
        b->freed_ms = now_ms;
        stock_push(p, b);
    } else {
        stock_push_empty(p, b);
    }
    lock_release(&p->lock);
    return filled;
}

bool pool_discard(struct pool *p, struct block *b) {
    lock_acquire(&p->lock);
    bool live = stock_take_back(p, b);
    lock_release(&p->lock);
    if (live) {
        (void)reclaim_block(p, b, 0, &p->stats.outgrown_bytes);
    }
    return live;
}

void pool_add(struct pool *p, _Atomic size_t *counter, size_t n) {
    lock_acquire(&p->lock);
    stats_add(counter, n);
    lock_release(&p->lock);
}

/* ---- fork ---- */

static void mark_wiped(struct pool *p, struct block *b) REQUIRES(p->lock) {
    b->wiped_on_fork = p->backend->wipe_on_fork(p->backend, b, true);
}

/* A block that kept the mark would be lost on the next child of the program, data and all: where the
 * mark does not come off, the block is LOST. */
static void unmark_wiped(struct pool *p, struct block *b) REQUIRES(p->lock) {
    if (!b->wiped_on_fork || p->backend->wipe_on_fork(p->backend, b, false)) {
        b->wiped_on_fork = false;
        return;
    }
    stock_remove(p, b);
    gauge_sub(&p->stats.reserved_bytes, extent_bytes(block_held(b)));
    stock_lose(p, b);
}

/* From pool_before_fork on nobody else can touch the lists: the lock is held. */
static void for_each_idle(struct pool *p, void (*visit)(struct pool *p, struct block *b))
    REQUIRES(p->lock) {
    for (unsigned c = 0; c < SIZE_CLASSES; c++) {
        struct block *older = NULL;
        for (struct block *b = p->buckets[c].newest; b != NULL; b = older) {
            older = b->older;
            visit(p, b);
        }
    }
}

void pool_before_fork(struct pool *p) {
    lock_acquire(&p->lock);
    for_each_idle(p, mark_wiped);
}

void pool_after_fork_in_parent(struct pool *p) {
    for_each_idle(p, unmark_wiped);
    lock_release(&p->lock);
}

void pool_after_fork_in_child(struct pool *p) {
    lock_reset(&p->lock);
    memset(&p->stats, 0, sizeof p->stats);
    atomic_store(&p->idle_bytes, 0);
    memset(p->stocked, 0, sizeof p->stocked);
    memset(p->buckets, 0, sizeof p->buckets);
}

/* Without a write to the record, which the child would have to copy first. */
static void adopt_live(struct pool *p, const struct block *b) {
    lock_acquire(&p->lock);
    size_t live = extent_bytes(block_held(b));
    gauge_add(&p->stats.reserved_bytes, live);
    gauge_add(&p->stats.allocated_bytes, live);
    gauge_add(&p->stats.requested_bytes, b->requested_bytes);
    stats_add(&p->stats.inherited_bytes, b->requested_bytes);
    lock_release(&p->lock);
}

/*
 * What another thread of the parent had MOVING is in no list of anybody: here it is found again.
 * A wiped block is zero already. It must lose the mark before it carries data of the child, whose own
 * children would find that wiped as well (madvise(2): the setting is inherited).
 */
void pool_adopt(struct pool *p, struct block *b) {
    if (block_state(b) == BLOCK_LIVE) {
        adopt_live(p, b);
        return;
    }
    if (block_state(b) == BLOCK_LOST) {
        return;
    }
    bool is_empty = b->wiped_on_fork ? p->backend->wipe_on_fork(p->backend, b, false)
                                     : p->backend->drain(p->backend, b);
    lock_acquire(&p->lock);
    if (is_empty) {
        b->wiped_on_fork = false;
        block_set_held(b, (struct extent){0});
        stock_push_empty(p, b);
    } else {
        stock_lose(p, b);
    }
    lock_release(&p->lock);
}

/* ---- invariants ---- */

bool pool_is_valid(struct pool *p) {
    lock_acquire(&p->lock);
    size_t live = gauge_current(&p->stats.allocated_bytes);
    bool valid =
        stock_is_valid(p) && pool_idle_bytes(p) + live == gauge_current(&p->stats.reserved_bytes);
    lock_release(&p->lock);
    return valid;
}
