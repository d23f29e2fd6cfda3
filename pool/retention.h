/*
 * retention.h - how much idle memory may stay, and for how long. Pure arithmetic; bytes, milliseconds.
 *
 *     reserved == live + idle      idle may be at most
 *                                  - what the user allows
 *                                  - 90 % of the memory there is, less what is live
 *                                  - when new memory is needed in spite of all that is idle:
    *                                    the peak of what was live and a little more, less what is
 *
 * The last keeps reserved memory at what one program run by itself would need at its worst moment: what
 * is idle then cannot be lent, and an equal amount of it goes back for what is new.
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
static inline size_t retention_idle_max(const struct retention *r, size_t live) {
    size_t usable = r->memory_limit - r->memory_limit / 10;
    return size_min(r->cache_max, size_minus(usable, live));
}

/* What a program may hold beyond its peak: 1/64, or 16 MiB where it needs little, for which it would pay
 * with page faults again and again. */
static inline size_t retention_slack(size_t peak) {
    return size_max(peak / 64, size_minus(16 * MIB, peak / 8));
}

/* The same at the moment when memory grows; `peak` is the highest that `live` ever was. */
static inline size_t retention_idle_max_growing(const struct retention *r, size_t live,
                                                size_t peak) {
    size_t enough = size_max(peak + retention_slack(peak), r->reserve);

    return size_min(retention_idle_max(r, live), size_minus(enough, live));
}

/* Idle bytes that age leaves alone. */
static inline size_t retention_idle_min(const struct retention *r, size_t live) {
    return size_minus(r->reserve, live);
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
