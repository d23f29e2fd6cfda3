#include "pool/host.h"

#include <errno.h>

#include "pool/reclaim.h"
#include "pool/resize.h"

/* When memory is short, what was idle for a little while goes: nobody is about to take it. */
static const uint64_t CLEANUP_DECAY_MS = 1000;

/* A step of a program's loop takes less, most of the time. */
static const uint64_t STEADY_USE_MS = 100;

bool host_start(struct host *h, const struct host_config *config) {
    if (!host_arena_reserve(&h->arena, config->addresses, config->thp)) {
        return false;
    }
    h->records.record_bytes = sizeof(struct block);
    h->retention = config->retention;
    h->give_way = config->give_way;
    for (unsigned node = 0; node < HOST_NODES; node++) {
        host_backend_init(&h->backends[node], &h->arena, config->thp,
                          config->mappings_limit / 2 / HOST_NODES);
        h->backends[node].backend.id = node;
        h->backends[node].backend.cannot_move = !config->recycle;
        pool_init(&h->pools[node], &h->backends[node].backend, &h->records);
    }
    return true;
}

/* The node whose memory the calling thread should get. */
static struct pool *home_pool(struct host *h) {
    return &h->pools[0];
}

/* ---- how much stays idle ---- */

static size_t live_bytes(const struct pool *p) {
    return gauge_current(&p->stats.allocated_bytes);
}

static void keep(struct pool *p, size_t idle_max) {
    if (UNLIKELY(pool_idle_bytes(p) > idle_max)) {
        (void)reclaim_beyond(p, idle_max, &p->stats.capped_bytes);
    }
}

/* Memory has grown, though some is idle that could not be lent: it goes back for what is new. Where
 * nothing is ever lent, a plain cache is what is left, and the faster for keeping it. */
static void keep_growing(const struct host *h, struct pool *p) {
    size_t live = live_bytes(p);
    size_t peak = stats_read(&p->stats.allocated_bytes.peak);
    keep(p, backend_can_move(p->backend) ? retention_idle_max_growing(&h->retention, live, peak)
                                         : retention_idle_max(&h->retention, live));
}

/* Everything that nobody uses, ours and others'. False: there was nothing. */
static bool reclaim_all(struct host *h) {
    bool others = h->give_way != NULL && h->give_way();
    bool promised = false;
    for (unsigned node = 0; node < HOST_NODES; node++) {
        promised = reclaim_promises(&h->pools[node], NEVER) || promised;
    }
    return host_drain(h, HOST_REFUSED) > 0 || others || promised;
}

/* ---- requests ---- */

static struct block *fill(struct host *h, size_t bytes, enum pool_pages pages,
                          enum fill_result *result) {
    struct pool *p = home_pool(h);
    uint64_t start_us = clock_us();
    int saved_errno = errno;
    struct block *b = pool_fill(p, bytes, pages, result);
    if (b == NULL && *result == FILL_REFUSED && reclaim_all(h)) {
        pool_add(p, &p->stats.oom_retries, 1);
        b = pool_fill(p, bytes, pages, result);
    }
    if (b == NULL) {
        bool refused = *result == FILL_REFUSED;
        pool_add(p, refused ? &p->stats.failures : &p->stats.passed, 1);
    } else if (bytes <= h->retention.memory_limit) {
        /* More than there is can only be meant to stay empty for the most part. */
        keep_growing(h, p);
    }
    errno = saved_errno;
    pool_add(p, &p->stats.miss_us, clock_us() - start_us);
    return b;
}

struct block *host_acquire(struct host *h, size_t bytes, enum pool_pages pages,
                           enum fill_result *result) {
    struct block *b = pool_acquire(home_pool(h), bytes, pages);
    return LIKELY(b != NULL) ? b : fill(h, bytes, pages, result);
}

bool host_release(struct host *h, struct block *b, uint64_t now_ms) {
    struct pool *p = b->home;
    int saved_errno = errno;
    bool released = UNLIKELY(b->is_altered) ? pool_discard(p, b) : pool_release(p, b, now_ms);
    if (UNLIKELY(!released)) {
        return false;
    }
    keep(p, retention_idle_max(&h->retention, live_bytes(p)));
    errno = saved_errno;
    return true;
}

struct block *host_resize(struct host *h, struct block *b, size_t bytes, uint64_t now_ms) {
    struct pool *p = b->home;
    enum fill_result result = FILL_OK;
    int saved_errno = errno;
    if (resize_in_place(p, b, bytes)) {
        resize_shed(p, b, now_ms);
    } else {
        b = resize_by_moving(p, b, bytes, &result);
    }
    if (b != NULL) {
        keep_growing(h, p);
    }
    errno = saved_errno;
    return b;
}

/* ---- giving back ---- */

size_t host_drain(struct host *h, enum host_cause cause) {
    size_t sum = 0;
    for (unsigned node = 0; node < HOST_NODES; node++) {
        struct stats *s = &h->pools[node].stats;
        sum += reclaim_beyond(&h->pools[node], 0,
                              cause == HOST_TRIMMED ? &s->trimmed_bytes : &s->refused_bytes);
    }
    return sum;
}

static void tick_pool(const struct host *h, struct pool *p, uint64_t now_ms,
                      enum pressure_level level) {
    const struct retention *r = &h->retention;
    size_t reserve = retention_idle_min(r, live_bytes(p));
    uint64_t aged = retention_cutoff_ms(r->decay_ms, now_ms);
    (void)reclaim_aged(p, aged, reserve, &p->stats.aged_bytes);
    (void)reclaim_promises(p, aged);
    switch (level) {
    case PRESSURE_NONE: return;
    case PRESSURE_CLEANUP:
        (void)reclaim_aged(p, retention_cutoff_ms(CLEANUP_DECAY_MS, now_ms), 0,
                           &p->stats.pressed_bytes);
        pool_add(p, &p->stats.pressure_events, 1);
        return;
    case PRESSURE_EMERGENCY:
        (void)reclaim_beyond(p, 0, &p->stats.pressed_bytes);
        pool_add(p, &p->stats.pressure_events, 1);
        pool_add(p, &p->stats.emergencies, 1);
        return;
    }
}

uint64_t host_tick(struct host *h, uint64_t now_ms, enum pressure_level level) {
    uint64_t due = NEVER;
    for (unsigned node = 0; node < HOST_NODES; node++) {
        struct pool *p = &h->pools[node];
        tick_pool(h, p, now_ms, level);
        uint64_t oldest = reclaim_oldest_ms(p);
        due = oldest < due ? oldest : due;
    }
    return due == NEVER ? NEVER : retention_due_ms(h->retention.decay_ms, due);
}

void host_before_silence(struct host *h, uint64_t now_ms) {
    for (unsigned node = 0; node < HOST_NODES; node++) {
        struct pool *p = &h->pools[node];
        (void)reclaim_aged(p, retention_cutoff_ms(STEADY_USE_MS, now_ms),
                           retention_idle_min(&h->retention, live_bytes(p)), &p->stats.aged_bytes);
    }
}

/* What is touched at once: the thread that does it may be asked to stop. */
static const size_t PREFAULT_PIECE = 64 * MIB;

bool host_prefault(struct host *h, uint64_t now_ms) {
    struct pool *p = home_pool(h);
    size_t reserve = size_min(h->retention.reserve, retention_idle_max(&h->retention, 0));
    size_t missing = size_minus(reserve, gauge_current(&p->stats.reserved_bytes));
    size_t bytes = size_min(round_up(missing, GRANULE), PREFAULT_PIECE);
    return bytes != 0 && pool_prefault(p, bytes, now_ms);
}

size_t host_idle_bytes(const struct host *h) {
    size_t sum = 0;
    for (unsigned node = 0; node < HOST_NODES; node++) {
        sum += pool_idle_bytes(&h->pools[node]);
    }
    return sum;
}

/* ---- fork ---- */

/* Rank order: the pools by node, then the arena, then the records. */
void host_before_fork(struct host *h) UNCHECKED_LOCKING {
    for (unsigned node = 0; node < HOST_NODES; node++) {
        pool_before_fork(&h->pools[node]);
    }
    lock_acquire(&h->arena.lock);
    lock_acquire(&h->records.lock);
}

void host_after_fork_in_parent(struct host *h) UNCHECKED_LOCKING {
    lock_release(&h->records.lock);
    lock_release(&h->arena.lock);
    for (unsigned node = HOST_NODES; node-- > 0;) {
        pool_after_fork_in_parent(&h->pools[node]);
    }
}

void host_after_fork_in_child(struct host *h) UNCHECKED_LOCKING {
    lock_reset(&h->records.lock);
    lock_reset(&h->arena.lock);
    for (unsigned node = 0; node < HOST_NODES; node++) {
        pool_after_fork_in_child(&h->pools[node]);
    }
    size_t cursor = 0;
    for (struct block *b = arena_next(&h->arena, &cursor); b != NULL;
         b = arena_next(&h->arena, &cursor)) {
        pool_adopt(b->home, b);
    }
}
