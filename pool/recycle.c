#include "pool/recycle.h"

/* What came of a round of borrowing, for the figures. */
struct tally {
    size_t granules;      /* moved */
    size_t moves;         /* from so many blocks */
    size_t dropped_bytes; /* given back because they could not be */
    size_t doubted_bytes; /* moved, and yet to be counted where they were */
};

/* Takes the oldest out of the idle lists until together they hold so many. They are chained by `older`,
 * the oldest first. */
static struct block *collect(struct pool *p, uint32_t granules) REQUIRES(p->lock) {
    struct block *lenders = NULL;
    struct block **end = &lenders;
    struct block *b = NULL;
    for (uint32_t sum = 0; sum < granules && (b = stock_oldest(p, 1)) != NULL; sum += b->granules) {
        stock_remove(p, b);
        b->older = NULL;
        *end = b;
        end = &b->older;
    }
    return lenders;
}

/* Where moving stopped half-way, what is left is no prefix, or cannot be moved: of no use to anybody.
 * Where it cannot be given back either, the block may hold it, and what was moved, for all we know. */
static void drop(struct pool *p, const struct move *m, struct tally *t) {
    size_t held = extent_bytes(block_held(m->from));
    size_t moved = m->moved * GRANULE;
    if (p->backend->drain(p->backend, m->from)) {
        t->dropped_bytes += held - moved;
    } else {
        t->doubted_bytes += moved;
    }
}

/* The last granules of m->from, m->count at most, become the next of m->to. */
static enum move_result lend(struct pool *p, struct move *m, struct tally *t) {
    m->count = (uint32_t)size_min(m->count, m->from->granules);
    m->from_granule = m->from->granules - m->count;
    m->moved = 0;
    enum move_result result = p->backend->move(p->backend, m);
    m->to->granules += m->moved;
    t->granules += m->moved;
    t->moves += m->moved != 0;
    if (result == MOVE_OK) {
        m->from->granules -= m->moved;
    } else if (result != MOVE_CANNOT || m->moved > 0) {
        drop(p, m, t);
    }
    return result;
}

/* Pages that cannot be moved are no reason why others could not. */
static bool may_go_on(enum move_result result) {
    return result == MOVE_OK || result == MOVE_REFUSED;
}

static void count(struct pool *p, const struct tally *t) REQUIRES(p->lock) {
    stats_add(&p->figures->stats.recycled_blocks, t->granules != 0);
    stats_add(&p->figures->stats.recycled_bytes, t->granules * GRANULE);
    stats_add(&p->figures->stats.moves, t->moves);
    stats_add(&p->figures->stats.released_bytes, t->dropped_bytes);
    stats_add(&p->figures->stats.stuck_bytes, t->dropped_bytes);
    gauge_sub(&p->figures->stats.reserved_bytes, t->dropped_bytes);
    gauge_add(&p->figures->stats.reserved_bytes, t->doubted_bytes);
    stock_grown(p);
}

void recycle_abandon(struct pool *p, const struct move *m) {
    struct block *b = m->to;
    size_t first = (m->to_granule + m->moved) * GRANULE;
    size_t last = (m->to_granule + m->count) * GRANULE;
    (void)p->backend->clear(p->backend, b, 0, first);
    if (last < block_bytes(b)) {
        (void)p->backend->clear(p->backend, b, last, block_bytes(b));
    }
    stock_lock(p);
    gauge_sub(&p->figures->stats.reserved_bytes, extent_bytes(block_held(b)));
    stock_lose(p, b);
    stock_unlock(p);
}

static enum move_result borrow(struct pool *p, struct move *m, uint32_t last, struct tally *t) {
    enum move_result result = MOVE_OK;
    while (m->from != NULL && m->to_granule < last) {
        m->count = last - m->to_granule;
        result = lend(p, m, t);
        if (!may_go_on(result)) {
            break;
        }
        m->to_granule += m->moved;
        m->from = m->from->older;
    }
    return result;
}

bool recycle_into(struct pool *p, struct block *b, uint32_t first, uint32_t last) {
    if (first >= last || !backend_can_move(p->backend)) {
        return true;
    }
    stock_lock(p);
    struct block *lenders = collect(p, last - first);
    stock_unlock(p);
    if (lenders == NULL) {
        return true;
    }
    struct move m = {.from = lenders, .to = b, .to_granule = first};
    struct tally t = {0};
    enum move_result result = borrow(p, &m, last, &t);
    if (result == MOVE_LOST) {
        recycle_abandon(p, &m);
    }
    stock_lock(p);
    while (lenders != NULL) {
        struct block *lender = lenders;
        lenders = lender->older;
        stock_file(p, lender);
    }
    count(p, &t);
    stock_unlock(p);
    return result != MOVE_LOST;
}
