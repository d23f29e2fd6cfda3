/*
 * report.h - what the pools did, in words and numbers.
 *
 * All functions read the figures without a lock, so that a signal handler may call them, and write
 * through a writer: async-signal-safe, thread-safe, errno preserved. What they write is of about
 * one instant: a total may be ahead of its parts by what other threads do meanwhile.
 */
#ifndef POOL_REPORT_H
#define POOL_REPORT_H

#include "pool/pool.h"
#include "pool/writer.h"

struct report {
    const struct pool *pools;
    size_t pool_count;
    const char *command; /* name of the program */
    size_t pid;
};

/* Sums over all pools. requests == hits + misses + failures + passed */
struct totals {
    size_t requests;
    size_t hits;
    size_t misses;
    size_t failures;
    size_t passed;
    size_t oom_retries;
    size_t requested_bytes; /* asked for by hits and misses */
    size_t hit_bytes;       /* by hits */
    size_t used_bytes;      /* those, what a child inherited, and what realloc made of them */
    size_t served_bytes;    /* ... for which so much was handed out */
    size_t allocated_peak;  /* sum of the pools' peaks */
    size_t reserved_peak;
};

struct totals report_totals(const struct report *r);

/* Two lines: for somebody who did not ask. */
void report_brief(struct writer *w, const struct report *r);

/* One screen. */
void report_text(struct writer *w, const struct report *r);

/* One JSON object, on one line for each pool and class; "schema": "bigmalloc-stats/1". */
void report_json(struct writer *w, const struct report *r);

#endif
