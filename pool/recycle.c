#include "pool/recycle.h"

/* What came of a round of borrowing, for the figures. */
struct tally {
    size_t moved_bytes;
    size_t moves;         /* from so many blocks */
    size_t dropped_bytes; /* given back because they could not be moved */
    size_t doubted_bytes; /* moved, and yet to be counted where they were */
};

/* ---- who lends ---- */

/* Takes the oldest out of the idle lists until together they hold so many bytes. They are chained by `older`,
 * the oldest first. */
static struct block *collect(struct pool *p, size_t bytes) REQUIRES(p->lock) {
    struct block *lenders = NULL;
    struct block **end = &lenders;
    struct block *b = NULL;
    for (size_t sum = 0; sum < bytes && (b = stock_oldest(p, 1)) != NULL;
         sum += b->granules * GRANULE) {
        stock_remove(p, b);
        b->older = NULL;
        *end = b;
        end = &b->older;
    }
    return lenders;
}

/* To move a tail takes as long as to fault in so much of it. */
static const size_t TAIL_WORTHWHILE = 64 * KIB;

/* How much of its tail b can lend to one that lacks `bytes`. The borrower's room is taken up whole, so that a tail
 * is one mapping always, however often it moves. */
static size_t tail_to_lend(const struct block *b, const struct block *to, size_t bytes) {
    bool is_bare = b != NULL && b->granules == 0 && block_tail_room(b) >= block_tail_room(to);
    size_t most = is_bare ? size_min(b->tail_bytes, bytes) : 0;
    return most >= TAIL_WORTHWHILE ? most : 0;
}

/* The classes below have tails: all others are whole granules. */
static unsigned end_of_tails(void) {
    return size_class_of(SIZE_CLASS_STEPS * GRANULE);
}

/* An empty block keeps a tail that no other size has any use for: the one with most goes first. */
static struct block *take_lent_tail(struct pool *p, const struct block *to, size_t bytes)
    REQUIRES(p->lock) {
    size_t most = 0;
    unsigned best = 0;
    for (unsigned c = 0; c < end_of_tails() && most < bytes; c++) {
        size_t lends = tail_to_lend(p->buckets[c].lent, to, bytes);
        if (lends > most) {
            most = lends;
            best = c;
        }
    }
    return most != 0 ? stock_pop_lent(p, best) : NULL;
}

/* The oldest of the idle blocks that are nothing but a tail. */
static struct block *take_idle_tail(struct pool *p, const struct block *to, size_t bytes)
    REQUIRES(p->lock) {
    struct block *oldest = NULL;
    for (unsigned c = 0; c < size_class_of(GRANULE); c++) {
        struct block *b = p->buckets[c].oldest;
        bool is_older = b != NULL && (oldest == NULL || b->freed_ms < oldest->freed_ms);
        oldest = is_older && tail_to_lend(b, to, bytes) != 0 ? b : oldest;
    }
    if (oldest != NULL) {
        stock_remove(p, oldest);
    }
    return oldest;
}

static struct block *collect_tail(struct pool *p, const struct block *to, size_t bytes)
    REQUIRES(p->lock) {
    if (bytes == 0) {
        return NULL;
    }
    struct block *lent = take_lent_tail(p, to, bytes);
    struct block *b = lent != NULL ? lent : take_idle_tail(p, to, bytes);
    if (b != NULL) {
        b->older = NULL;
    }
    return b;
}

/* ---- lending ---- */

/* Where moving stopped half-way, what is left is no prefix, or cannot be moved: of no use to anybody.
 * Where it cannot be given back either, the block may hold it, and what was moved, for all we know. */
static void drop(struct pool *p, const struct move *m, struct tally *t) {
    size_t held = extent_bytes(block_held(m->from));
    if (p->backend->drain(p->backend, m->from)) {
        t->dropped_bytes += held - m->moved;
    } else {
        t->doubted_bytes += m->moved;
    }
}

/* True: m->from holds less from now on, which is for the caller to set. */
static bool lend(struct pool *p, struct move *m, struct tally *t, enum move_result *result) {
    m->moved = 0;
    *result = p->backend->move(p->backend, m);
    t->moves += m->moved != 0;
    if (*result != MOVE_OK && (*result != MOVE_CANNOT || m->moved > 0)) {
        drop(p, m, t);
    }
    return *result == MOVE_OK;
}

/* Pages that cannot be moved are no reason why others could not. */
static bool may_go_on(enum move_result result) {
    return result == MOVE_OK || result == MOVE_REFUSED;
}

static void count(struct pool *p, const struct tally *t) REQUIRES(p->lock) {
    stats_add(&p->figures->stats.recycled_blocks, t->moved_bytes != 0);
    stats_add(&p->figures->stats.recycled_bytes, t->moved_bytes);
    stats_add(&p->figures->stats.moves, t->moves);
    stats_add(&p->figures->stats.released_bytes, t->dropped_bytes);
    stats_add(&p->figures->stats.stuck_bytes, t->dropped_bytes);
    gauge_sub(&p->figures->stats.reserved_bytes, t->dropped_bytes);
    gauge_add(&p->figures->stats.reserved_bytes, t->doubted_bytes);
    stock_grown(p);
}

void recycle_abandon(struct pool *p, const struct move *m) {
    struct block *b = m->to;
    size_t last = m->to_at + m->bytes;
    (void)p->backend->clear(p->backend, b, 0, m->to_at + m->moved);
    if (last < block_bytes(b)) {
        (void)p->backend->clear(p->backend, b, last, block_bytes(b));
    }
    stock_lock(p);
    gauge_sub(&p->figures->stats.reserved_bytes, extent_bytes(block_held(b)));
    stock_lose(p, b);
    stock_unlock(p);
}

/* The last granules of each, from m->to_at on. */
static enum move_result borrow_granules(struct pool *p, struct move *m, size_t end,
                                        struct tally *t) {
    enum move_result result = MOVE_OK;
    while (m->from != NULL && m->to_at < end && may_go_on(result)) {
        size_t held = m->from->granules * GRANULE;
        m->bytes = size_min(end - m->to_at, held);
        m->from_at = held - m->bytes;
        if (lend(p, m, t, &result)) {
            m->from->granules = (uint32_t)(m->from_at / GRANULE);
        }
        m->to->granules += (uint32_t)(m->moved / GRANULE);
        t->moved_bytes += m->moved;
        m->to_at += result != MOVE_LOST ? m->moved : 0;
        m->from = m->from->older;
    }
    return result;
}

/* The end of a tail, which is to be `bytes` at least. */
static enum move_result borrow_tail(struct pool *p, struct move *m, size_t bytes, struct tally *t) {
    size_t whole = block_whole_bytes(m->from);
    size_t held = m->from->tail_bytes;
    enum move_result result = MOVE_OK;
    m->to_at = block_whole_bytes(m->to);
    m->bytes = block_tail_room(m->to);
    size_t kept = size_min(size_minus(held, bytes), block_tail_room(m->from) - m->bytes);
    m->from_at = whole + kept;
    if (lend(p, m, t, &result)) {
        m->from->tail_bytes = (uint32_t)kept;
        m->to->tail_bytes = (uint32_t)(held - kept);
        t->moved_bytes += held - kept;
    }
    return result;
}

static void file_lenders(struct pool *p, struct block *lenders) REQUIRES(p->lock) {
    while (lenders != NULL) {
        struct block *lender = lenders;
        lenders = lender->older;
        stock_file(p, lender);
    }
}

bool recycle_into(struct pool *p, struct block *b, size_t from, struct extent needed) {
    size_t end = needed.granules * GRANULE;
    size_t tail = b->tail_bytes == 0 ? needed.tail_bytes : 0;
    if (!backend_can_move(p->backend) || (from >= end && tail == 0)) {
        return true;
    }
    stock_lock(p);
    struct block *lenders = collect(p, size_minus(end, from));
    struct block *tail_lender = collect_tail(p, b, tail);
    stock_unlock(p);
    struct move m = {.from = lenders, .to = b, .to_at = from};
    struct tally t = {0};
    enum move_result result = borrow_granules(p, &m, end, &t);
    if (tail_lender != NULL && may_go_on(result)) {
        m.from = tail_lender;
        result = borrow_tail(p, &m, tail, &t);
    }
    if (result == MOVE_LOST) {
        recycle_abandon(p, &m);
    }
    stock_lock(p);
    file_lenders(p, lenders);
    file_lenders(p, tail_lender);
    count(p, &t);
    stock_unlock(p);
    return result != MOVE_LOST;
}
