#include "pool/reclaim.h"

#include "pool/clock.h"

/* Blocks that are to give memory back, chained by `older`; the last one perhaps not all of it. */
struct victims {
    struct block *first;
    struct block **end;
    size_t surplus; /* bytes of the last one that may stay */
};

static void add(struct victims *v, struct block *b) {
    b->older = NULL;
    *v->end = b;
    v->end = &b->older;
}

static bool is_more_idle(const struct pool *p, size_t than) {
    return stats_read(&p->idle_bytes) > than;
}

/* Tails of empty blocks, which are of use to one size only, then the oldest idle ones. */
static void collect_beyond(struct pool *p, size_t idle_max, struct victims *v) REQUIRES(p->lock) {
    struct block *b = NULL;
    for (unsigned c = SIZE_CLASSES; c-- > 0 && is_more_idle(p, idle_max);) {
        while (is_more_idle(p, idle_max) && (b = stock_pop_lent(p, c)) != NULL) {
            add(v, b);
        }
    }
    while (is_more_idle(p, idle_max) && (b = stock_oldest(p, 0)) != NULL) {
        stock_remove(p, b);
        add(v, b);
    }
}

/* Those of a list of empty blocks that have had memory, or the promise of it, since before `before_ms`.
 * The others keep their order. */
static void collect_empty(struct pool *p, struct block **list, uint64_t before_ms,
                          struct victims *v) REQUIRES(p->lock) {
    while (*list != NULL) {
        struct block *b = *list;
        if (b->committed && b->freed_ms < before_ms) {
            add(v, stock_pop(p, list));
        } else {
            list = &b->older;
        }
    }
}

static void collect_aged(struct pool *p, uint64_t before_ms, size_t idle_min, struct victims *v)
    REQUIRES(p->lock) {
    for (unsigned c = SIZE_CLASSES; c-- > 0 && is_more_idle(p, idle_min);) {
        struct block *b = NULL;
        collect_empty(p, &p->buckets[c].lent, before_ms, v);
        while (is_more_idle(p, idle_min) && (b = p->buckets[c].oldest) != NULL &&
               b->freed_ms < before_ms) {
            stock_remove(p, b);
            add(v, b);
        }
    }
}

/* Files a victim that gave back so many bytes. */
static size_t file(struct pool *p, struct block *b, size_t bytes, const _Atomic size_t *why)
    EXCLUDES(p->lock) {
    stock_lock(p);
    stock_file(p, b);
    stats_add(&p->figures->stats.released_blocks, bytes != 0 && block_state(b) == BLOCK_EMPTY);
    stats_add(&p->figures->stats.released_bytes, bytes);
    stats_add(stock_figure(p, why), bytes);
    gauge_sub(&p->figures->stats.reserved_bytes, bytes);
    stock_unlock(p);
    return bytes;
}

/* When a block became idle that gave its memory back, but not the promise of it: no hole was to be had in its place, and
 * time will not change that. It is tried again when the system refuses something. */
static const uint64_t AGELESS = NEVER - 1;

/* Nobody may have a block that the program has made read-only, or the like. */
static void lose(struct pool *p, struct block *b, size_t bytes) EXCLUDES(p->lock) {
    stock_lock(p);
    gauge_sub(&p->figures->stats.reserved_bytes, bytes);
    stock_lose(p, b);
    stock_unlock(p);
}

size_t reclaim_block(struct pool *p, struct block *b, size_t moved, const _Atomic size_t *why) {
    size_t held = extent_bytes(block_held(b));
    if (p->backend->drain(p->backend, b)) {
        b->freed_ms = b->committed ? AGELESS : b->freed_ms;
        return file(p, b, held - moved, why);
    }
    if (b->is_altered) {
        lose(p, b, held - moved);
        return 0;
    }
    b->freed_ms = b->freed_ms == AGELESS ? 0 : b->freed_ms;
    if (moved != 0) {
        stock_lock(p);
        gauge_add(&p->figures->stats.reserved_bytes, moved);
        stock_grown(p);
        stock_unlock(p);
    }
    return file(p, b, 0, why);
}

/* The end of a block goes back; its first granules stay, as many as `keep` bytes make. */
static size_t trim(struct pool *p, struct block *b, size_t keep, const _Atomic size_t *why)
    EXCLUDES(p->lock) {
    struct extent left = {.granules = (uint32_t)size_min(b->granules, keep / GRANULE)};
    if (left.granules == 0 || p->is_whole) {
        return reclaim_block(p, b, 0, why);
    }
    size_t gone = extent_bytes(block_held(b)) - extent_bytes(left);
    if (p->backend->clear(p->backend, b, extent_bytes(left), block_held_end(b))) {
        block_set_held(b, left);
        return file(p, b, gone, why);
    }
    return file(p, b, 0, why);
}

static size_t drain_all(struct pool *p, const struct victims *v, const _Atomic size_t *why)
    EXCLUDES(p->lock) {
    size_t sum = 0;
    struct block *next = NULL;
    for (struct block *b = v->first; b != NULL; b = next) {
        next = b->older;
        sum += trim(p, b, next == NULL ? v->surplus : 0, why);
    }
    return sum;
}

size_t reclaim_beyond(struct pool *p, size_t idle_max, const _Atomic size_t *why) {
    struct victims v = {.end = &v.first};
    stock_lock(p);
    collect_beyond(p, idle_max, &v);
    v.surplus = size_minus(idle_max, stats_read(&p->idle_bytes));
    stock_unlock(p);
    return drain_all(p, &v, why);
}

size_t reclaim_aged(struct pool *p, uint64_t before_ms, size_t idle_min,
                    const _Atomic size_t *why) {
    struct victims v = {.end = &v.first};
    stock_lock(p);
    collect_aged(p, before_ms, idle_min, &v);
    v.surplus = size_minus(idle_min, stats_read(&p->idle_bytes));
    stock_unlock(p);
    return drain_all(p, &v, why);
}

uint64_t reclaim_oldest_ms(struct pool *p) {
    stock_lock(p);
    const struct block *b = stock_oldest(p, 0);
    uint64_t freed_ms = b != NULL ? b->freed_ms : NEVER;
    stock_unlock(p);
    return freed_ms;
}

bool reclaim_promises(struct pool *p, uint64_t before_ms) {
    struct victims v = {.end = &v.first};
    stock_lock(p);
    for (unsigned c = 0; c < SIZE_CLASSES; c++) {
        collect_empty(p, &p->buckets[c].empty, before_ms, &v);
    }
    stock_unlock(p);
    (void)drain_all(p, &v, &p->own.stats.aged_bytes);
    return v.first != NULL;
}
