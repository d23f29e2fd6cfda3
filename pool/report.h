/*
 * report.h - what the pools did, in words and numbers.
 *
 * All functions read the figures without a lock, so that a signal handler may call them, and write
 * through a writer: async-signal-safe, thread-safe, errno preserved. What they write is of about
 * one instant: a total may be ahead of its parts by what other threads do meanwhile.
 */
#ifndef POOL_REPORT_H
#define POOL_REPORT_H

#include "pool/identity.h"
#include "pool/nearby.h"
#include "pool/placement.h"
#include "pool/pool.h"
#include "pool/residence.h"

#include "pool/writer.h"

/* One pool after the other, from *cursor on (0 at first); NULL at the end. Async-signal-safe. */
typedef const struct pool *next_pool(size_t *cursor);

/* Of the process, and of none of its pools. */
struct figure {
    const char *name;
    const char *doc;
    size_t value;
    bool is_bytes;
};

struct report {
    next_pool *next;
    const struct figure *figures;
    size_t figure_count;

    const struct identity *identity;
    uint64_t time_unix_us;
    const struct placement *placement;
    int bind_error;                    /* for which memory does not lie so; 0: none */
    const struct residence *residence; /* empty where there is one node */
};

/* Sums over all pools. requests == hits + misses + failures + passed */
struct totals {
    size_t requests;
    size_t hits;
    size_t misses;
    size_t failures;
    size_t passed;
    size_t oom_retries;
    size_t remote_hits;

    size_t requested_bytes; /* asked for by hits and misses */
    size_t hit_bytes;       /* by hits */
    size_t used_bytes;      /* those, what a child inherited, and what realloc made of them */
    size_t served_bytes;    /* ... for which so much was handed out */
    size_t allocated_peak;  /* sum of the pools' peaks */
    size_t reserved_peak;
};

struct totals report_totals(const struct report *r);

/* Where the pinned memory of that pool is to lie; NULL: it is none, or there is nothing to tell. */
const struct nearby *report_nearby(const struct report *r, const struct pool *p);

/* The same of one pool. */
struct totals report_pool_totals(const struct pool *p);

/* Where new memory lies, in a word or two, and why not as chosen; "" where it does. */
const char *report_placement(const struct report *r);
const char *report_placement_note(const struct report *r);

/* Two lines: for somebody who did not ask. */
void report_brief(struct writer *w, const struct report *r);

/* One screen. */
void report_text(struct writer *w, const struct report *r);

/* One JSON object, on one line for each pool and class; "schema": "bigmalloc-stats/1". */
void report_json(struct writer *w, const struct report *r);

/* The text format of Prometheus, 0.0.4: one sample of each figure for each place. */
void report_prom(struct writer *w, const struct report *r);

#endif
