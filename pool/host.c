#include "pool/host.h"

#include <errno.h>
#include <sched.h>

#include "pool/reclaim.h"
#include "pool/resize.h"

/* When memory is short, what was idle for a little while goes: nobody is about to take it. */
static const uint64_t CLEANUP_DECAY_MS = 1000;

/* A step of a program's loop takes less, most of the time. */
static const uint64_t STEADY_USE_MS = 100;

/* Neighbours of one node are one mapping; but a limited arena has to do for all nodes. */
static size_t span_step(const struct arena *a, unsigned pools) {
    static const size_t most = 16 * GIB;
    static const size_t spans_at_least = 16;
    return pools > 1 ? size_min(most, round_down(a->bytes / pools / spans_at_least, GRANULE)) : 0;
}

static void start_pool(struct host *h, const struct host_config *config, unsigned i) {
    struct host_backend *b = &h->backends[i];
    const struct home *home = &h->placement.homes[i];
    host_backend_init(b, &h->arena, config->thp, config->mappings_limit / 2 / h->placement.pools);
    b->backend.id = home->node;
    b->backend.cannot_move = !config->recycle;
    b->span.step = span_step(&h->arena, h->placement.pools);
    if (home->binding.kind != BINDING_NONE) {
        host_backend_bind(b, config->companion, &home->binding);
    }
    pool_init(&h->pools[i], &b->backend, &h->records);
}

bool host_start(struct host *h, const struct host_config *config) {
    static const struct placement one_pool = {.pools = 1, .note = ""};
    if (!host_arena_reserve(&h->arena, config->addresses, config->thp)) {
        return false;
    }
    h->records.record_bytes = sizeof(struct block);
    h->placement = config->placement != NULL ? *config->placement : one_pool;
    h->companion = config->companion;
    h->retention = config->retention;
    h->share = retention_share(&config->retention, h->placement.pools);
    h->give_way = config->give_way;
    h->resident = config->resident;
    h->is_strict = config->is_strict;
    for (unsigned i = 0; i < h->placement.pools; i++) {
        start_pool(h, config, i);
    }
    /* Last: a child that is forked now, or a thread that ends the process, reports on these. */
    atomic_thread_fence(memory_order_release);
    h->pool_count = h->placement.pools;
    return true;
}

/* The processor may change at any time: it is a wish. getcpu(2). */
ASIDE static struct pool *pool_of_this_node(struct host *h) {
    unsigned node = 0;
    (void)getcpu(NULL, &node);
    return &h->pools[h->placement.pool_of[node % NODE_IDS]];
}

/* Whose memory the calling thread should get. */
static struct pool *home_pool(struct host *h) {
    return LIKELY(h->pool_count == 1) ? &h->pools[0] : pool_of_this_node(h);
}

/* ---- how much stays idle ---- */

static size_t live_bytes(const struct pool *p) {
    return gauge_current(&stock_figures(p)->stats.allocated_bytes);
}

static size_t all_live_bytes(const struct host *h) {
    size_t sum = 0;
    for (unsigned i = 0; i < h->pool_count; i++) {
        sum += live_bytes(&h->pools[i]);
    }
    return sum;
}

/* The pool with the block that has been idle for longest. */
static struct pool *longest_idle(struct host *h) {
    struct pool *longest = &h->pools[0];
    uint64_t oldest_ms = NEVER;
    for (unsigned i = 0; i < h->pool_count; i++) {
        uint64_t idle_ms = reclaim_oldest_ms(&h->pools[i]);
        if (idle_ms < oldest_ms) {
            longest = &h->pools[i];
            oldest_ms = idle_ms;
        }
    }
    return longest;
}

/* Until so much is idle in all pools together. Preserves errno. */
ASIDE static void keep(struct host *h, size_t idle_max) {
    int saved_errno = errno;
    size_t excess = 0;
    size_t released = 1;
    while (released != 0 && (excess = size_minus(host_idle_bytes(h), idle_max)) != 0) {
        struct pool *p = longest_idle(h);
        size_t rest = size_minus(pool_idle_bytes(p), excess);
        released = reclaim_beyond(p, rest, &p->own.stats.capped_bytes);
    }
    errno = saved_errno;
}

/* After a block became idle. No look at other pools, nor at their lines, as long as this one is within
 * what it may hold in any case. */
static void keep_all(struct host *h, const struct pool *p) {
    if (UNLIKELY(pool_idle_bytes(p) > retention_idle_max(&h->share, live_bytes(p)))) {
        keep(h, retention_idle_max(&h->retention, all_live_bytes(h)));
    }
}

/* The most that was live since the last look. It is exact for one pool; of several it is known at the moments when
 * memory grows. */
static size_t live_lately(struct host *h) {
    size_t highest = 0;
    size_t live = 0;
    for (unsigned i = 0; i < h->pool_count; i++) {
        struct pool *p = &h->pools[i];
        stock_lock(p);
        highest = size_max(highest, stock_look(p, LOOK_OF_RETENTION).live);
        live += gauge_current(&p->figures->stats.allocated_bytes);
        stock_unlock(p);
    }
    return size_max(highest, live);
}

/* To ask for it takes 5 to 40 us. */
static const uint64_t OTHERS_MS = 50;

/* What the process has besides the pools, which held so much. */
static void look_at_others(struct host *h, size_t held, uint64_t now_ms) REQUIRES(h->needed_lock) {
    if (h->resident == NULL || now_ms - h->others_ms < OTHERS_MS) {
        return;
    }
    size_t resident = h->resident();
    h->others_ms = now_ms;
    if (resident != 0) {
        h->needed.others = (ptrdiff_t)(resident - held);
    }
}

/* So much may be held now; `held` was, of which the system knows by now. */
static size_t needed_now(struct host *h, size_t held) {
    uint64_t now_ms = clock_coarse_ms();
    size_t live = live_lately(h);
    lock_acquire(&h->needed_lock);
    look_at_others(h, held, now_ms);
    h->needed = needed_at(h->needed, live, now_ms, h->retention.decay_ms);
    size_t bytes = needed_bytes(&h->needed);
    lock_release(&h->needed_lock);
    return bytes;
}

void host_expect_peak(struct host *h, size_t bytes, uint64_t now_ms) {
    h->expected_peak = bytes;
    h->needed = (struct needed){.expected = bytes, .period_start_ms = now_ms};
}

/* Memory has grown, though some is idle that could not be lent: it goes back for what is new. Where
 * nothing is ever lent, a plain cache is what is left, and the faster for keeping it. */
static void keep_growing(struct host *h, const struct pool *p, size_t held) {
    size_t live = all_live_bytes(h);
    if (backend_can_move(p->backend)) {
        keep(h, retention_idle_max_growing(&h->retention, live, needed_now(h, held)));
    } else {
        keep(h, retention_idle_max(&h->retention, live));
    }
}

/* Everything that nobody uses, ours and others'. False: there was nothing. */
static bool reclaim_all(struct host *h) {
    bool others = h->give_way != NULL && h->give_way();
    return host_step_aside(h) || others;
}

/* ---- requests ---- */

struct request {
    size_t bytes;
    enum pool_pages pages;
};

/* An idle block of another node, the nearest first. */
static struct block *acquire_elsewhere(struct host *h, const struct pool *home, struct request r) {
    const uint8_t *nearest = h->placement.homes[home - h->pools].nearest;
    for (unsigned i = 1; i < h->pool_count; i++) {
        struct pool *p = &h->pools[nearest[i]];
        struct block *b = pool_acquire(p, r.bytes, r.pages);
        if (b != NULL) {
            pool_add(p, &p->own.stats.remote_hits, 1);
            return b;
        }
    }
    return NULL;
}

static struct block *fill(struct host *h, struct pool *p, struct request r,
                          enum fill_result *result) {
    size_t held = host_held_bytes(h);
    struct block *b = pool_fill(p, r.bytes, r.pages, result);
    if (b != NULL && r.bytes <= h->retention.memory_limit) {
        /* More than there is can only be meant to stay empty for the most part. */
        keep_growing(h, p, held);
    }
    return b;
}

static struct block *fill_or_reclaim(struct host *h, struct pool *p, struct request r,
                                     enum fill_result *result) {
    struct block *b = fill(h, p, r, result);
    if (b == NULL) {
        b = acquire_elsewhere(h, p, r);
    }
    if (b == NULL && *result == FILL_REFUSED && reclaim_all(h)) {
        pool_add(p, &p->own.stats.oom_retries, 1);
        b = fill(h, p, r, result);
    }
    if (b == NULL) {
        pool_add(p, *result == FILL_REFUSED ? &p->own.stats.failures : &p->own.stats.passed, 1);
    }
    return b;
}

static bool is_tight(const struct host *h, size_t bytes) {
    return h->pool_count > 1 &&
           bytes > size_minus(retention_usable(&h->retention), host_held_bytes(h));
}

ASIDE static struct block *miss(struct host *h, struct pool *p, struct request r,
                                enum fill_result *result) {
    uint64_t start_us = clock_us();
    int saved_errno = errno;
    struct block *b = is_tight(h, r.bytes) ? acquire_elsewhere(h, p, r) : NULL;
    if (b == NULL) {
        b = fill_or_reclaim(h, p, r, result);
    }
    errno = saved_errno;
    pool_add(p, &p->own.stats.miss_us, clock_us() - start_us);
    return b;
}

/* Flat: a call on the way would take a twentieth of a hit. What few take stays apart (ASIDE). */
__attribute__((flatten)) struct block *
host_acquire(struct host *h, size_t bytes, enum pool_pages pages, enum fill_result *result) {
    struct pool *p = home_pool(h);
    struct block *b = pool_acquire(p, bytes, pages);
    return LIKELY(b != NULL) ? b
                             : miss(h, p, (struct request){.bytes = bytes, .pages = pages}, result);
}

struct pool *host_pool_here(struct host *h) {
    return home_pool(h);
}

/* errno is saved by what may change it: to ask for it takes a call. */
ASIDE static bool discard(struct pool *p, struct block *b) {
    int saved_errno = errno;
    bool live = pool_discard(p, b, &p->own.stats.altered_bytes);
    errno = saved_errno;
    return live;
}

__attribute__((flatten)) bool host_release(struct host *h, struct block *b, uint64_t now_ms) {
    struct pool *p = b->home;
    bool released = UNLIKELY(b->is_altered) ? discard(p, b) : pool_release(p, b, now_ms);
    if (LIKELY(released)) {
        keep_all(h, p);
    }
    return released;
}

struct block *host_resize(struct host *h, struct block *b, size_t bytes, uint64_t now_ms) {
    struct pool *p = b->home;
    enum fill_result result = FILL_OK;
    int saved_errno = errno;
    size_t held = host_held_bytes(h);
    if (resize_in_place(p, b, bytes)) {
        resize_shed(p, b, now_ms);
    } else {
        b = resize_by_moving(p, b, bytes, &result);
    }
    if (b != NULL) {
        keep_growing(h, p, held);
    }
    errno = saved_errno;
    return b;
}

/* ---- memory that devices know ---- */

static void for_each_in(const struct arena *a, const void *address, size_t bytes,
                        void (*visit)(struct pool *p, struct block *b)) {
    const struct block *last = NULL;
    const char *end = (const char *)address + bytes;
    const char *from = (const char *)address - (uintptr_t)address % GRANULE;
    for (const char *at = from; at < end; at += GRANULE) {
        struct block *b = arena_owns(a, at) ? arena_find(a, at) : NULL;
        if (b != NULL && b != last) {
            visit(b->home, b);
        }
        last = b;
    }
}

void host_register(struct host *h, const void *address, size_t bytes) {
    for_each_in(&h->arena, address, bytes, pool_register);
}

void host_unregister(struct host *h, const void *address, size_t bytes) {
    for_each_in(&h->arena, address, bytes, pool_unregister);
}

/* ---- giving back ---- */

size_t host_trim(struct host *h) {
    size_t sum = 0;
    for (unsigned i = 0; i < h->pool_count; i++) {
        struct pool *p = &h->pools[i];
        sum += reclaim_beyond(p, 0, &p->own.stats.trimmed_bytes);
    }
    return sum;
}

bool host_step_aside(struct host *h) {
    bool had_any = false;
    for (unsigned i = 0; i < h->pool_count; i++) {
        struct pool *p = &h->pools[i];
        bool promised = reclaim_promises(p, NEVER);
        had_any = reclaim_beyond(p, 0, &p->own.stats.refused_bytes) > 0 || promised || had_any;
    }
    return had_any;
}

/* What became idle in the pool before that goes back, but for the reserve, to which all pools count. */
static void age(const struct host *h, struct pool *p, uint64_t before_ms) {
    size_t held = host_held_bytes(h) - pool_idle_bytes(p);
    size_t reserve = retention_idle_min(&h->retention, held);
    (void)reclaim_aged(p, before_ms, reserve, &p->own.stats.aged_bytes);
}

static void tick_pool(const struct host *h, struct pool *p, uint64_t now_ms,
                      enum pressure_level level) {
    uint64_t aged = retention_cutoff_ms(h->retention.decay_ms, now_ms);
    age(h, p, aged);
    (void)reclaim_promises(p, aged);
    switch (level) {
    case PRESSURE_NONE: return;
    case PRESSURE_CLEANUP:
        (void)reclaim_aged(p, retention_cutoff_ms(CLEANUP_DECAY_MS, now_ms), 0,
                           &p->own.stats.pressed_bytes);
        return;
    case PRESSURE_EMERGENCY: (void)reclaim_beyond(p, 0, &p->own.stats.pressed_bytes); return;
    }
}

/* Memory is short for the process, whatever number of pools it has: it counts once. */
static void count_pressure(struct pool *first, enum pressure_level level) {
    if (level != PRESSURE_NONE) {
        pool_add(first, &first->own.stats.pressure_events, 1);
    }
    if (level == PRESSURE_EMERGENCY) {
        pool_add(first, &first->own.stats.emergencies, 1);
    }
}

uint64_t host_tick(struct host *h, uint64_t now_ms, enum pressure_level level) {
    uint64_t due = NEVER;
    count_pressure(&h->pools[0], level);
    for (unsigned i = 0; i < h->pool_count; i++) {
        struct pool *p = &h->pools[i];
        tick_pool(h, p, now_ms, level);
        uint64_t oldest = reclaim_oldest_ms(p);
        due = oldest < due ? oldest : due;
    }
    return due == NEVER ? NEVER : retention_due_ms(h->retention.decay_ms, due);
}

void host_before_silence(struct host *h, uint64_t now_ms) {
    for (unsigned i = 0; i < h->pool_count; i++) {
        age(h, &h->pools[i], retention_cutoff_ms(STEADY_USE_MS, now_ms));
    }
}

void host_shrink(struct host *h, size_t bytes) {
    for (unsigned i = 0; i < h->pool_count; i++) {
        host_backend_shrink(&h->backends[i]);
    }
    host_arena_shrink(&h->arena, bytes);
}

/* Asked after every free: of one pool, which most machines have, without a loop. */
size_t host_idle_bytes(const struct host *h) {
    size_t sum = pool_idle_bytes(&h->pools[0]);
    for (unsigned i = 1; UNLIKELY(i < h->pool_count); i++) {
        sum += pool_idle_bytes(&h->pools[i]);
    }
    return sum;
}

size_t host_held_bytes(const struct host *h) {
    return all_live_bytes(h) + host_idle_bytes(h);
}

int host_bind_error(const struct host *h) {
    int error = 0;
    for (unsigned i = 0; i < h->pool_count && error == 0; i++) {
        error = atomic_load_explicit(&h->backends[i].bind_error, memory_order_relaxed);
    }
    return error;
}

/* ---- fork ---- */

/* Rank order: the pools by node, then what is needed, the arena, and the records. */
void host_before_fork(struct host *h) UNCHECKED_LOCKING {
    if (h->is_strict) {
        (void)host_step_aside(h);
    }
    for (unsigned i = 0; i < h->pool_count; i++) {
        pool_before_fork(&h->pools[i]);
    }
    lock_acquire(&h->needed_lock);
    lock_acquire(&h->arena.lock);
    lock_acquire(&h->records.lock);
}

void host_after_fork_in_parent(struct host *h) UNCHECKED_LOCKING {
    lock_release(&h->records.lock);
    lock_release(&h->arena.lock);
    lock_release(&h->needed_lock);
    for (unsigned i = h->pool_count; i-- > 0;) {
        pool_after_fork_in_parent(&h->pools[i]);
    }
}

void host_after_fork_in_child(struct host *h) UNCHECKED_LOCKING {
    lock_reset(&h->records.lock);
    lock_reset(&h->arena.lock);
    lock_reset(&h->needed_lock);
    h->needed = (struct needed){0};
    for (unsigned i = 0; i < h->pool_count; i++) {
        pool_after_fork_in_child(&h->pools[i]);
    }
    size_t cursor = 0;
    for (struct block *b = arena_next(&h->arena, &cursor); b != NULL;
         b = arena_next(&h->arena, &cursor)) {
        pool_adopt(b->home, b);
    }
}
