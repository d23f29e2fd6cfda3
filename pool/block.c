#include "pool/block.h"

#include "pool/meta.h"

static void enter(const struct arena *a, struct block *b, size_t first, size_t count) {
    for (size_t i = first; i < first + count; i++) {
        atomic_store_explicit(&a->map[i], b, memory_order_release);
    }
}

/*
 * A whole map would be 64 MiB that the system promises to every process (and counts against
 * RLIMIT_DATA). It becomes writable by pieces, each for 16 GiB of addresses: seldom enough for a
 * system call under the lock.
 */
static bool map_reaches(struct arena *a, size_t offset) REQUIRES(a->lock) {
    size_t bytes = round_up(offset / GRANULE * sizeof *a->map, ARENA_MAP_PIECE);
    if (bytes <= a->map_writable) {
        return true;
    }
    void *from = a->map + a->map_writable / sizeof *a->map;
    if (!meta_allow_writing(from, bytes - a->map_writable)) {
        return false;
    }
    a->map_writable = bytes;
    return true;
}

/* A step for the span, or, where less is left, all of it. Spans do not touch: what lies between them keeps
 * the kernel from making one mapping of two pools' blocks. */
static enum fill_result extend(struct arena *a, struct span *span, size_t needed)
    REQUIRES(a->lock) {
    size_t fence = span->step != 0 ? GRANULE : 0;
    size_t left = size_minus(atomic_load_explicit(&a->bytes, memory_order_relaxed), a->used);
    if (needed > size_minus(left, fence)) {
        return FILL_NO_ADDRESS;
    }
    size_t bytes = size_min(size_max(needed + fence, span->step), left);
    if (!map_reaches(a, a->used + bytes)) {
        return FILL_REFUSED;
    }
    span->next = a->used;
    a->used += bytes;
    span->end = a->used - fence;
    return FILL_OK;
}

static enum fill_result place(struct arena *a, struct span *span, struct block *b, size_t *taken)
    REQUIRES(a->lock) {
    size_t bytes = round_up(block_bytes(b), GRANULE);
    *taken = 0;
    if (bytes > span->end - span->next) {
        enum fill_result result = extend(a, span, bytes);
        if (result != FILL_OK) {
            return result;
        }
        *taken = span->end - span->next;
    }
    size_t offset = span->next;
    span->next += bytes;
    b->address = a->base + offset;
    enter(a, b, offset / GRANULE, bytes / GRANULE);
    return FILL_OK;
}

enum fill_result arena_place(struct arena *a, struct span *span, struct block *b, size_t *taken) {
    lock_acquire(&a->lock);
    enum fill_result result = place(a, span, b, taken);
    lock_release(&a->lock);
    return result;
}

struct block *arena_next(const struct arena *a, size_t *cursor) {
    while (*cursor < a->used) {
        struct block *b = arena_find(a, a->base + *cursor);
        if (b != NULL) {
            *cursor += round_up(block_bytes(b), GRANULE);
            return b;
        }
        *cursor += GRANULE;
    }
    return NULL;
}
