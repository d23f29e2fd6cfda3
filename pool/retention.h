/*
 * retention.h - how much idle memory may stay, and for how long. Pure arithmetic; bytes, milliseconds.
 *
 *     reserved == live + idle      idle may be at most
 *                                  - what the user allows
 *                                  - 90 % of the memory there is, less what is live
 *                                  - when new memory is needed in spite of all that is idle:
 *                                    what was needed at once lately and a little more, less what is
 *
 * The last keeps resident memory at what the process needs at its worst moment as it is now: what is idle
 * then cannot be lent, and an equal amount of it goes back for what is new.
 */
#ifndef POOL_RETENTION_H
#define POOL_RETENTION_H

#include "pool/clock.h"
#include "pool/util.h"

/* How many periods are over, of which the first began then; 2 stands for more. */
static inline unsigned periods_ended(uint64_t start_ms, uint64_t period_ms, uint64_t now_ms) {
    uint64_t passed = now_ms - start_ms;
    if (period_ms == NEVER || passed < period_ms) {
        return 0;
    }
    return passed / 2 < period_ms ? 1 : 2;
}

struct retention {
    size_t cache_max;    /* idle bytes that the user allows */
    size_t memory_limit; /* what this process may use in all */
    size_t reserve;      /* reserved bytes that no age and no peak makes less */
    uint64_t decay_ms;   /* idle for longer goes back; NEVER: it does not */
};

/* A tenth of the limit stays free for what is not ours to count. */
static inline size_t retention_usable(const struct retention *r) {
    return r->memory_limit - r->memory_limit / 10;
}

static inline size_t retention_idle_max(const struct retention *r, size_t live) {
    return size_min(r->cache_max, size_minus(retention_usable(r), live));
}

/* Of `pools`, each by itself: as long as all of them keep to it, so do they together. */
static inline struct retention retention_share(const struct retention *r, unsigned pools) {
    struct retention share = *r;
    share.cache_max /= pools;
    share.memory_limit /= pools;
    return share;
}

/* What a program may hold beyond its peak: 1/64, or 16 MiB where it needs little, for which it would pay
 * with page faults again and again. */
static inline size_t retention_slack(size_t peak) {
    return size_max(peak / 64, size_minus(16 * MIB, peak / 8));
}

/*
 * The most that the process needed at once lately: what was live, and what it had besides, in small requests, code and
 * files. As that grows, less may be idle, so that the whole is no more than it was.
 *
 *     period      |  previous  |  current . . .  |      as long as idle memory stays
 *
 *     needed == live + others     others == resident - reserved, below 0 where what is live was not touched
 */
struct needed {
    uint64_t period_start_ms;
    ptrdiff_t previous;
    ptrdiff_t current;
    ptrdiff_t others; /* lately */
    size_t expected;  /* to be live at once, before it was; until this period ends */
};

static inline ptrdiff_t needed_highest(const struct needed *n) {
    return n->previous > n->current ? n->previous : n->current;
}

/* The same at a later time, when `live` is, or was since the last look. */
static inline struct needed needed_at(struct needed n, size_t live, uint64_t now_ms,
                                      uint64_t period_ms) {
    ptrdiff_t needed = (ptrdiff_t)live + n.others;
    unsigned ended = periods_ended(n.period_start_ms, period_ms, now_ms);
    if (ended != 0) {
        n.previous = ended == 1 ? n.current : needed;
        n.current = needed;
        n.expected = 0;
        n.period_start_ms = now_ms;
    }
    n.current = n.current > needed ? n.current : needed;
    return n;
}

/* So much may be held, with what the process has besides now. */
static inline size_t needed_bytes(const struct needed *n) {
    ptrdiff_t bytes = needed_highest(n) - n->others;
    return size_max(bytes > 0 ? (size_t)bytes : 0, n->expected);
}

/* How much may stay idle at the moment when memory grows. */
static inline size_t retention_idle_max_growing(const struct retention *r, size_t live,
                                                size_t needed) {
    size_t enough = size_max(needed + retention_slack(needed), r->reserve);

    return size_min(retention_idle_max(r, live), size_minus(enough, live));
}

/*
 * What a program asks for anew, period by period. A pool under a cache of the program's own is asked once and
 * gets everything back at the end: as much stays idle as was asked for lately, and no more.
 *
 *     period      |  previous  |  current . . .  |
 *     demand is the larger of the two, until a period passes without any
 */
struct demand {
    uint64_t period_start_ms;
    size_t previous;
    size_t current;
};

/* The same at a later time: whole periods without a request are gone through. */
static inline struct demand demand_at(struct demand d, uint64_t now_ms, uint64_t period_ms) {
    unsigned ended = periods_ended(d.period_start_ms, period_ms, now_ms);
    if (ended == 0) {
        return d;
    }
    return (struct demand){.period_start_ms = now_ms, .previous = ended == 1 ? d.current : 0};
}

static inline size_t demand_bytes(struct demand d) {
    return size_max(d.previous, d.current);
}

/* Is there so much of a device's memory that some may be taken before anybody asks? A quarter stays for other
 * processes, and for what this one takes past our pools. */
static inline bool retention_is_plenty(size_t bytes, size_t free_bytes, size_t all) {
    return bytes <= free_bytes && free_bytes - bytes >= all / 4 && all != 0;
}

/* The most pinned memory for which that holds: nobody can take it back but we. */
static inline size_t retention_pinned_ahead(size_t memory_limit) {
    return memory_limit / 16;
}

/* Idle bytes that age leaves alone, where so many are held besides. */
static inline size_t retention_idle_min(const struct retention *r, size_t held) {
    return size_minus(r->reserve, held);
}

/* What became idle before that time goes back now. */
static inline uint64_t retention_cutoff_ms(uint64_t decay_ms, uint64_t now_ms) {
    return now_ms > decay_ms ? now_ms - decay_ms : 0;
}

/* When the block that has been idle for longest will be due. */
static inline uint64_t retention_due_ms(uint64_t decay_ms, uint64_t oldest_ms) {
    return decay_ms == NEVER ? NEVER : oldest_ms + decay_ms + 1;
}

/* When to look again, where a block will be due at `due_ms` and a shortage may go unnoticed for `watch_ms`:
 * blocks that are due one shortly after the other go back together. */
static inline uint64_t retention_next_ms(uint64_t due_ms, uint64_t watch_ms, uint64_t now_ms) {
    static const uint64_t rest_ms = 100;
    uint64_t next = now_ms + watch_ms;
    if (due_ms > now_ms && due_ms < next) {
        next = due_ms;
    }
    return next > now_ms + rest_ms ? next : now_ms + rest_ms;
}

#endif
