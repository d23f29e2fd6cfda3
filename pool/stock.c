#include "pool/stock.h"

enum {
    WORD_BITS = 64
};

figures_slot stock_own_slot;

static struct bucket *bucket_of(struct pool *p, const struct block *b) {
    return &p->buckets[b->size_class];
}

static uint64_t bit_of(unsigned c) {
    return (uint64_t)1 << c % WORD_BITS;
}

/* ---- idle ---- */

/* So many bytes more are idle; all that were is known here alone. */
static void add_idle_bytes(struct pool *p, size_t bytes) REQUIRES(p->lock) {
    stats_set(&p->figures->idle_bytes, stats_add(&p->idle_bytes, bytes));
}

static void add_idle_block(struct pool *p, const struct block *b, size_t count) REQUIRES(p->lock) {
    size_t idle = bucket_of(p, b)->idle += count;
    stats_set(&p->figures->classes[b->size_class].idle, idle);
}

static void enter(struct pool *p, struct block *b) REQUIRES(p->lock) {
    block_set_state(b, BLOCK_IDLE);
    p->stocked[b->size_class / WORD_BITS] |= bit_of(b->size_class);
    add_idle_block(p, b, 1);
    add_idle_bytes(p, extent_bytes(block_held(b)));
}

void stock_push(struct pool *p, struct block *b) {
    struct bucket *bucket = bucket_of(p, b);
    b->newer = NULL;
    b->older = bucket->newest;
    *(bucket->newest != NULL ? &bucket->newest->newer : &bucket->oldest) = b;
    bucket->newest = b;
    enter(p, b);
}

/* Before the first block that is younger, from the old end on. */
static void insert_by_age(struct pool *p, struct block *b) REQUIRES(p->lock) {
    struct bucket *bucket = bucket_of(p, b);
    struct block *newer = bucket->oldest;
    while (newer != NULL && newer->freed_ms < b->freed_ms) {
        newer = newer->newer;
    }
    b->newer = newer;
    b->older = newer != NULL ? newer->older : bucket->newest;
    *(b->newer != NULL ? &b->newer->older : &bucket->newest) = b;
    *(b->older != NULL ? &b->older->newer : &bucket->oldest) = b;
    enter(p, b);
}

void stock_file(struct pool *p, struct block *b) {
    bool is_bare = b->granules == 0 && (b->tail_bytes == 0 || block_whole_bytes(b) != 0);
    if (is_bare) {
        stock_push_empty(p, b);
    } else {
        insert_by_age(p, b);
    }
}

void stock_remove(struct pool *p, struct block *b) {
    struct bucket *bucket = bucket_of(p, b);
    *(b->newer != NULL ? &b->newer->older : &bucket->newest) = b->older;
    *(b->older != NULL ? &b->older->newer : &bucket->oldest) = b->newer;
    block_set_state(b, BLOCK_MOVING);
    if (bucket->newest == NULL) {
        p->stocked[b->size_class / WORD_BITS] &= ~bit_of(b->size_class);
    }
    add_idle_block(p, b, (size_t)-1);
    add_idle_bytes(p, 0 - extent_bytes(block_held(b)));
}

unsigned stock_next(const struct pool *p, unsigned c, unsigned last) {
    while (c <= last) {
        uint64_t word = p->stocked[c / WORD_BITS] >> c % WORD_BITS;
        if (word != 0) {
            c += (unsigned)__builtin_ctzl(word);
            return c <= last ? c : SIZE_CLASSES;
        }
        c = (c / WORD_BITS + 1) * WORD_BITS;
    }
    return SIZE_CLASSES;
}

struct block *stock_oldest(const struct pool *p, uint32_t granules) {
    struct block *oldest = NULL;
    for (unsigned c = stock_next(p, 0, SIZE_CLASSES - 1); c < SIZE_CLASSES;
         c = stock_next(p, c + 1, SIZE_CLASSES - 1)) {
        struct block *b = p->buckets[c].oldest;
        if (b->granules >= granules && (oldest == NULL || b->freed_ms < oldest->freed_ms)) {
            oldest = b;
        }
    }
    return oldest;
}

/* ---- empty ---- */

void stock_push_empty(struct pool *p, struct block *b) {
    struct bucket *bucket = bucket_of(p, b);
    struct block **list = b->tail_bytes != 0 ? &bucket->lent : &bucket->empty;
    block_set_state(b, BLOCK_EMPTY);
    b->older = *list;
    *list = b;
    add_idle_bytes(p, b->tail_bytes);
}

struct block *stock_pop(struct pool *p, struct block **list) {
    struct block *b = *list;
    if (b != NULL) {
        *list = b->older;
        block_set_state(b, BLOCK_MOVING);
        add_idle_bytes(p, 0 - (size_t)b->tail_bytes);
    }
    return b;
}

struct block *stock_pop_lent(struct pool *p, unsigned c) {
    return stock_pop(p, &p->buckets[c].lent);
}

static struct block *pop_newest(struct pool *p, unsigned c) REQUIRES(p->lock) {
    struct block *b = p->buckets[c].newest;
    if (b != NULL) {
        stock_remove(p, b);
    }
    return b;
}

static struct block *create(struct pool *p, unsigned c) {
    struct block *b = meta_record(p->records);
    if (b != NULL) {
        b->home = p;
        b->size_class = (uint16_t)c;
        block_set_state(b, BLOCK_MOVING);
    }
    return b;
}

struct block *stock_take(struct pool *p, unsigned c, enum stock_holds most) {
    stock_lock(p);
    struct block *b = most >= HOLDS_ANYTHING ? pop_newest(p, c) : NULL;
    if (b == NULL && most >= HOLDS_TAIL) {
        b = stock_pop_lent(p, c);
    }
    if (b == NULL) {
        b = stock_pop(p, &p->buckets[c].empty);
    }
    stock_unlock(p);
    return b != NULL ? b : create(p, c);
}

/* ---- live ---- */

size_t stock_use(struct block *b, size_t bytes) {
    struct extent used = block_extent(b, bytes);
    size_t before = extent_bytes(block_held(b));
    if (UNLIKELY(used.granules > b->granules)) {
        b->granules = used.granules;
    }
    if (UNLIKELY(used.tail_bytes > b->tail_bytes)) {
        b->tail_bytes = used.tail_bytes;
    }
    return extent_bytes(block_held(b)) - before;
}

void stock_hand_out(struct pool *p, struct block *b, size_t bytes) {
    size_t grown = stock_use(b, bytes);
    block_set_state(b, BLOCK_LIVE);
    b->requested_bytes = bytes;
    size_t live = stats_add(&p->figures->classes[b->size_class].live, 1);
    if (UNLIKELY(live > bucket_of(p, b)->live_peak)) {
        bucket_of(p, b)->live_peak = live;
    }
    gauge_add(&p->figures->stats.allocated_bytes, extent_bytes(block_held(b)));
    gauge_add(&p->figures->stats.requested_bytes, bytes);
    if (grown != 0) {
        gauge_add(&p->figures->stats.reserved_bytes, grown);
        stock_grown(p);
    }
    stock_grown_live(p);
}

struct marks stock_look(struct pool *p, enum looker who) {
    for (int i = 0; i < LOOKERS; i++) {
        p->seen[i].live = size_max(p->seen[i].live, p->marks.live);
        p->seen[i].reserved = size_max(p->seen[i].reserved, p->marks.reserved);
    }
    struct marks highest = p->seen[who];
    p->marks = (struct marks){.live = gauge_current(&p->figures->stats.allocated_bytes),
                              .reserved = gauge_current(&p->figures->stats.reserved_bytes)};
    p->seen[who] = p->marks;
    return highest;
}

bool stock_take_back(struct pool *p, struct block *b) {
    if (UNLIKELY(block_state(b) != BLOCK_LIVE)) {
        return false;
    }
    stats_add(&p->figures->classes[b->size_class].live, (size_t)-1);
    gauge_sub(&p->figures->stats.allocated_bytes, extent_bytes(block_held(b)));
    gauge_sub(&p->figures->stats.requested_bytes, b->requested_bytes);
    b->requested_bytes = 0;
    block_set_state(b, BLOCK_MOVING);
    return true;
}

bool stock_park(struct pool *p, struct block *b) {
    (void)p;
    if (UNLIKELY(b->registrations != 0)) {
        block_set_state(b, BLOCK_PARKED);
    }
    return b->registrations != 0;
}

void stock_lose(struct pool *p, struct block *b) {
    block_set_held(b, (struct extent){0});
    block_set_state(b, BLOCK_LOST);
    stats_add(&p->figures->stats.lost_blocks, 1);
}

/* ---- invariants ---- */

/* Of a list of empty blocks: do they have tails, if they are to? *held grows by those. */
static bool empty_is_valid(const struct block *list, bool tails, size_t *held) {
    for (const struct block *b = list; b != NULL; b = b->older) {
        if (block_state(b) != BLOCK_EMPTY || b->granules != 0 || (b->tail_bytes != 0) != tails) {
            return false;
        }
        *held += b->tail_bytes;
    }
    return true;
}

/* *held grows by what the blocks of the bucket hold. */
static bool bucket_is_valid(const struct bucket *bucket, unsigned c, size_t *held) {
    size_t idle = 0;
    const struct block *newer = NULL;
    for (const struct block *b = bucket->newest; b != NULL; newer = b, b = b->older) {
        if (b->newer != newer || b->size_class != c || block_state(b) != BLOCK_IDLE) {
            return false;
        }
        *held += extent_bytes(block_held(b));
        idle++;
    }
    return bucket->oldest == newer && bucket->idle == idle &&
           empty_is_valid(bucket->lent, true, held) && empty_is_valid(bucket->empty, false, held);
}

bool stock_is_valid(const struct pool *p) {
    size_t held = 0;
    for (unsigned c = 0; c < SIZE_CLASSES; c++) {
        const struct bucket *bucket = &p->buckets[c];
        bool is_stocked = (p->stocked[c / WORD_BITS] & bit_of(c)) != 0;
        if (is_stocked != (bucket->newest != NULL) || !bucket_is_valid(bucket, c, &held)) {
            return false;
        }
    }
    return held == stats_read(&p->idle_bytes) && held == stats_read(&p->figures->idle_bytes);
}
