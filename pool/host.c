#include "pool/host.h"

#include <errno.h>

bool host_start(struct host *h, const struct host_config *config) {
    if (!host_arena_reserve(&h->arena, config->addresses, config->thp)) {
        return false;
    }
    h->records.record_bytes = sizeof(struct block);
    h->cache_max = config->cache_max;
    h->memory_limit = config->memory_limit;
    h->give_way = config->give_way;
    for (unsigned node = 0; node < HOST_NODES; node++) {
        host_backend_init(&h->backends[node], &h->arena, config->thp,
                          config->mappings_limit / 2 / HOST_NODES);
        h->backends[node].backend.id = node;
        pool_init(&h->pools[node], &h->backends[node].backend, &h->records);
    }
    return true;
}

/* The node whose memory the calling thread should get. */
static struct pool *home_pool(struct host *h) {
    return &h->pools[0];
}

/* A tenth of the limit stays free for what is not ours to count. */
size_t host_idle_allowance(size_t cache_max, size_t memory_limit, size_t live_bytes) {
    return size_min(cache_max, size_minus(memory_limit - memory_limit / 10, live_bytes));
}

/* Gives back what is idle beyond the allowance, `coming` bytes of new memory counted as live. */
static void keep_allowance(const struct host *h, struct pool *p, size_t coming) {
    size_t live = gauge_current(&p->stats.allocated_bytes) + coming;
    size_t allowance = host_idle_allowance(h->cache_max, h->memory_limit, live);
    if (UNLIKELY(pool_idle_bytes(p) > allowance)) {
        (void)pool_keep(p, allowance);
    }
}

/* Everything that nobody uses, ours and others'. False: there was nothing. */
static bool reclaim_all(struct host *h) {
    bool others = h->give_way != NULL && h->give_way();
    return host_drain(h) > 0 || others;
}

static struct block *fill(struct host *h, struct pool *p, size_t bytes, enum fill_result *result) {
    /* More than there is can only be meant to stay empty for the most part. */
    if (bytes <= h->memory_limit) {
        keep_allowance(h, p, bytes);
    }
    struct block *b = pool_fill(p, bytes, result);
    if (b == NULL && *result == FILL_REFUSED && reclaim_all(h)) {
        pool_count(p, &p->stats.oom_retries);
        b = pool_fill(p, bytes, result);
    }
    if (b == NULL) {
        bool refused = *result == FILL_REFUSED;
        pool_count(p, refused ? &p->stats.failures : &p->stats.passed);
    }
    return b;
}

struct block *host_acquire(struct host *h, size_t bytes, enum fill_result *result) {
    struct pool *p = home_pool(h);
    struct block *b = pool_acquire(p, bytes);
    return LIKELY(b != NULL) ? b : fill(h, p, bytes, result);
}

bool host_release(struct host *h, struct block *b, uint64_t now_ms) {
    struct pool *p = b->home;
    if (UNLIKELY(!pool_release(p, b, now_ms))) {
        return false;
    }
    int saved_errno = errno;
    keep_allowance(h, p, 0);
    errno = saved_errno;
    return true;
}

size_t host_drain(struct host *h) {
    size_t sum = 0;
    for (unsigned node = 0; node < HOST_NODES; node++) {
        sum += pool_drain(&h->pools[node], SIZE_MAX);
    }
    return sum;
}

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
