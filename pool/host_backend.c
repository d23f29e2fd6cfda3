#include "pool/host_backend.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "pool/meta.h"
#include "pool/stats.h"

/* linux/prctl.h of Debian 12 has them, older headers do not. */
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

#define ARENA_MIN (4 * GRANULE)

/* A gap splits one mapping into three. So does a hole among writable blocks, and so do the first pages
 * moved into a block; more of them behind those split it once more each. */
enum {
    MAPPINGS_PER_SPLIT = 2
};

static size_t granules_bytes(const struct block *b) {
    return round_up(block_bytes(b), GRANULE);
}

/* Of a committed block: up to the gap, if it has one. */
static size_t writable_bytes(const struct block *b) {
    return b->has_gap ? block_bytes(b) : granules_bytes(b);
}

/* Advice and name of a range; both are wishes, so what the kernel answers does not matter. */
static void dress(char *address, size_t bytes, enum thp_mode thp) {
    int saved_errno = errno;
    (void)madvise(address, bytes, thp == THP_OFF ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
    (void)prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, address, bytes, "bigmalloc");
    errno = saved_errno;
}

/* Once refused, it will be again: nobody asks twice. */
static void bind(struct host_backend *h, char *address, size_t bytes) {
    if (h->companion == NULL || atomic_load_explicit(&h->bind_error, memory_order_relaxed) != 0) {
        return;
    }
    int saved_errno = errno;
    int error = h->companion->bind(address, bytes, &h->binding);
    errno = saved_errno;
    if (error != 0) {
        atomic_store_explicit(&h->bind_error, error, memory_order_relaxed);
    }
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

void host_backend_shrink(struct host_backend *h) {
    lock_acquire(&h->arena->lock);
    char *from = h->arena->base + h->span.next;
    size_t bytes = h->span.end - h->span.next;
    h->span.end = h->span.next;
    lock_release(&h->arena->lock);
    if (bytes != 0) {
        (void)munmap(from, bytes);
    }
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

/* What lies between writable blocks and holes: neighbours of a kind merge. */
static size_t borders(const struct host_backend *h) {
    return MAPPINGS_PER_SPLIT * size_min(stats_read(&h->solid), stats_read(&h->holes));
}

static void tell_mappings(struct host_backend *h) {
    atomic_store_explicit(&h->backend.mappings, stats_read(&h->charged) + borders(h),
                          memory_order_relaxed);
}

static bool charge(struct host_backend *h, size_t mappings) {
    size_t sum = atomic_fetch_add_explicit(&h->charged, mappings, memory_order_relaxed) + mappings;
    if (sum + borders(h) <= h->mappings_budget) {
        return true;
    }
    atomic_fetch_sub_explicit(&h->charged, mappings, memory_order_relaxed);
    return false;
}

/* Makes it `mappings` that the block is charged. False, and nothing changed: over the budget. */
static bool recharge(struct host_backend *h, struct block *b, size_t mappings) {
    if (mappings > b->mappings && !charge(h, mappings - b->mappings)) {
        return false;
    }
    if (mappings < b->mappings) {
        atomic_fetch_sub_explicit(&h->charged, b->mappings - mappings, memory_order_relaxed);
    }
    b->mappings = (uint16_t)mappings;
    tell_mappings(h);
    return true;
}

/* A block became one of these, or ceased to be. */
static void count(struct host_backend *h, _Atomic size_t *kind, bool more) {
    atomic_fetch_add_explicit(kind, more ? 1 : (size_t)-1, memory_order_relaxed);
    tell_mappings(h);
}

/* ---- the backend ---- */

/* A new mapping in the place of an old one knows nothing of what was said of that. */
static void restore(struct host_backend *h, char *address, size_t bytes) {
    dress(address, bytes, h->thp);
    bind(h, address, bytes);
}

/* A tail of 3/4 of a huge page or more may have the whole of it. */
static bool wants_gap(const struct host_backend *h, const struct block *b) {
    size_t tail = block_bytes(b) % GRANULE;
    return h->thp == THP_AUTO && tail != 0 && tail < GRANULE / 4 * 3;
}

static bool allow_writing(char *address, size_t bytes) {
    return mprotect(address, bytes, PROT_READ | PROT_WRITE) == 0;
}

/* Another thread's block may come into a new span before that is bound: it lies where it is touched, which
 * is no worse than before. */
static enum fill_result place(struct host_backend *h, struct block *b) {
    size_t taken = 0;
    enum fill_result result = arena_place(h->arena, &h->span, b, &taken);
    if (taken != 0) {
        bind(h, b->address, taken);
    }
    return result;
}

static enum fill_result fill(struct backend *self, struct block *b, size_t bytes) {
    (void)bytes;
    struct host_backend *h = (struct host_backend *)self;
    if (b->address == NULL) {
        enum fill_result placed = place(h, b);
        if (placed != FILL_OK) {
            return placed;
        }
    }
    if (b->committed) {
        return FILL_OK;
    }
    b->has_gap = wants_gap(h, b) && recharge(h, b, MAPPINGS_PER_SPLIT);
    if (!b->has_gap) {
        (void)recharge(h, b, 0);
    }
    if (!allow_writing(b->address, writable_bytes(b))) {
        return FILL_REFUSED;
    }
    b->committed = true;
    block_set_held(b, (struct extent){0});
    if (!b->has_gap) {
        count(h, &h->solid, true);
    }
    if (b->is_hole) {
        count(h, &h->holes, false);
        b->is_hole = false;
    }
    return FILL_OK;
}

/*
 * A fresh inaccessible mapping in the place of the block gives back its pages and the kernel's
 * promise of memory (which mprotect alone would not), and merges with a neighbour that is the same.
 * Replacing is atomic: no other thread's mmap can take the addresses in between. Where the program has
 * changed the mappings, nothing else undoes that, and there are no fewer of them for being kept.
 */
static bool punch_hole(struct host_backend *h, struct block *b) {
    bool is_paid = b->mappings >= MAPPINGS_PER_SPLIT || recharge(h, b, MAPPINGS_PER_SPLIT);
    if (!is_paid && !b->is_altered) {
        return false;
    }
    size_t bytes = granules_bytes(b);
    void *p = mmap(b->address, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (p == MAP_FAILED) {
        return false;
    }
    restore(h, b->address, bytes);
    b->is_tail_apart = false;
    (void)recharge(h, b, 0);
    if (!b->has_gap) {
        count(h, &h->solid, false);
    }
    count(h, &h->holes, true);
    b->committed = false;
    b->is_hole = true;
    return true;
}

/* Whole granules where they are writable: a huge page that loses a part of itself is split. */
static bool clear(struct backend *self, struct block *b, size_t from, size_t to) {
    (void)self;
    size_t end = size_min(round_up(to, GRANULE), writable_bytes(b));
    return madvise(b->address + from, end - from, MADV_DONTNEED) == 0;
}

static bool drain(struct backend *self, struct block *b) {
    bool is_new = !b->committed || punch_hole((struct host_backend *)self, b);
    bool is_zero = is_new || clear(self, b, 0, writable_bytes(b));
    b->is_altered = b->is_altered && !is_new;
    bool drained = is_zero && !b->is_altered;
    if (drained) {
        block_set_held(b, (struct extent){0});
    }
    return drained;
}

/* ---- moving pages ---- */

/* What its gap costs, and its tail. */
static size_t mappings_at_the_end(const struct block *b) {
    size_t gap = b->has_gap ? MAPPINGS_PER_SPLIT : 0;
    return gap + b->is_tail_apart;
}

/* Was nothing moved into its granules? Then they are one mapping, as far as we know. */
static bool is_of_one_piece(const struct block *b) {
    return b->mappings <= mappings_at_the_end(b);
}

/* After a move into b at that offset. However often pages moved in: a granule is one mapping at most, what is behind
 * them another; and so is a tail. */
static size_t mappings_after(const struct block *b, size_t at) {
    size_t most = size_min(block_whole_bytes(b) / GRANULE + 1 + mappings_at_the_end(b), UINT16_MAX);
    if (at >= block_whole_bytes(b)) {
        return b->mappings + (b->is_tail_apart ? (size_t)0 : 1);
    }
    return size_min(b->mappings + (is_of_one_piece(b) ? (size_t)MAPPINGS_PER_SPLIT : 1), most);
}

/*
 * Maps again what a refused mremap has unmapped: its destination, in most kernels and for most
 * reasons. Meanwhile another thread may have mapped something there, which must not be touched; nor can
 * it be told from a destination that is as it was. False: the addresses are not ours to use any more.
 */
static bool map_again(struct host_backend *h, char *address, size_t bytes) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    void *p = mmap(address, bytes, PROT_NONE, flags, -1, 0);
    if (p == MAP_FAILED) {
        return false;
    }
    restore(h, address, bytes);
    return allow_writing(address, bytes);
}

/*
 * EFAULT is about these pages: kernels before 6.17 move no more than one mapping at once, and the program
 * may have split one of our own (by advice, a lock, a policy). Anything else ends moving for good:
 * MREMAP_DONTUNMAP is unknown (before 5.7) or forbidden, which the kernel finds before it touches
 * anything, or there are about as many mappings as there may be. So does a loss. mremap(2).
 */
static enum move_result move_once(struct host_backend *h, struct move *m, size_t bytes) {
    char *from = m->from->address + m->from_at + m->moved;
    char *to = m->to->address + m->to_at + m->moved;
    int flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
    if (mremap(from, bytes, bytes, flags, to) == to) {
        m->moved += bytes;
        m->to->is_tail_apart |= m->to_at >= block_whole_bytes(m->to);
        return MOVE_OK;
    }
    int error = errno;
    bool untouched = error == EINVAL || error == ENOSYS || error == EPERM;
    bool is_ours = untouched || map_again(h, to, bytes);
    if (error == EFAULT && is_ours) {
        return MOVE_REFUSED;
    }
    atomic_store_explicit(&h->backend.cannot_move, true, memory_order_relaxed);
    return is_ours ? MOVE_CANNOT : MOVE_LOST;
}

/* What moves together stays one mapping. A block of pieces is moved by granules, none of which is
 * more than one: kernels before 6.17 refuse to move several mappings at once. */
static enum move_result move(struct backend *self, struct move *m) {
    struct host_backend *h = (struct host_backend *)self;
    size_t step = is_of_one_piece(m->from) ? m->bytes : size_min(m->bytes, GRANULE);
    enum move_result result = MOVE_OK;
    while (m->moved < m->bytes && result == MOVE_OK) {
        size_t before = m->to->mappings;
        if (!backend_can_move(&h->backend) ||
            !recharge(h, m->to, mappings_after(m->to, m->to_at))) {
            return MOVE_CANNOT;
        }
        result = move_once(h, m, step);
        if (result != MOVE_OK) {
            (void)recharge(h, m->to, before);
        }
    }
    return result;
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
    h->backend = (struct backend){.kind = "host",
                                  .fill = fill,
                                  .drain = drain,
                                  .clear = clear,
                                  .move = move,
                                  .wipe_on_fork = wipe_on_fork};
    h->arena = a;
    h->thp = thp;
    h->mappings_budget = mappings_budget;
}

void host_backend_bind(struct host_backend *h, const struct topology_companion *companion,
                       const struct binding *binding) {
    h->companion = companion;
    h->binding = *binding;
}
