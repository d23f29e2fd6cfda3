#include "cuda_hooks/address_map.h"

#include "pool/meta.h"

enum {
    MASK = ADDRESS_MAP_SLOTS - 1
};

static const size_t TABLE_BYTES = ADDRESS_MAP_SLOTS * sizeof(struct block *);

/* Allocations begin on 512 bytes at least. Fibonacci hashing: the high bits of the product. */
static size_t home_slot(const void *address) {
    uint64_t key = (uintptr_t)address / 512;
    return (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> (64 - ADDRESS_MAP_LG_SLOTS));
}

/* The slot of the block at that address, or the free one where it would be. */
static size_t slot_of(const struct address_map *m, const void *address) REQUIRES(m->lock) {
    size_t slot = home_slot(address);
    while (m->slots[slot] != NULL && m->slots[slot]->address != address) {
        slot = (slot + 1) & MASK;
    }
    return slot;
}

static bool has_room(struct address_map *m) REQUIRES(m->lock) {
    if (m->slots == NULL) {
        struct block **slots = meta_map(TABLE_BYTES);
        m->slots = slots != NULL && meta_allow_writing(slots, TABLE_BYTES) ? slots : NULL;
    }
    return m->slots != NULL && m->count < ADDRESS_MAP_MOST;
}

bool address_map_put(struct address_map *m, struct block *b, struct block **stale) {
    *stale = NULL;
    lock_acquire(&m->lock);
    bool fits = has_room(m);
    if (fits) {
        size_t slot = slot_of(m, b->address);
        *stale = m->slots[slot];
        m->slots[slot] = b;
        m->count += *stale == NULL;
    }
    lock_release(&m->lock);
    return fits;
}

struct block *address_map_find(struct address_map *m, const void *address) {
    lock_acquire(&m->lock);
    struct block *b = m->count != 0 ? m->slots[slot_of(m, address)] : NULL;
    lock_release(&m->lock);
    return b;
}

bool address_map_is_empty(const struct address_map *m) {
    return atomic_load_explicit(&m->count, memory_order_relaxed) == 0;
}

/* How far a slot is behind the one where its block would best be. */
static size_t distance(const struct address_map *m, size_t slot) REQUIRES(m->lock) {
    return (slot - home_slot(m->slots[slot]->address)) & MASK;
}

/* Closes the gap with a block from behind it that may stand there, then the gap that this leaves. */
static void empty(struct address_map *m, size_t gap) REQUIRES(m->lock) {
    size_t slot = gap;
    m->slots[gap] = NULL;
    m->count--;
    while (m->slots[slot = (slot + 1) & MASK] != NULL) {
        if (distance(m, slot) >= ((slot - gap) & MASK)) {
            m->slots[gap] = m->slots[slot];
            m->slots[slot] = NULL;
            gap = slot;
        }
    }
}

bool address_map_remove(struct address_map *m, const struct block *b, const void *address) {
    lock_acquire(&m->lock);
    size_t slot = m->count != 0 ? slot_of(m, address) : 0;
    bool is_there = m->count != 0 && m->slots[slot] == b;
    if (is_there) {
        empty(m, slot);
    }
    lock_release(&m->lock);
    return is_there;
}

/* What takes the place of a block that comes out is looked at next: the cursor stays. */
struct block *address_map_take_next(struct address_map *m, const struct pool *home,
                                    size_t *cursor) {
    struct block *found = NULL;
    lock_acquire(&m->lock);
    while (m->count != 0 && *cursor < ADDRESS_MAP_SLOTS && found == NULL) {
        struct block *b = m->slots[*cursor];
        if (b != NULL && b->home == home) {
            found = b;
            empty(m, *cursor);
        } else {
            ++*cursor;
        }
    }
    lock_release(&m->lock);
    return found;
}

/* The table of the parent is given up: to clear it would be to copy it. */
void address_map_reset(struct address_map *m) UNCHECKED_LOCKING {
    lock_reset(&m->lock);
    m->slots = NULL;
    m->count = 0;
}
