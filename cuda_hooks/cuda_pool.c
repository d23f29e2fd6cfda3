#include "cuda_hooks/cuda_pool.h"

#include "cuda_hooks/capture.h"
#include "cuda_hooks/context.h"
#include "cuda_hooks/visits.h"
#include "pool/ahead.h"
#include "pool/clock.h"
#include "pool/reclaim.h"

static struct meta_records records = {.record_bytes = sizeof(struct block)};
static const struct options *options;
static const struct cuda_owner *owner;

void cuda_pool_configure(const struct options *chosen, const struct cuda_owner *whose) {
    options = chosen;
    owner = whose;
}

const struct options *cuda_pool_options(void) {
    return options;
}

const struct cuda_owner *cuda_pool_owner(void) {
    return owner;
}

/* The backend is the first in it. */
static struct cuda_pool *pool_of(const struct block *b) {
    void *first = b->home->backend;
    return first;
}

/* ---- opening ---- */

static void open(struct cuda_pool *p, struct context *c, unsigned which) REQUIRES(p->lock) {
    cuda_backend_init(&p->backend, c, which, owner);
    pool_init(&p->pool, &p->backend.backend, &records);
    p->backend.context = c;
    cuda_pool_tell_free(p);
}

void cuda_pool_tell_free(struct cuda_pool *p) {
    struct context *c = p->backend.context;
    pool_tell_free(&p->pool, atomic_load_explicit(&c->free_bytes, memory_order_relaxed));
}

/* Asks the driver how much of the device is free. */
static void ask_for_free(struct cuda_pool *p) REQUIRES_SHARED(p->backend.context->gate) {
    context_note_free(p->backend.context);
    cuda_pool_tell_free(p);
}

void cuda_pool_open(struct cuda_pool *p, struct context *c, unsigned which) {
    lock_acquire(&p->lock);
    bool is_new = p->backend.context == NULL;
    if (UNLIKELY(is_new)) {
        open(p, c, which);
    }
    lock_release(&p->lock);
    if (is_new) {
        visits_register_end();
        owner->after_open(&p->pool);
    }
}

/* ---- how much stays idle ---- */

static size_t cache_max(const struct cuda_pool *p) {
    return share_bytes(cuda_pool_is_pinned(p) ? options->pinned_cache_max
                                              : options->device_cache_max,
                       p->backend.context->device.bytes);
}

static void note_demand(struct cuda_pool *p, size_t bytes, uint64_t now_ms) {
    lock_acquire(&p->lock);
    p->demand = demand_at(p->demand, now_ms, options->decay_ms);
    p->demand.current += bytes;
    lock_release(&p->lock);
}

static size_t idle_max(struct cuda_pool *p, uint64_t now_ms) {
    lock_acquire(&p->lock);
    p->demand = demand_at(p->demand, now_ms, options->decay_ms);
    size_t bytes = demand_bytes(p->demand);
    lock_release(&p->lock);
    return size_min(bytes, cache_max(p));
}

static void keep(struct cuda_pool *p, uint64_t now_ms) REQUIRES_SHARED(p->backend.context->gate) {
    size_t most = idle_max(p, now_ms);
    if (UNLIKELY(pool_idle_bytes(&p->pool) > most) && visits_allowed()) {
        lock_acquire(&p->draining);
        (void)reclaim_beyond(&p->pool, most, &p->pool.own.stats.capped_bytes);
        lock_release(&p->draining);
    }
}

/* ---- ahead ---- */

/* Set once, before the pools ask for it, and gone in a child. */
static struct {
    struct profile *_Atomic profile;
    size_t host_bytes;
} expected;

void cuda_pool_expect(struct profile *profile, size_t host_bytes) {
    expected.host_bytes = host_bytes;
    atomic_store_explicit(&expected.profile, profile, memory_order_release);
}

static struct profile *expected_profile(void) {
    return atomic_load_explicit(&expected.profile, memory_order_acquire);
}

bool cuda_pool_any_is_expected(void) {
    const struct profile *profile = expected_profile();
    return profile != NULL &&
           (profile_peak(profile, "device") != 0 || profile_peak(profile, "pinned") != 0);
}

bool cuda_pool_is_expected(const struct context *c, unsigned which) {
    struct profile *profile = expected_profile();
    struct backend backend = cuda_backend_for(c, which);
    return profile != NULL && ahead_is_told(&backend, profile);
}

/* The bytes of the next block that is expected, and may be made; 0: none. */
static size_t next_ahead(struct cuda_pool *p) {
    struct profile *profile = expected_profile();
    if (profile == NULL) {
        return 0;
    }
    if (p->pool.expected.profile == NULL) {
        ahead_expect(&p->pool, profile);
    }
    size_t most = cache_max(p);
    if (cuda_pool_is_pinned(p)) {
        most = size_min(most, retention_pinned_ahead(expected.host_bytes));
    }
    return ahead_next(&p->pool, size_minus(most, cuda_pool_idle_bytes(p)));
}

static bool has_plenty(struct cuda_pool *p, size_t bytes)
    REQUIRES_SHARED(p->backend.context->gate) {
    ask_for_free(p);
    size_t free_bytes = atomic_load_explicit(&p->backend.context->free_bytes, memory_order_relaxed);
    return cuda_pool_is_pinned(p) ||
           retention_is_plenty(bytes, free_bytes, p->backend.context->device.bytes);
}

/* It counts as demand: as nobody asks for it, it goes back with the demand, and is not more than there may be until
 * then. */
static bool make_ahead(struct cuda_pool *p, uint64_t now_ms)
    REQUIRES_SHARED(p->backend.context->gate) {
    size_t bytes = visits_allowed() && cuda_pool_bypass(p) == NULL ? next_ahead(p) : 0;
    bool pushed = false;
    if (bytes == 0 || !context_enter(p->backend.context, &pushed)) {
        return false;
    }
    bool made = has_plenty(p, bytes) && pool_prefault(&p->pool, bytes, now_ms);
    context_leave(pushed);
    if (made) {
        note_demand(p, bytes, now_ms);
    }
    return made;
}

bool cuda_pool_make_ahead(struct cuda_pool *p, uint64_t now_ms) {
    gate_enter(&p->backend.context->gate);
    bool made = make_ahead(p, now_ms);
    if (!made) {
        p->pool.expected.pool = NULL;
    }
    gate_leave(&p->backend.context->gate);
    return made;
}

/* ---- waiting ---- */

/* A capture that has begun meanwhile is no fault of the context. */
static bool is_fault(CUresult result) {
    return result != CUDA_SUCCESS && result < CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

/* Of a context that answers so no work is under way any more, and never will be. */
static bool is_fatal(CUresult result) {
    return result == CUDA_ERROR_INVALID_CONTEXT || result == CUDA_ERROR_ECC_UNCORRECTABLE ||
           (result >= CUDA_ERROR_ILLEGAL_ADDRESS && result <= CUDA_ERROR_LAUNCH_FAILED);
}

/* One that was closed meanwhile has nothing to wait for. */
static CUresult synchronize(struct context *c) REQUIRES_SHARED(c->gate) {
    bool is_open = atomic_load_explicit(&c->handle, memory_order_relaxed) != NULL;
    CUresult result = is_open ? context_synchronize(c) : CUDA_SUCCESS;
    if (is_fault(result)) {
        atomic_store(&c->is_broken, true);
    }
    return result;
}

/* Pinned memory may be in use by any of them. A fault in another one is not that of the memory's own. What is
 * done in green ones is waited for with the primary one. */
static CUresult synchronize_others(const struct context *own) {
    CUresult result = CUDA_SUCCESS;
    size_t cursor = 0;
    for (struct context *c = context_next(&cursor); c != NULL && result == CUDA_SUCCESS;
         c = context_next(&cursor)) {
        if (c != own && !atomic_load(&c->is_green)) {
            gate_enter(&c->gate);
            result = synchronize(c);
            gate_leave(&c->gate);
        }
        result = is_fatal(result) ? CUDA_SUCCESS : result;
    }
    return result;
}

/* Waits for the work that may use memory of the pool. Its own context comes last, and the caller stays inside: it
 * does not end before the memory that was waited for is where it belongs. */
static CUresult wait_inside(struct cuda_pool *p) ACQUIRE_SHARED(p->backend.context->gate) {
    uint64_t start_us = clock_us();
    CUresult result =
        cuda_pool_is_pinned(p) ? synchronize_others(p->backend.context) : CUDA_SUCCESS;
    gate_enter(&p->backend.context->gate);
    result = result == CUDA_SUCCESS ? synchronize(p->backend.context) : result;
    pool_add(&p->pool, &p->pool.own.stats.waits, 1);
    pool_add(&p->pool, &p->pool.own.stats.wait_us, clock_us() - start_us);
    return result;
}

/* ---- quarantine ---- */

/* Everything in quarantine becomes idle, after one wait. Where that fails it stays. The blocks stay in the list
 * meanwhile, for whoever forgets the context. The caller is inside of no gate. */
void cuda_pool_mature(struct cuda_pool *p, uint64_t now_ms) {
    uint64_t end = visits_allowed() ? quarantine_end(&p->quarantine) : 0;
    if (end == 0) {
        return;
    }
    bool is_over = wait_inside(p) == CUDA_SUCCESS;
    struct block *next = NULL;
    for (struct block *b = quarantine_take(&p->quarantine, is_over ? end : 0); b != NULL;
         b = next) {
        next = b->older;
        pool_put(&p->pool, b, now_ms);
    }
    gate_leave(&p->backend.context->gate);
}

/* ---- acquire ---- */

/* Where the context has ended, the driver is to answer. */
struct block *cuda_pool_fill(struct cuda_pool *p, size_t bytes, enum fill_result *result) {
    struct block *b = NULL;
    *result = FILL_NO_ADDRESS;
    gate_enter(&p->backend.context->gate);
    if (context_is_current(p->backend.context)) {
        b = pool_fill(&p->pool, bytes, PAGES_ANY, result);
    }
    gate_leave(&p->backend.context->gate);
    return b;
}

const _Atomic size_t *cuda_pool_bypass(struct cuda_pool *p) {
    const struct stats *s = &p->pool.own.stats;
    const struct context *c = p->backend.context;
    bool may_be_used_elsewhere = atomic_load_explicit(&c->is_shared, memory_order_relaxed) ||
                                 (cuda_pool_is_pinned(p) && !context_are_all_known());
    if (may_be_used_elsewhere) {
        return &s->bypassed_shared;
    }
    if (atomic_load_explicit(&c->is_green, memory_order_relaxed)) {
        return &s->bypassed_green;
    }
    bool fails = atomic_load_explicit(&c->is_broken, memory_order_relaxed) || visits_are_over();
    return fails ? &s->bypassed_broken : NULL;
}

struct block *cuda_pool_note_bypass(struct cuda_pool *p, const _Atomic size_t *why, size_t bytes) {
    pool_add(&p->pool, why, 1);
    pool_add(&p->pool, &p->pool.own.stats.bypassed_bytes, bytes);
    return NULL;
}

struct block *cuda_pool_acquire(struct cuda_pool *p, size_t bytes, uint64_t now_ms) {
    note_demand(p, cuda_backend_rounded(cuda_pool_is_pinned(p), bytes), now_ms);
    return pool_acquire(&p->pool, bytes, PAGES_ANY);
}

struct block *cuda_pool_find(const void *address) {
    return address_map_find(&cuda_backend_blocks, address);
}

/* What frees the one kind is refused the other by the driver. */
struct block *cuda_pool_find_kind(const void *address, bool is_pinned) {
    struct block *b = cuda_pool_find(address);
    return b != NULL && cuda_pool_is_pinned(pool_of(b)) == is_pinned ? b : NULL;
}

bool cuda_pool_has_blocks(void) {
    return !address_map_is_empty(&cuda_backend_blocks);
}

/* ---- release ---- */

/* It is none of ours any more. Somebody else may find so at the same time: who takes it out of the map forgets it. */
static void drop(struct block *b, const void *address) {
    if (address_map_remove(&cuda_backend_blocks, b, address)) {
        (void)pool_forget(b->home, b);
    }
}

/* To the driver, which answers for it. b is held. */
static CUresult surrender(struct cuda_pool *p, struct block *b)
    REQUIRES_SHARED(p->backend.context->gate) {
    void *address = b->address;
    drop(b, address);
    pool_add(&p->pool, &p->pool.own.stats.surrendered, 1);
    return cuda_backend_deallocate(&p->backend, address);
}

/* What becomes of a block that the program frees. */
enum fate {
    TO_DRIVER,
    TO_QUARANTINE,
    TO_POOL /* after a wait */
};

static enum fate fate_of(struct cuda_pool *p, const struct block *b) {
    if (b->is_altered || cuda_pool_bypass(p) != NULL) {
        return TO_DRIVER;
    }
    bool waits_later = options->device_free == DEVICE_FREE_QUARANTINE || capture_is_under_way();
    return waits_later ? TO_QUARANTINE : TO_POOL;
}

static CUresult take_back(struct cuda_pool *p, struct block *b, enum fate fate)
    REQUIRES_SHARED(p->backend.context->gate) {
    uint64_t now_ms = clock_coarse_ms();
    switch (fate) {
    case TO_DRIVER: return surrender(p, b);
    case TO_QUARANTINE: quarantine_add(&p->quarantine, b, now_ms); break;
    case TO_POOL:
        pool_put(&p->pool, b, now_ms);
        keep(p, now_ms);
        break;
    }
    return CUDA_SUCCESS;
}

/* While somebody waited at the gate the context may have ended, and the block may serve another one by now. */
static bool hold(struct cuda_pool *p, struct block *b, const void *address)
    REQUIRES_SHARED(p->backend.context->gate) {
    return cuda_pool_find(address) == b && pool_hold(&p->pool, b);
}

/* A wait that a capture has spoilt is made up for by the driver's own. */
CUresult cuda_pool_release(struct block *b, const void *address) {
    struct cuda_pool *p = pool_of(b);
    CUresult waited = CUDA_SUCCESS;
    if (block_state(b) != BLOCK_LIVE) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    enum fate fate = fate_of(p, b);
    if (fate == TO_POOL) {
        waited = wait_inside(p);
    } else {
        gate_enter(&p->backend.context->gate);
    }
    fate = waited == CUDA_SUCCESS ? fate : TO_DRIVER;
    CUresult result = hold(p, b, address) ? take_back(p, b, fate) : CUDA_ERROR_INVALID_VALUE;
    gate_leave(&p->backend.context->gate);
    if (result == CUDA_SUCCESS && fate != TO_DRIVER) {
        owner->after_free(clock_coarse_ms());
    }
    return result == CUDA_SUCCESS && is_fault(waited) ? waited : result;
}

bool cuda_pool_disown(const void *address) {
    struct block *b = cuda_pool_find_kind(address, false);
    if (b == NULL) {
        return true;
    }
    struct cuda_pool *p = pool_of(b);
    gate_enter(&p->backend.context->gate);
    bool live = hold(p, b, address);
    if (live) {
        drop(b, address);
    }
    gate_leave(&p->backend.context->gate);
    return live;
}

void cuda_pool_drop(const void *address) {
    struct block *b = cuda_pool_find(address);
    if (b != NULL) {
        drop(b, address);
    }
}

/* ---- giving back ---- */

static void enter_to_drain(struct cuda_pool *p) ACQUIRE_SHARED(p->backend.context->gate)
    ACQUIRE(p->draining) {
    gate_enter(&p->backend.context->gate);
    lock_acquire(&p->draining);
}

static void leave_drained(struct cuda_pool *p) RELEASE(p->draining)
    RELEASE_SHARED(p->backend.context->gate) {
    lock_release(&p->draining);
    gate_leave(&p->backend.context->gate);
}

/* While a stream is captured there is nothing to be done. */
static const uint64_t CAPTURE_MS = 100;

uint64_t cuda_pool_age(struct cuda_pool *p, uint64_t now_ms) {
    if (cuda_pool_idle_bytes(p) == 0) {
        return NEVER;
    }
    if (!visits_allowed()) {
        return now_ms + CAPTURE_MS;
    }
    uint64_t aged_ms = retention_cutoff_ms(options->decay_ms, now_ms);
    if (quarantine_holds_since(&p->quarantine, aged_ms)) {
        cuda_pool_mature(p, now_ms);
    }
    enter_to_drain(p);
    (void)reclaim_aged(&p->pool, aged_ms, 0, &p->pool.own.stats.aged_bytes);
    (void)reclaim_beyond(&p->pool, idle_max(p, now_ms), &p->pool.own.stats.aged_bytes);
    ask_for_free(p);
    leave_drained(p);
    uint64_t oldest_ms = reclaim_oldest_ms(&p->pool);
    oldest_ms = oldest_ms != NEVER ? oldest_ms : now_ms; /* the quarantine's */
    return cuda_pool_idle_bytes(p) != 0 ? retention_due_ms(options->decay_ms, oldest_ms) : NEVER;
}

size_t cuda_pool_drain(struct cuda_pool *p, size_t most, const _Atomic size_t *why) {
    size_t sum = 0;
    cuda_pool_mature(p, clock_coarse_ms());
    if (visits_allowed()) {
        enter_to_drain(p);
        sum = reclaim_aged(&p->pool, NEVER, most, why);
        leave_drained(p);
    }
    return sum;
}

size_t cuda_pool_idle_bytes(struct cuda_pool *p) {
    return pool_idle_bytes(&p->pool) + quarantine_bytes(&p->quarantine);
}

/* ---- the end of contexts, and of the process ---- */

static bool has_blocks(const struct cuda_pool *p) {
    return gauge_current(&stock_figures(&p->pool)->stats.reserved_bytes) != 0;
}

/* What the driver has handed out again meanwhile is not found under its address any more. The map is large, and
 * other threads wait for it: it is gone through no further than there are blocks. */
void cuda_pool_forget(struct cuda_pool *p) {
    size_t cursor = 0;
    struct block *b = NULL;
    (void)quarantine_take(&p->quarantine, QUARANTINE_ALL);
    p->pool.expected.pool = NULL;
    while (has_blocks(p) &&
           (b = address_map_take_next(&cuda_backend_blocks, &p->pool, &cursor)) != NULL) {
        (void)pool_forget(b->home, b);
    }
}

/* Threads that are not there any more may have held any of these locks: nothing waits for one. */
void cuda_pool_reset(struct cuda_pool *p) UNCHECKED_LOCKING {
    lock_reset(&p->lock);
    lock_reset(&p->draining);
    p->quarantine = (struct quarantine){0};
    pool_after_fork_in_child(&p->pool);
}

void cuda_pool_reset_records(void) {
    visits_reset_in_child();
    address_map_reset(&cuda_backend_blocks);
    records = (struct meta_records){.record_bytes = sizeof(struct block)};
}
