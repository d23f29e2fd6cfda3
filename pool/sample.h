/*
 * sample.h - the main figures of a pool at one instant, and how high they were since the last sample of it.
 *
 * A pool keeps two marks beside its gauges (struct marks): no peak falls between two samples, and the highest of
 * all samples is the peak of the statistics.
 */
#ifndef POOL_SAMPLE_H
#define POOL_SAMPLE_H

#include "pool/pool.h"

/* Bytes but for hits, misses, and microseconds. */
struct sample {
    size_t live;      /* allocated_bytes */
    size_t live_peak; /* its highest since the last sample, or the beginning */
    size_t reserved;
    size_t reserved_peak;
    size_t requested;
    size_t idle;
    size_t hits;
    size_t misses;
    size_t missed;
    size_t miss_us;
    size_t released;
};

/* Thread-safe, not async-signal-safe. */
void sample_take(struct sample *s, struct pool *p) EXCLUDES(p->lock);

#endif
