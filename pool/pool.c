#include "pool/pool.h"

#include <string.h>

void pool_init(struct pool *p, struct backend *backend, struct meta_records *records) {
    p->backend = backend;
    p->records = records;
}

/* ---- the lists of a bucket ---- */

static struct bucket *bucket_of(struct pool *p, const struct block *b) {
    return &p->buckets[b->size_class];
}

static void idle_push(struct pool *p, struct block *b) REQUIRES(p->lock) {
    struct bucket *bucket = bucket_of(p, b);
    block_set_state(b, BLOCK_IDLE);
    b->newer = NULL;
    b->older = bucket->newest;
    *(bucket->newest != NULL ? &bucket->newest->newer : &bucket->oldest) = b;
    bucket->newest = b;
    stats_add(&bucket->idle, 1);
    stats_add(&p->idle_bytes, block_bytes(b));
}

/* In no list, a block is MOVING. */
static void idle_remove(struct pool *p, struct block *b) REQUIRES(p->lock) {
    struct bucket *bucket = bucket_of(p, b);
    *(b->newer != NULL ? &b->newer->older : &bucket->newest) = b->older;
    *(b->older != NULL ? &b->older->newer : &bucket->oldest) = b->newer;
    block_set_state(b, BLOCK_MOVING);
    stats_add(&bucket->idle, (size_t)-1);
    stats_add(&p->idle_bytes, 0 - block_bytes(b));
}

static void empty_push(struct pool *p, struct block *b) REQUIRES(p->lock) {
    struct bucket *bucket = bucket_of(p, b);
    block_set_state(b, BLOCK_EMPTY);
    b->older = bucket->empty;
    bucket->empty = b;
}

static struct block *empty_pop(struct bucket *bucket) {
    struct block *b = bucket->empty;
    if (b != NULL) {
        bucket->empty = b->older;
        block_set_state(b, BLOCK_MOVING);
    }
    return b;
}

/* ---- acquire and release ---- */

static void count_live(struct pool *p, const struct block *b) REQUIRES(p->lock) {
    gauge_add(&p->stats.allocated_bytes, block_bytes(b));
    gauge_add(&p->stats.requested_bytes, b->requested_bytes);
}

static void hand_out(struct pool *p, struct block *b, size_t bytes) REQUIRES(p->lock) {
    block_set_state(b, BLOCK_LIVE);
    b->requested_bytes = bytes;
    count_live(p, b);
}

/*
 * The class itself, then the next larger one that has a block, up to the double: its memory is there
 * already, where a fresh block would be more of it. (Variable shapes: 1050 MiB with one class up, 660
 * with a doubling, and fewer faults. Beyond, small requests take the blocks that large ones need.)
 */
static struct block *newest_fit(const struct pool *p, unsigned c) REQUIRES(p->lock) {
    size_t last = size_min(c + SIZE_CLASS_STEPS, SIZE_CLASSES - 1);
    struct block *b = p->buckets[c].newest;
    while (b == NULL && c < last) {
        b = p->buckets[++c].newest;
    }
    return b;
}

struct block *pool_acquire(struct pool *p, size_t bytes) {
    unsigned c = size_class_of(bytes);
    lock_acquire(&p->lock);
    struct block *b = newest_fit(p, c);
    if (b != NULL) {
        idle_remove(p, b);
        hand_out(p, b, bytes);
        stats_add(&p->buckets[c].hits, 1);
    }
    lock_release(&p->lock);
    return b;
}

/* The other way: the block is MOVING then. False, and nothing done, where it was not LIVE. */
static bool take_back(struct pool *p, struct block *b) REQUIRES(p->lock) {
    if (UNLIKELY(block_state(b) != BLOCK_LIVE)) {
        return false;
    }
    gauge_sub(&p->stats.allocated_bytes, block_bytes(b));
    gauge_sub(&p->stats.requested_bytes, b->requested_bytes);
    b->dirty_bytes = size_max(b->dirty_bytes, block_usable_bytes(b));
    b->requested_bytes = 0;
    block_set_state(b, BLOCK_MOVING);
    return true;
}

bool pool_release(struct pool *p, struct block *b, uint64_t now_ms) {
    lock_acquire(&p->lock);
    bool live = take_back(p, b);
    if (LIKELY(live)) {
        b->freed_ms = now_ms;
        idle_push(p, b);
    }
    lock_release(&p->lock);
    return live;
}

bool pool_resize(struct pool *p, struct block *b, size_t bytes) {
    if (bytes > block_bytes(b)) {
        return false;
    }
    lock_acquire(&p->lock);
    size_t grown = size_minus(bytes, b->requested_bytes);
    gauge_add(&p->stats.requested_bytes, grown);
    stats_add(&p->stats.grown_bytes, grown);
    gauge_sub(&p->stats.requested_bytes, size_minus(b->requested_bytes, bytes));
    b->dirty_bytes = size_max(b->dirty_bytes, block_usable_bytes(b));
    b->requested_bytes = bytes;
    lock_release(&p->lock);
    return true;
}

/* ---- memory from the backend and back ---- */

static struct block *block_create(struct pool *p, unsigned c) {
    struct block *b = meta_record(p->records);
    if (b != NULL) {
        b->home = p;
        b->size_class = (uint16_t)c;
        block_set_state(b, BLOCK_MOVING);
    }
    return b;
}

struct block *pool_fill(struct pool *p, size_t bytes, enum fill_result *result) {
    unsigned c = size_class_of(bytes);
    struct bucket *bucket = &p->buckets[c];
    lock_acquire(&p->lock);
    struct block *b = empty_pop(bucket);
    lock_release(&p->lock);
    if (b == NULL && (b = block_create(p, c)) == NULL) {
        *result = FILL_REFUSED;
        return NULL;
    }
    *result = p->backend->fill(p->backend, b);
    lock_acquire(&p->lock);
    if (*result == FILL_OK) {
        gauge_add(&p->stats.reserved_bytes, block_bytes(b));
        hand_out(p, b, bytes);
        stats_add(&bucket->misses, 1);
        stats_add(&p->stats.missed_bytes, bytes);
    } else {
        empty_push(p, b);
    }
    lock_release(&p->lock);
    return *result == FILL_OK ? b : NULL;
}

static struct block *oldest_idle(const struct pool *p) REQUIRES(p->lock) {
    struct block *oldest = NULL;
    for (unsigned c = 0; c < SIZE_CLASSES; c++) {
        struct block *b = p->buckets[c].oldest;
        if (b != NULL && (oldest == NULL || b->freed_ms < oldest->freed_ms)) {
            oldest = b;
        }
    }
    return oldest;
}

/* Takes victims out of the idle lists and chains them by `older`. */
static struct block *collect_oldest(struct pool *p, size_t bytes) REQUIRES(p->lock) {
    struct block *victims = NULL;
    struct block *b;
    for (size_t sum = 0; sum < bytes && (b = oldest_idle(p)) != NULL; sum += block_bytes(b)) {
        idle_remove(p, b);
        b->older = victims;
        victims = b;
    }
    return victims;
}

/* Files the drained victims as empty blocks, and says how many bytes they held. */
static size_t file_empty(struct pool *p, struct block *victims) REQUIRES(p->lock) {
    size_t sum = 0;
    while (victims != NULL) {
        struct block *b = victims;
        victims = b->older;
        sum += block_bytes(b);
        empty_push(p, b);
        stats_add(&p->stats.released_blocks, 1);
    }
    stats_add(&p->stats.released_bytes, sum);
    gauge_sub(&p->stats.reserved_bytes, sum);
    return sum;
}

static size_t drain_all(struct pool *p, struct block *victims) EXCLUDES(p->lock) {
    if (victims == NULL) {
        return 0;
    }
    for (struct block *b = victims; b != NULL; b = b->older) {
        p->backend->drain(p->backend, b);
    }
    lock_acquire(&p->lock);
    size_t sum = file_empty(p, victims);
    lock_release(&p->lock);
    return sum;
}

size_t pool_drain(struct pool *p, size_t bytes) {
    lock_acquire(&p->lock);
    struct block *victims = collect_oldest(p, bytes);
    lock_release(&p->lock);
    return drain_all(p, victims);
}

size_t pool_keep(struct pool *p, size_t idle_max) {
    lock_acquire(&p->lock);
    struct block *victims = collect_oldest(p, size_minus(pool_idle_bytes(p), idle_max));
    lock_release(&p->lock);
    return drain_all(p, victims);
}

bool pool_discard(struct pool *p, struct block *b) {
    lock_acquire(&p->lock);
    bool live = take_back(p, b);
    lock_release(&p->lock);
    if (live) {
        b->older = NULL;
        (void)drain_all(p, b);
    }
    return live;
}

/*
 * Zeroing a warm block and filling it takes half the time of filling fresh pages, huge ones at that,
 * from 1 MiB to 1 GiB. But it also touches what the program may never look at (a sparse np.zeros):
 * very large blocks are exchanged for fresh pages, which takes a thousandth of the time.
 */
static const size_t CLEAR_BY_PAGES_FROM = 512 * MIB;

void pool_zero(struct pool *p, struct block *b) {
    size_t bytes = size_min(b->dirty_bytes, block_usable_bytes(b));
    if (bytes == 0) {
        return;
    }
    if (bytes >= CLEAR_BY_PAGES_FROM && p->backend->clear(p->backend, b, b->dirty_bytes)) {
        b->dirty_bytes = 0;
    } else {
        memset(b->address, 0, bytes);
    }
    lock_acquire(&p->lock);
    stats_add(&p->stats.zeroed_bytes, bytes);
    lock_release(&p->lock);
}

void pool_count(struct pool *p, _Atomic size_t *counter) {
    lock_acquire(&p->lock);
    stats_add(counter, 1);
    lock_release(&p->lock);
}

/* ---- fork ---- */

static void mark_wiped(struct pool *p, struct block *b) REQUIRES(p->lock) {
    b->wiped_on_fork = p->backend->wipe_on_fork(p->backend, b, true);
}

/* A block that kept the mark would be lost on the next child of the program, data and all: where the
 * mark does not come off, the block is retired, MOVING for ever. */
static void unmark_wiped(struct pool *p, struct block *b) REQUIRES(p->lock) {
    if (!b->wiped_on_fork || p->backend->wipe_on_fork(p->backend, b, false)) {
        b->wiped_on_fork = false;
        return;
    }
    idle_remove(p, b);
    gauge_sub(&p->stats.reserved_bytes, block_bytes(b));
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
    memset(p->buckets, 0, sizeof p->buckets);
}

/* Without a write to the record, which the child would have to copy first. */
static void adopt_live(struct pool *p, const struct block *b) {
    lock_acquire(&p->lock);
    gauge_add(&p->stats.reserved_bytes, block_bytes(b));
    count_live(p, b);
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
    if (!b->wiped_on_fork) {
        p->backend->drain(p->backend, b);
    } else if (p->backend->wipe_on_fork(p->backend, b, false)) {
        b->dirty_bytes = 0;
    } else {
        block_set_state(b, BLOCK_MOVING);
        return;
    }
    b->wiped_on_fork = false;
    lock_acquire(&p->lock);
    empty_push(p, b);
    lock_release(&p->lock);
}

/* ---- invariants ---- */

static bool bucket_is_valid(const struct bucket *bucket, unsigned c) {
    size_t idle = 0;
    const struct block *newer = NULL;
    for (const struct block *b = bucket->newest; b != NULL; newer = b, b = b->older) {
        if (b->newer != newer || b->size_class != c || block_state(b) != BLOCK_IDLE) {
            return false;
        }
        idle++;
    }
    return bucket->oldest == newer && stats_read(&bucket->idle) == idle;
}

bool pool_is_valid(struct pool *p) {
    lock_acquire(&p->lock);
    size_t idle_bytes = 0;
    bool valid = true;
    for (unsigned c = 0; c < SIZE_CLASSES && valid; c++) {
        valid = bucket_is_valid(&p->buckets[c], c);
        idle_bytes += stats_read(&p->buckets[c].idle) * size_class_bytes(c);
    }
    size_t live_bytes = gauge_current(&p->stats.allocated_bytes);
    valid = valid && idle_bytes == pool_idle_bytes(p) &&
            idle_bytes + live_bytes == gauge_current(&p->stats.reserved_bytes);
    lock_release(&p->lock);
    return valid;
}
