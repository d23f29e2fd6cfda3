#include "pool/host_backend.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "pool/meta.h"

/* linux/prctl.h of Debian 12 has them, older headers do not. */
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

#define ARENA_MIN (4 * GRANULE)

/* A gap splits one mapping into three. So does a hole. */
enum {
    MAPPINGS_PER_GAP = 2
};

static size_t granules_bytes(const struct block *b) {
    return round_up(block_bytes(b), GRANULE);
}

/* Of a committed block: up to the gap, if it has one. */
static size_t writable_bytes(const struct block *b) {
    return b->charged ? block_bytes(b) : granules_bytes(b);
}

/* Advice and name of a range; both are wishes, so what the kernel answers does not matter. */
static void dress(char *address, size_t bytes, enum thp_mode thp) {
    int saved_errno = errno;
    (void)madvise(address, bytes, thp == THP_OFF ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
    (void)prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, address, bytes, "bigmalloc");
    errno = saved_errno;
}

/* ---- the arena ---- */

/* Inaccessible addresses on a granule. One granule more is asked for, and its ends given back. */
static char *reserve_aligned(size_t bytes) {
    char *p = mmap(NULL, bytes + GRANULE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        return NULL;
    }
    size_t before = round_up((uintptr_t)p, GRANULE) - (uintptr_t)p;
    if (before != 0) {
        (void)munmap(p, before);
    }
    (void)munmap(p + before + bytes, GRANULE - before);
    return p + before;
}

static size_t map_bytes(size_t arena_bytes) {
    return round_up(arena_bytes / GRANULE * sizeof(struct block *), ARENA_MAP_PIECE);
}

static bool reserve(struct arena *a, size_t bytes, enum thp_mode thp) {
    char *base = reserve_aligned(bytes);
    if (base == NULL) {
        return false;
    }
    a->map = meta_map(map_bytes(bytes));
    if (a->map == NULL) {
        (void)munmap(base, bytes);
        return false;
    }
    dress(base, bytes, thp);
    a->base = base;
    atomic_store(&a->bytes, bytes);
    return true;
}

bool host_arena_reserve(struct arena *a, size_t bytes, enum thp_mode thp) {
    for (bytes = round_down(bytes, GRANULE); bytes >= ARENA_MIN;
         bytes = round_down(bytes / 2, GRANULE)) {
        if (reserve(a, bytes, thp)) {
            return true;
        }
    }
    return false;
}

void host_arena_shrink(struct arena *a, size_t bytes) {
    lock_acquire(&a->lock);
    size_t old = atomic_load(&a->bytes);
    size_t keep = size_min(old, a->used + round_down(bytes, GRANULE));
    atomic_store(&a->bytes, keep);
    lock_release(&a->lock);
    /* Nobody can reach what lies above any more. */
    if (keep < old) {
        (void)munmap(a->base + keep, old - keep);
        size_t map_keep = map_bytes(keep);
        (void)munmap(a->map + map_keep / sizeof *a->map, map_bytes(old) - map_keep);
    }
}

/* ---- the budget of mappings ---- */

static bool charge(struct host_backend *h, size_t mappings) {
    size_t sum = atomic_fetch_add_explicit(&h->mappings, mappings, memory_order_relaxed) + mappings;
    if (sum <= h->mappings_budget) {
        return true;
    }
    atomic_fetch_sub_explicit(&h->mappings, mappings, memory_order_relaxed);
    return false;
}

static void refund(struct host_backend *h, size_t mappings) {
    atomic_fetch_sub_explicit(&h->mappings, mappings, memory_order_relaxed);
}

/* ---- the backend ---- */

/* A tail of 3/4 of a huge page or more may have the whole of it. */
static bool wants_gap(const struct host_backend *h, const struct block *b) {
    size_t tail = block_bytes(b) % GRANULE;
    return h->thp == THP_AUTO && tail != 0 && tail < GRANULE / 4 * 3;
}

static enum fill_result fill(struct backend *self, struct block *b) {
    struct host_backend *h = (struct host_backend *)self;
    if (b->address == NULL) {
        enum fill_result placed = arena_place(h->arena, b);
        if (placed != FILL_OK) {
            return placed;
        }
    }
    if (b->committed) {
        return FILL_OK;
    }
    bool was_hole = b->charged;
    b->charged = wants_gap(h, b) && (was_hole || charge(h, MAPPINGS_PER_GAP));
    if (was_hole && !b->charged) {
        refund(h, MAPPINGS_PER_GAP);
    }
    if (mprotect(b->address, writable_bytes(b), PROT_READ | PROT_WRITE) != 0) {
        return FILL_REFUSED;
    }
    b->committed = true;
    b->dirty_bytes = 0;
    return FILL_OK;
}

/*
 * A fresh inaccessible mapping in the place of the block gives back its pages and the kernel's
 * promise of memory (which mprotect alone would not), and merges with a neighbour that is the same.
 * Replacing is atomic: no other thread's mmap can take the addresses in between.
 */
static bool punch_hole(struct host_backend *h, struct block *b) {
    if (!b->charged && !charge(h, MAPPINGS_PER_GAP)) {
        return false;
    }
    b->charged = true;
    size_t bytes = granules_bytes(b);
    void *p = mmap(b->address, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (p == MAP_FAILED) {
        return false;
    }
    dress(b->address, bytes, h->thp);
    b->committed = false;
    b->dirty_bytes = 0;
    return true;
}

/* Whole granules where they are writable: a huge page that loses a part of itself is split. */
static bool clear(struct backend *self, struct block *b, size_t bytes) {
    (void)self;
    size_t granules = size_min(round_up(bytes, GRANULE), writable_bytes(b));
    return madvise(b->address, granules, MADV_DONTNEED) == 0;
}

static void drain(struct backend *self, struct block *b) {
    if (!b->committed || punch_hole((struct host_backend *)self, b)) {
        return;
    }
    if (clear(self, b, writable_bytes(b))) {
        b->dirty_bytes = 0;
    }
}

static bool wipe_on_fork(struct backend *self, struct block *b, bool wiped) {
    (void)self;
    int advice = wiped ? MADV_WIPEONFORK : MADV_KEEPONFORK;
    if (madvise(b->address, writable_bytes(b), advice) == 0) {
        return true;
    }
    /* A refusal may come after a part of the block was marked. */
    (void)madvise(b->address, writable_bytes(b), MADV_KEEPONFORK);
    return false;
}

void host_backend_init(struct host_backend *h, struct arena *a, enum thp_mode thp,
                       size_t mappings_budget) {
    h->backend = (struct backend){
        .kind = "host", .fill = fill, .drain = drain, .clear = clear, .wipe_on_fork = wipe_on_fork};
    h->arena = a;
    h->thp = thp;
    h->mappings_budget = mappings_budget;
}
