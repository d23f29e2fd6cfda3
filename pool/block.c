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

static enum fill_result place(struct arena *a, struct block *b) REQUIRES(a->lock) {
    size_t bytes = round_up(block_bytes(b), GRANULE);
    size_t offset = a->used;
    if (bytes > size_minus(atomic_load_explicit(&a->bytes, memory_order_relaxed), offset)) {
        return FILL_NO_ADDRESS;
    }
    if (!map_reaches(a, offset + bytes)) {
        return FILL_REFUSED;
    }
    a->used += bytes;
    b->address = a->base + offset;
    enter(a, b, offset / GRANULE, bytes / GRANULE);
    return FILL_OK;
}

enum fill_result arena_place(struct arena *a, struct block *b) {
    lock_acquire(&a->lock);
    enum fill_result result = place(a, b);
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
