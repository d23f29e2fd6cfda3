#include "pool/pool.h"

#include <string.h>

#include "pool/reclaim.h"
#include "pool/recycle.h"
#include "pool/writer.h"

/* Without a terminator where it fills the room. */
static void set_name(char *room, size_t size, const char *name) {
    struct writer w = writer_to(-1, room, size);
    write_text(&w, name != NULL ? name : "");
}

void pool_init(struct pool *p, struct backend *backend, struct meta_records *records) {
    p->backend = backend;
    p->records = records;
    p->is_whole = backend->is_whole;
    p->slot = &stock_own_slot;
    p->own.id = backend->id;
    p->own.in_use = 1;
    p->own.device_bytes = backend->device_bytes;
    set_name(p->own.kind, sizeof p->own.kind, backend->kind);
    set_name(p->own.uuid, sizeof p->own.uuid, backend->uuid);
    set_name(p->own.pci_address, sizeof p->own.pci_address, backend->pci_address);
}

/* ---- acquire and release ---- */

static unsigned class_for(const struct pool *p, size_t bytes) {
    return size_class_of(UNLIKELY(p->is_whole) ? p->backend->rounded(p->backend, bytes) : bytes);
}

/* A request may take a block that is so many classes larger: at most a quarter of it stays unused. */
enum {
    REACH = 2
};

/*
 * The class itself, then the next larger one that has a block. (CNN training: 510 MiB with up to four
 * classes more, 585 with eight, as what is unused there is lent to nobody.) What has lent its
 * pages is no match: system calls are needed to use it.
 */
static bool fits(const struct pool *p, const struct block *b, size_t bytes) {
    struct extent needed = block_extent(b, bytes);
    return b->granules >= needed.granules &&
           (LIKELY(!p->is_whole) || b->tail_bytes >= needed.tail_bytes);
}

/* What blocks of one class hold differs where some have lent, or were made to measure. */
enum {
    LOOKS = 8
};

static struct block *newest_fit_in(const struct pool *p, unsigned c, size_t bytes)
    REQUIRES(p->lock) {
    struct block *b = p->buckets[c].newest;
    for (int looks = 1; b != NULL && !fits(p, b, bytes); looks++) {
        b = looks < LOOKS ? b->older : NULL;
    }
    return b;
}

ASIDE static struct block *newest_fit_from(const struct pool *p, unsigned c, size_t bytes)
    REQUIRES(p->lock) {
    unsigned last = (unsigned)size_min(c + REACH, SIZE_CLASSES - 1);
    while ((c = stock_next(p, c, last)) < SIZE_CLASSES) {
        struct block *b = newest_fit_in(p, c++, bytes);
        if (b != NULL) {
            return b;
        }
    }
    return NULL;
}

static struct block *newest_fit(const struct pool *p, unsigned c, size_t bytes) REQUIRES(p->lock) {
    struct block *b = p->buckets[c].newest;
    return LIKELY(b != NULL && fits(p, b, bytes)) ? b : newest_fit_from(p, c, bytes);
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
    stock_lock(p);
    size_t held = extent_bytes(block_held(b));
    block_set_held(b, block_extent(b, b->requested_bytes));
    size_t dropped = held - extent_bytes(block_held(b));
    gauge_sub(&p->figures->stats.allocated_bytes, dropped);
    gauge_sub(&p->figures->stats.reserved_bytes, dropped);
    stats_add(&p->figures->stats.released_bytes, dropped);
    stats_add(&p->figures->stats.exchanged_bytes, dropped);
    stock_unlock(p);
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
    pool_add(p, &p->own.stats.zeroed_bytes, bytes);
}

struct block *pool_acquire(struct pool *p, size_t bytes, enum pool_pages pages) {
    unsigned c = class_for(p, bytes);
    struct extent dirty = {0};
    stock_lock(p);
    struct block *b = newest_fit(p, c, bytes);
    if (LIKELY(b != NULL)) {
        stock_remove(p, b);
        dirty = block_held(b);
        stock_hand_out(p, b, bytes);
        stats_add(&p->figures->classes[c].hits, 1);
    }
    stock_unlock(p);
    if (UNLIKELY(pages == PAGES_ZERO && extent_bytes(dirty) != 0)) {
        zero(p, b, dirty);
    }
    return b;
}

bool pool_release(struct pool *p, struct block *b, uint64_t now_ms) {
    stock_lock(p);
    bool live = stock_take_back(p, b);
    if (LIKELY(live)) {
        b->freed_ms = now_ms;
        stock_push(p, b);
    }
    stock_unlock(p);
    return live;
}

/* ---- memory from the backend and back ---- */

static enum stock_holds holds(const struct pool *p, enum pool_pages pages) {
    return pages == PAGES_FRESH || p->is_whole ? HOLDS_NOTHING : HOLDS_ANYTHING;
}

/* Large zero pages are better fresh than moved and exchanged. */
static bool wants_pages(size_t bytes, enum pool_pages pages) {
    return pages == PAGES_ANY || (pages == PAGES_ZERO && bytes < LAZY_ZERO_FROM);
}

static enum fill_result fill(struct pool *p, struct block *b, size_t bytes, bool move) {
    enum fill_result result = p->backend->fill(p->backend, b, bytes);
    if (result != FILL_OK || !move) {
        return result;
    }
    bool kept = recycle_into(p, b, b->granules * GRANULE, block_extent(b, bytes));
    return kept ? FILL_OK : FILL_LOST;
}

/* b has come with all that it holds. */
static void note_whole(struct pool *p, const struct block *b) REQUIRES(p->lock) {
    size_t bytes = extent_bytes(block_held(b));
    struct bucket *bucket = &p->buckets[b->size_class];
    bucket->largest_bytes = size_max(bucket->largest_bytes, bytes);
    gauge_add(&p->figures->stats.reserved_bytes, bytes);
}

/* `b` after it was filled, or not: LIVE, or EMPTY. */
static void file_filled(struct pool *p, struct block *b, size_t bytes, bool filled)
    EXCLUDES(p->lock) {
    stock_lock(p);
    if (filled) {
        if (p->is_whole) {
            note_whole(p, b);
        }
        stock_hand_out(p, b, bytes);
        stats_add(&p->figures->classes[b->size_class].misses, 1);
        stats_add(&p->figures->stats.missed_bytes, bytes);
    } else {
        stock_push_empty(p, b);
    }
    stock_unlock(p);
}

struct block *pool_fill(struct pool *p, size_t bytes, enum pool_pages pages,
                        enum fill_result *result) {
    struct block *b = stock_take(p, class_for(p, bytes), holds(p, pages));
    *result = b != NULL ? fill(p, b, bytes, wants_pages(bytes, pages)) : FILL_REFUSED;
    if (*result == FILL_LOST) {
        b = stock_take(p, class_for(p, bytes), holds(p, pages));
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

/* Nothing is to be touched where all of it came with the address, which may be a device's. */
static void touch(const struct pool *p, const struct block *b, size_t bytes) {
    for (size_t at = 0; !p->is_whole && at < bytes; at += PAGE) {
        *(volatile char *)(b->address + at) = 0;
    }
}

bool pool_prefault(struct pool *p, size_t bytes, uint64_t now_ms) {
    struct block *b = stock_take(p, class_for(p, bytes), HOLDS_NOTHING);
    if (b == NULL) {
        return false;
    }
    bool filled = p->backend->fill(p->backend, b, bytes) == FILL_OK;
    if (filled) {
        touch(p, b, bytes);
    }
    stock_lock(p);
    if (filled) {
        if (p->is_whole) {
            note_whole(p, b);
        } else {
            gauge_add(&p->figures->stats.reserved_bytes, stock_use(b, bytes));
        }
        stock_grown(p);
        stats_add(&p->figures->stats.prefaulted_bytes, bytes);
        b->freed_ms = now_ms;
        stock_push(p, b);
    } else {
        stock_push_empty(p, b);
    }
    stock_unlock(p);
    return filled;
}

bool pool_hold(struct pool *p, struct block *b) {
    stock_lock(p);
    bool live = stock_take_back(p, b);
    stock_unlock(p);
    return live;
}

void pool_put(struct pool *p, struct block *b, uint64_t now_ms) {
    stock_lock(p);
    b->freed_ms = now_ms;
    stock_push(p, b);
    stock_unlock(p);
}

bool pool_forget(struct pool *p, struct block *b) {
    stock_lock(p);
    bool live = stock_take_back(p, b);
    if (block_state(b) == BLOCK_IDLE) {
        stock_remove(p, b);
    }
    gauge_sub(&p->figures->stats.reserved_bytes, extent_bytes(block_held(b)));
    block_set_held(b, (struct extent){0});
    b->address = NULL;
    b->committed = false;
    b->is_altered = false;
    stock_push_empty(p, b);
    stock_unlock(p);
    return live;
}

ASIDE bool pool_discard(struct pool *p, struct block *b, const _Atomic size_t *why) {
    stock_lock(p);
    bool live = stock_take_back(p, b);
    bool parked = live && stock_park(p, b);
    stock_unlock(p);
    if (live && !parked) {
        (void)reclaim_block(p, b, 0, why);
    }
    return live;
}

/* The most that can be counted stands for too many: such a block is never let go of. */
enum {
    REGISTRATIONS_MOST = UINT8_MAX
};

void pool_register(struct pool *p, struct block *b) {
    stock_lock(p);
    if (block_state(b) == BLOCK_LIVE && b->registrations < REGISTRATIONS_MOST) {
        b->registrations = (uint8_t)(b->registrations + 1);
        b->is_altered = true;
    }
    stock_unlock(p);
}

void pool_unregister(struct pool *p, struct block *b) {
    bool parked = false;
    stock_lock(p);
    if (b->registrations != 0 && b->registrations < REGISTRATIONS_MOST) {
        b->registrations = (uint8_t)(b->registrations - 1);
        parked = block_state(b) == BLOCK_PARKED && b->registrations == 0;
    }
    if (parked) {
        block_set_state(b, BLOCK_MOVING);
    }
    stock_unlock(p);
    if (parked) {
        (void)reclaim_block(p, b, 0, &p->own.stats.altered_bytes);
    }
}

void pool_tell_free(struct pool *p, size_t bytes) {
    stock_lock(p);
    stats_set(&p->figures->device_free_bytes, bytes);
    stock_unlock(p);
}

void pool_add(struct pool *p, const _Atomic size_t *counter, size_t n) {
    stock_lock(p);
    stats_add(stock_figure(p, counter), n);
    stock_unlock(p);
}

/* The copy is of the middle of a change, and so is its sequence, until stock_unlock ends both. */
void pool_show(struct pool *p, figures_slot *slot, struct figures *place) {
    stock_lock(p);
    struct figures *before = p->figures;
    memcpy(place, before, sizeof *place);
    atomic_store_explicit(slot, place, memory_order_release);
    atomic_store_explicit(&p->slot, slot, memory_order_relaxed);
    p->figures = place;
    figures_end(before);
    stock_unlock(p);
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
    gauge_sub(&p->figures->stats.reserved_bytes, extent_bytes(block_held(b)));
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

/* The figures stay readable meanwhile: a fork takes its time, and changes none. */
void pool_before_fork(struct pool *p) {
    lock_acquire(&p->lock);
    for_each_idle(p, mark_wiped);
}

void pool_after_fork_in_parent(struct pool *p) {
    stock_open(p);
    for_each_idle(p, unmark_wiped);
    stock_unlock(p);
}

/* Its slot is empty, as in every child. Its own figures may be those of before there was a live file. */
void pool_after_fork_in_child(struct pool *p) {
    lock_reset(&p->lock);
    p->slot = &stock_own_slot;
    p->marks = (struct marks){0};
    memset(p->seen, 0, sizeof p->seen);
    p->own.sequence = 0;
    p->own.idle_bytes = 0;
    memset(&p->own.stats, 0, sizeof p->own.stats);
    memset(p->own.classes, 0, sizeof p->own.classes);
    atomic_store(&p->idle_bytes, 0);
    memset(p->stocked, 0, sizeof p->stocked);
    memset(p->buckets, 0, sizeof p->buckets);
    p->expected = (struct profile_walk){0};
}

/* Without a write to the record, which the child would have to copy first. */
static void adopt_live(struct pool *p, const struct block *b) {
    stock_lock(p);
    size_t live = extent_bytes(block_held(b));
    gauge_add(&p->figures->stats.reserved_bytes, live);
    gauge_add(&p->figures->stats.allocated_bytes, live);
    gauge_add(&p->figures->stats.requested_bytes, b->requested_bytes);
    stats_add(&p->figures->classes[b->size_class].live, 1);
    stats_add(&p->figures->stats.inherited_bytes, b->requested_bytes);
    stock_grown(p);
    stock_unlock(p);
}

/*
 * What another thread of the parent had MOVING is in no list of anybody: here it is found again.
 * What a device knows are the pages of the parent. A wiped block is zero already. It must lose the mark before it carries data of the child, whose own
 * children would find that wiped as well (madvise(2): the setting is inherited).
 */
void pool_adopt(struct pool *p, struct block *b) {
    if (UNLIKELY(b->registrations != 0)) {
        b->registrations = 0;
    }
    if (block_state(b) == BLOCK_LIVE) {
        adopt_live(p, b);
        return;
    }
    if (block_state(b) == BLOCK_LOST) {
        return;
    }
    bool is_empty = b->wiped_on_fork ? p->backend->wipe_on_fork(p->backend, b, false)
                                     : p->backend->drain(p->backend, b);
    stock_lock(p);
    if (is_empty) {
        b->wiped_on_fork = false;
        block_set_held(b, (struct extent){0});
        stock_push_empty(p, b);
    } else {
        stock_lose(p, b);
    }
    stock_unlock(p);
}

/* ---- invariants ---- */

bool pool_is_valid(struct pool *p) {
    stock_lock(p);
    size_t live = gauge_current(&p->figures->stats.allocated_bytes);
    bool valid = stock_is_valid(p) &&
                 pool_idle_bytes(p) + live == gauge_current(&p->figures->stats.reserved_bytes);
    stock_unlock(p);
    return valid;
}
