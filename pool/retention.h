/*
 * retention.h - how much idle memory may stay, and for how long. Pure arithmetic; bytes, milliseconds.
 *
 *     reserved == live + idle      idle may be at most
 *                                  - what the user allows
 *                                  - 90 % of the memory there is, less what is live
 *                                  - when new memory is needed in spite of all that is idle:
 *                                    the peak of what was live lately and a little more, less what is
 *
 * The last keeps reserved memory at what the program needs at its worst moment as it is now: what is idle
 * then cannot be lent, and an equal amount of it goes back for what is new.
 */
#ifndef POOL_RETENTION_H
#define POOL_RETENTION_H

#include "pool/clock.h"
#include "pool/util.h"

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
 * The most that was live lately, by windows of what the program asks for:
 *
 *     bytes asked for  |  previous  |  current . . .  |
 *
 * At first a window ends when four times the peak was asked for: most loops ask for less in a step. A peak that
 * comes back after it was forgotten faults its part in anew. Where that is more than 1/32 of what was asked for
 * meanwhile, windows are twice as long from then on, until the steps of the loop fit into one.
 */
struct recent {
    size_t previous;  /* the most that was live in the last window */
    size_t current;   /* and in this one */
    size_t highest;   /* ever */
    size_t asked;     /* all that the program had asked for when this window began */
    unsigned doubled; /* so often were windows too short */
};

/* What is known of all pools at one time. */
struct recent_look {
    size_t peak;  /* the most that was live since the last look */
    size_t live;  /* now */
    size_t asked; /* by the program, ever */
};

static inline size_t recent_peak(const struct recent *r) {
    return size_max(r->previous, r->current);
}

/* How many peaks the program may ask for within a window. */
static inline size_t recent_window(const struct recent *r) {
    return (size_t)4 << r->doubled;
}

/* Is so high a peak one that was forgotten too early? */
static inline bool recent_was_short(const struct recent *r, size_t peak) {
    static const unsigned most_doubled = 16;
    size_t known = recent_peak(r);
    size_t again = size_minus(size_min(peak, r->highest), known);
    return again / recent_window(r) > known / 32 && r->doubled < most_doubled;
}

/* The same at a later time. */
static inline struct recent recent_at(struct recent r, struct recent_look look) {
    r.doubled += recent_was_short(&r, look.peak);
    r.current = size_max(r.current, look.peak);
    r.highest = size_max(r.highest, look.peak);
    if ((look.asked - r.asked) / recent_window(&r) >= recent_peak(&r)) {
        r.previous = r.current;
        r.current = look.live;
        r.asked = look.asked;
    }
    return r;
}

/* The same at the moment when memory grows; `peak` is the highest that `live` was, lately. */
static inline size_t retention_idle_max_growing(const struct retention *r, size_t live,
                                                size_t peak) {
    size_t enough = size_max(peak + retention_slack(peak), r->reserve);

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
    uint64_t passed = now_ms - d.period_start_ms;
    if (period_ms == NEVER || passed < period_ms) {
        return d;
    }
    bool is_next = passed / 2 < period_ms;
    return (struct demand){.period_start_ms = now_ms, .previous = is_next ? d.current : 0};
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
