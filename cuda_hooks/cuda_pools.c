#include "cuda_hooks/cuda_pools.h"

#include "cuda_hooks/capture.h"
#include "cuda_hooks/registrations.h"
#include "pool/clock.h"
#include "pool/meta.h"

/* With frees that do not wait, one wait serves so many. */
static const unsigned QUARANTINE_MOST = 16;

/* Of each context as many as there are kinds; made for the first, and kept for others in its place. */
static struct cuda_pool *_Atomic pools[CONTEXTS];
static struct lock making;

static struct cuda_pool *make_pools(size_t place) {
    size_t bytes = round_up(CUDA_POOLS * sizeof(struct cuda_pool), PAGE);
    lock_acquire(&making);
    struct cuda_pool *own = atomic_load_explicit(&pools[place], memory_order_relaxed);
    if (own == NULL && (own = meta_map(bytes)) != NULL && meta_allow_writing(own, bytes)) {
        atomic_store_explicit(&pools[place], own, memory_order_release);
    }
    lock_release(&making);
    return atomic_load_explicit(&pools[place], memory_order_relaxed);
}

static struct cuda_pool *pools_at(size_t place) {
    return atomic_load_explicit(&pools[place], memory_order_acquire);
}

struct cuda_pool *cuda_pools_of(struct context *c, unsigned which) {
    struct cuda_pool *own = pools_at(context_place(c));
    if (UNLIKELY(own == NULL) && (own = make_pools(context_place(c))) == NULL) {
        return NULL;
    }
    struct cuda_pool *p = &own[which];
    if (UNLIKELY(p->backend.context == NULL)) {
        cuda_pool_open(p, c, which);
    }
    return p;
}

/* Those of a context that were ever used, one after the other; NULL at the end. */
static struct cuda_pool *next_of(const struct context *c, unsigned *which) {
    struct cuda_pool *own = pools_at(context_place(c));
    while (own != NULL && *which < CUDA_POOLS) {
        struct cuda_pool *p = &own[(*which)++];
        if (p->backend.context != NULL) {
            return p;
        }
    }
    return NULL;
}

/* Goes through all pools of open contexts. */
struct round {
    size_t cursor;
    struct context *context;
    unsigned which;
};

static struct cuda_pool *next(struct round *r) {
    struct cuda_pool *p = r->context != NULL ? next_of(r->context, &r->which) : NULL;
    while (p == NULL && (r->context = context_next(&r->cursor)) != NULL) {
        r->which = 0;
        p = next_of(r->context, &r->which);
    }
    return p;
}

/* Also those of contexts that ended. */
static struct cuda_pool *next_ever(size_t *cursor) {
    while (*cursor < context_places() * CUDA_POOLS) {
        size_t i = (*cursor)++;
        struct cuda_pool *own = pools_at(i / CUDA_POOLS);
        if (own != NULL && own[i % CUDA_POOLS].backend.context != NULL) {
            return &own[i % CUDA_POOLS];
        }
    }
    return NULL;
}

struct pool *cuda_pools_next(size_t *cursor) {
    struct cuda_pool *p = next_ever(cursor);
    return p != NULL ? &p->pool : NULL;
}

/* Is it a pool of that memory? */
static bool is_in(const struct cuda_pool *p, int where) {
    switch (where) {
    case CUDA_ANYWHERE: return true;
    case CUDA_HOST: return cuda_pool_is_pinned(p);
    default: return !cuda_pool_is_pinned(p) && p->backend.context->device.ordinal == where;
    }
}

size_t cuda_pools_idle_bytes(int where) {
    size_t sum = 0;
    struct round r = {0};
    for (struct cuda_pool *p = next(&r); p != NULL; p = next(&r)) {
        sum += is_in(p, where) ? cuda_pool_idle_bytes(p) : 0;
    }
    return sum;
}

/* ---- ahead ---- */

static bool is_wanted(unsigned which) {
    const struct options *o = cuda_pool_options();
    return which == CUDA_DEVICE_POOL ? o->device : o->pinned;
}

/* Whoever has no profile has a new context untouched by us. */
void cuda_pools_expect_in(CUcontext handle) {
    const struct options *o = cuda_pool_options();
    if (o == NULL || pattern_is_dash(&o->profile) || context_find(handle) != NULL) {
        return;
    }
    (void)cuda_pool_owner()->begin(); /* reads it */
    struct context *c = cuda_pool_any_is_expected() ? context_of(handle) : NULL;
    for (unsigned which = 0; c != NULL && which < CUDA_POOLS; which++) {
        if (is_wanted(which) && cuda_pool_is_expected(c, which)) {
            (void)cuda_pools_of(c, which);
        }
    }
}

bool cuda_pools_make_ahead(uint64_t now_ms) {
    struct round r = {0};
    struct cuda_pool *p = next(&r);
    while (p != NULL && !cuda_pool_make_ahead(p, now_ms)) {
        p = next(&r);
    }
    return p != NULL;
}

/* ---- acquire ---- */

bool cuda_pools_make_room(int where, size_t bytes) {
    size_t sum = 0;
    struct round r = {0};
    for (struct cuda_pool *p = next(&r); p != NULL && sum < bytes; p = next(&r)) {
        if (is_in(p, where)) {
            size_t rest = size_minus(cuda_pool_idle_bytes(p), bytes - sum);
            sum += cuda_pool_drain(p, rest, &p->pool.own.stats.refused_bytes);
        }
    }
    return sum != 0;
}

/* A block that was in quarantine, after a wait. */
static struct block *acquire_matured(struct cuda_pool *p, size_t bytes, uint64_t now_ms) {
    cuda_pool_mature(p, now_ms);
    return pool_acquire(&p->pool, bytes, PAGES_ANY);
}

/* After all that this process could give back on the device has been, the driver answers itself. */
static struct block *fill_or_make_room(struct cuda_pool *p, size_t bytes, uint64_t now_ms) {
    int where = cuda_pool_is_pinned(p) ? CUDA_HOST : p->backend.context->device.ordinal;
    enum fill_result result = FILL_OK;
    struct block *b = cuda_pool_fill(p, bytes, &result);
    if (b == NULL && result == FILL_REFUSED) {
        b = acquire_matured(p, bytes, now_ms);
    }
    size_t wanted = cuda_backend_rounded(cuda_pool_is_pinned(p), bytes);
    for (int i = 0; b == NULL && result == FILL_REFUSED && i < 2; i++) {
        if (cuda_pools_make_room(where, i == 0 ? wanted : UNLIMITED)) {
            pool_add(&p->pool, &p->pool.own.stats.oom_retries, 1);
            b = cuda_pool_fill(p, bytes, &result);
        }
    }
    return b;
}

static struct block *miss(struct cuda_pool *p, size_t bytes, uint64_t now_ms) {
    struct block *b = NULL;
    if (capture_is_under_way()) {
        return cuda_pool_note_bypass(p, &p->pool.own.stats.bypassed_captured, bytes);
    }
    if (quarantine_count(&p->quarantine) >= QUARANTINE_MOST) {
        b = acquire_matured(p, bytes, now_ms);
    }
    uint64_t start_us = clock_us();
    b = b != NULL ? b : fill_or_make_room(p, bytes, now_ms);
    pool_add(&p->pool, &p->pool.own.stats.miss_us, clock_us() - start_us);
    return b;
}

struct block *cuda_pools_acquire(struct cuda_pool *p, size_t bytes, bool *is_new) {
    uint64_t now_ms = clock_coarse_ms();
    const _Atomic size_t *bypass = cuda_pool_bypass(p);
    if (bypass != NULL) {
        return cuda_pool_note_bypass(p, bypass, bytes);
    }
    struct block *b = cuda_pool_acquire(p, bytes, now_ms);
    *is_new = b == NULL;
    return LIKELY(b != NULL) ? b : miss(p, bytes, now_ms);
}

void cuda_pools_tell_free(struct context *c, size_t bytes) {
    unsigned which = 0;
    atomic_store_explicit(&c->free_bytes, bytes, memory_order_relaxed);
    for (struct cuda_pool *p = next_of(c, &which); p != NULL; p = next_of(c, &which)) {
        cuda_pool_tell_free(p);
    }
}

/* ---- giving back ---- */

uint64_t cuda_pools_age(uint64_t now_ms) {
    uint64_t due = NEVER;
    struct round r = {0};
    for (struct cuda_pool *p = next(&r); p != NULL; p = next(&r)) {
        uint64_t pool_due = cuda_pool_age(p, now_ms);
        due = pool_due < due ? pool_due : due;
    }
    return due;
}

size_t cuda_pools_trim(void) {
    size_t sum = 0;
    struct round r = {0};
    for (struct cuda_pool *p = next(&r); p != NULL; p = next(&r)) {
        sum += cuda_pool_drain(p, 0, &p->pool.own.stats.trimmed_bytes);
    }
    return sum;
}

/* ---- the end of contexts, and of the process ---- */

struct context *cuda_pools_before_end(struct context *c) UNCHECKED_LOCKING {
    if (c != NULL) {
        gate_close(&c->gate);
    }
    return c;
}

static void forget(const struct context *c) {
    unsigned which = 0;
    for (struct registration r = registrations_take_of(c); r.address != NULL;
         r = registrations_take_of(c)) {
        cuda_pool_owner()->unregister_host(r.address, r.bytes);
    }
    for (struct cuda_pool *p = next_of(c, &which); p != NULL; p = next_of(c, &which)) {
        cuda_pool_forget(p);
    }
}

void cuda_pools_after_end(struct context *c, bool has_ended) UNCHECKED_LOCKING {
    if (c == NULL) {
        return;
    }
    if (has_ended) {
        forget(c);
        context_close(c);
    }
    gate_open(&c->gate);
}

void cuda_pools_reset_in_child(void) UNCHECKED_LOCKING {
    size_t cursor = 0;
    for (struct cuda_pool *p = next_ever(&cursor); p != NULL; p = next_ever(&cursor)) {
        cuda_pool_reset(p);
    }
    lock_reset(&making);
    context_reset_in_child();
    registrations_reset_in_child();
    cuda_pool_reset_records();
}
