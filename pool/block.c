#include "pool/block.h"

#include "pool/size_class.h"

size_t block_bytes(const struct block *b) {
    return size_class_bytes(b->size_class);
}

static void enter(const struct arena *a, struct block *b, size_t first, size_t count) {
    for (size_t i = first; i < first + count; i++) {
        atomic_store_explicit(&a->map[i], b, memory_order_release);
    }
}

bool arena_place(struct arena *a, struct block *b) {
    size_t bytes = round_up(block_bytes(b), GRANULE);
    lock_acquire(&a->lock);
    size_t offset = a->used;
    bool fits = bytes <= size_minus(atomic_load_explicit(&a->bytes, memory_order_relaxed), offset);
    if (fits) {
        a->used += bytes;
        b->address = a->base + offset;
        enter(a, b, offset / GRANULE, bytes / GRANULE);
    }
    lock_release(&a->lock);
    return fits;
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
