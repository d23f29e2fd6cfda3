#include "pool/resize.h"

#include <string.h>

#include "pool/reclaim.h"
#include "pool/recycle.h"

bool resize_in_place(struct pool *p, struct block *b, size_t bytes) {
    if (bytes > block_bytes(b)) {
        return false;
    }
    stock_lock(p);
    size_t grown = size_minus(bytes, b->requested_bytes);
    gauge_add(&p->figures->stats.requested_bytes, grown);
    stats_add(&p->figures->stats.grown_bytes, grown);
    gauge_sub(&p->figures->stats.requested_bytes, size_minus(b->requested_bytes, bytes));
    b->requested_bytes = bytes;
    size_t more = stock_use(b, bytes);
    gauge_add(&p->figures->stats.allocated_bytes, more);
    gauge_add(&p->figures->stats.reserved_bytes, more);
    stock_grown(p);
    stock_unlock(p);
    return true;
}

/* A block with memory that holds a tail at most, MOVING. NULL, and why not. */
static struct block *empty_block(struct pool *p, size_t bytes, enum fill_result *result) {
    struct block *b = stock_take(p, size_class_of(bytes), HOLDS_TAIL);
    *result = b != NULL ? p->backend->fill(p->backend, b, bytes) : FILL_REFUSED;
    if (b == NULL || *result == FILL_OK) {
        return b;
    }
    stock_lock(p);
    stock_push_empty(p, b);
    stock_unlock(p);
    return NULL;
}

/* ---- shrink ---- */

/* The surplus of b, from granule `keep` on, to a block of its own, as much as moves. */
static struct block *split(struct pool *p, struct block *b, uint32_t keep) {
    enum fill_result result = FILL_OK;
    size_t surplus = (b->granules - keep) * GRANULE;
    struct block *idle = NULL;
    if (backend_can_move(p->backend) && !b->is_altered) {
        idle = empty_block(p, surplus, &result);
    }
    if (idle == NULL) {
        return NULL;
    }
    struct move m = {.from = b, .from_at = keep * GRANULE, .to = idle, .bytes = surplus};
    if (p->backend->move(p->backend, &m) == MOVE_LOST) {
        recycle_abandon(p, &m);
        return NULL;
    }
    idle->granules = (uint32_t)(m.moved / GRANULE);
    return idle;
}

static void file_split(struct pool *p, struct block *b, uint64_t now_ms) REQUIRES(p->lock) {
    if (b->granules == 0) {
        stock_push_empty(p, b);
        return;
    }
    b->freed_ms = now_ms;
    stock_push(p, b);
    stats_add(&p->figures->stats.moves, 1);
}

/* b holds no more than it serves; what did not move, `left` bytes, went back to the system. */
static void count_shed(struct pool *p, struct block *b, struct extent keep, size_t left)
    REQUIRES(p->lock) {
    gauge_sub(&p->figures->stats.allocated_bytes, extent_bytes(block_held(b)) - extent_bytes(keep));
    gauge_sub(&p->figures->stats.reserved_bytes, left);
    stats_add(&p->figures->stats.released_bytes, left);
    stats_add(&p->figures->stats.outgrown_bytes, left);
    block_set_held(b, keep);
}

void resize_shed(struct pool *p, struct block *b, uint64_t now_ms) {
    struct extent keep = block_extent(b, b->requested_bytes);
    size_t surplus = extent_bytes(block_held(b)) - extent_bytes(keep);
    if (surplus == 0 || b->registrations != 0) {
        return;
    }
    struct block *idle = b->granules > keep.granules ? split(p, b, keep.granules) : NULL;
    size_t moved = idle != NULL ? idle->granules * GRANULE : 0;
    bool cleared = surplus == moved ||
                   p->backend->clear(p->backend, b, block_extent_end(b, keep), block_held_end(b));
    stock_lock(p);
    if (cleared) {
        count_shed(p, b, keep, surplus - moved);
    } else {
        gauge_add(&p->figures->stats.reserved_bytes, moved);
        stock_grown(p);
    }
    if (idle != NULL) {
        file_split(p, idle, now_ms);
    }
    stock_unlock(p);
}

/* ---- grow ---- */

/* All that the program can have written into m->from. False: m->to is LOST, and m->from as it was. */
static bool move_contents(struct pool *p, struct move *m) {
    enum move_result result = MOVE_CANNOT;
    if (m->bytes != 0 && backend_can_move(p->backend)) {
        result = p->backend->move(p->backend, m);
    }
    if (result == MOVE_LOST) {
        memcpy(m->from->address, m->to->address, m->moved);
        recycle_abandon(p, m);
        return false;
    }
    memcpy(m->to->address + m->moved, m->from->address + m->moved,
           size_minus(block_usable_bytes(m->from), m->moved));
    return true;
}

/* Pages of idle blocks for what is new, then those of m->from. */
static bool gather(struct pool *p, struct move *m, size_t bytes) {
    size_t own = size_min(block_extent(m->from, m->from->requested_bytes).granules * GRANULE,
                          block_whole_bytes(m->to));
    m->bytes = m->from->registrations == 0 ? own : 0;
    return recycle_into(p, m->to, m->bytes, block_extent(m->to, bytes)) && move_contents(p, m);
}

/* Where the pages are now. Is m->from to give back what it still has? Not where somebody else has freed it,
 * which is an error of the program, nor where it is PARKED. */
static bool file_moved(struct pool *p, const struct move *m, size_t bytes) REQUIRES(p->lock) {
    bool is_left = stock_take_back(p, m->from) && !stock_park(p, m->from);
    m->to->is_altered = m->from->is_altered;
    m->to->granules += (uint32_t)(m->moved / GRANULE);
    stock_hand_out(p, m->to, bytes);
    stats_add(&p->figures->stats.grown_bytes, bytes);
    stats_add(&p->figures->stats.moved_blocks, 1);
    return is_left;
}

struct block *resize_by_moving(struct pool *p, struct block *b, size_t bytes,
                               enum fill_result *result) {
    struct block *to = empty_block(p, bytes, result);
    if (to == NULL) {
        return NULL;
    }
    struct move m = {.from = b, .to = to};
    if (!gather(p, &m, bytes)) {
        *result = FILL_LOST;
        return NULL;
    }
    stock_lock(p);
    bool is_left = file_moved(p, &m, bytes);
    stock_unlock(p);
    if (is_left) {
        (void)reclaim_block(p, b, m.moved, &p->own.stats.outgrown_bytes);
    }
    return to;
}
