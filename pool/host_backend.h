/*
 * host_backend.h - memory of one node of this machine, in the addresses of the arena.
 *
 *     |  whole granules, huge pages  |  tail  |  gap (PROT_NONE)  |  next block ...
 *     ^ address                               ^ block_bytes       ^ on a granule
 *
 * The arena is reserved PROT_NONE and advised as a whole, so that the program's own madvise does
 * not split it; blocks become writable one by one, so that the kernel refuses here what it would
 * refuse any allocator (but not where MAP_NORESERVE was said of the reservation: that sticks). A gap after the last byte keeps a short tail off the huge page that it
  * would waste, and costs two mappings; they are counted, and once the budget is used up blocks are
 * made writable up to the granule, where neighbours merge into one mapping.
 *
 * Pages move between blocks by mremap with MREMAP_DONTUNMAP, which leaves the source mapped and
 * empty: at no moment are addresses of the arena free for another thread's mmap. Whole granules
 * on whole granules take the kernel about 3 us, as it moves page tables and huge pages as they are.
 * Moved pages keep their old offset and are a mapping of their own, which the same budget counts.
 *
 * mmap(2), mprotect(2), madvise(2), mremap(2), PR_SET_VMA(2const);
 * Documentation/admin-guide/mm/transhuge.rst.
 */
#ifndef POOL_HOST_BACKEND_H
#define POOL_HOST_BACKEND_H

#include "pool/backend.h"
#include "pool/block.h"
#include "pool/topology.h"

enum thp_mode {
    THP_AUTO, /* huge pages where a whole one, or nearly, is filled */
    THP_ON,   /* huge pages for short tails too */
    THP_OFF,  /* none */
};

struct host_backend {
    struct backend backend;
    struct arena *arena;
    struct span span;
    const struct topology_companion *companion; /* NULL: memory lies where it is touched first */
    struct binding binding;
    _Atomic int bind_error; /* 0: it lies as bound; else the number of the error that ended that */

    enum thp_mode thp;
    size_t mappings_budget; /* mappings that gaps, holes and moves may cost at most */
    _Atomic size_t charged; /* to blocks, for their gaps and for what moved into them */
    _Atomic size_t solid;   /* writable blocks without a gap */
    _Atomic size_t holes;   /* blocks that were writable and are not */
};

/*
 * Reserves up to `bytes` of addresses, or as much of that as the system grants by halving, with
 * their map. False, and the arena unchanged, where not even the smallest useful arena is granted.
 */
MUST_CHECK bool host_arena_reserve(struct arena *a, size_t bytes, enum thp_mode thp);

/* Gives back addresses that were never used, so that at most `bytes` stay free. Thread-safe. */
void host_arena_shrink(struct arena *a, size_t bytes) EXCLUDES(a->lock);

/* Gives back what the span has and no block yet. Thread-safe. */
void host_backend_shrink(struct host_backend *h) EXCLUDES(h->arena->lock);

/* Zero-initialised before. mappings_budget 0: no gaps, no holes, no moves. */
void host_backend_init(struct host_backend *h, struct arena *a, enum thp_mode thp,
                       size_t mappings_budget);

/*
 * Before the first block: memory is to lie as `binding` says. The kernel is told so of spans as a whole, as
 * each range with a policy of its own is a mapping more. The first refusal ends it: from then on memory lies
 * where it is touched first.
 */

void host_backend_bind(struct host_backend *h, const struct topology_companion *companion,
                       const struct binding *binding);

#endif
