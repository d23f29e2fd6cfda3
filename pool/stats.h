/*
 * stats.h - the figures of stats.def as a struct.
 *
 * They are written under the lock of their pool, and read at any time without it, also by a signal
 * handler: every field is atomic and every access relaxed, so that a reader sees whole values,
 * though not all of one instant.
 */
#ifndef POOL_STATS_H
#define POOL_STATS_H

#include <stdatomic.h>

#include "pool/util.h"

struct gauge {
    _Atomic size_t allocated; /* all that ever came */
    _Atomic size_t freed;     /* all that ever went: current == allocated - freed */
    _Atomic size_t peak;      /* the highest that current ever was */
};

struct stats {
#define GAUGE(name, doc) struct gauge name;
#define COUNTER(name, doc) _Atomic size_t name;
#define BYTES(name, doc) _Atomic size_t name;
#include "pool/stats.def"
#undef GAUGE
#undef COUNTER
#undef BYTES
};

static inline size_t stats_read(const _Atomic size_t *figure) {
    return atomic_load_explicit(figure, memory_order_relaxed);
}

static inline void stats_set(_Atomic size_t *figure, size_t n) {
    atomic_store_explicit(figure, n, memory_order_relaxed);
}

/* The caller holds the lock of the pool: a load and a store, no atomic addition. */
static inline size_t stats_add(_Atomic size_t *figure, size_t n) {
    size_t sum = stats_read(figure) + n;
    stats_set(figure, sum);
    return sum;
}

/* A reader that is not the writer may see freed ahead of allocated: never less than 0. */
static inline size_t gauge_current(const struct gauge *g) {
    size_t freed = stats_read(&g->freed);
    return size_minus(stats_read(&g->allocated), freed);
}

HOT void gauge_add(struct gauge *g, size_t n) {
    size_t current = stats_add(&g->allocated, n) - stats_read(&g->freed);
    /* Signed: a child that no fork handler of ours saw frees what it never saw allocated. */
    if ((ptrdiff_t)current > (ptrdiff_t)stats_read(&g->peak)) {
        stats_set(&g->peak, current);
    }
}

HOT void gauge_sub(struct gauge *g, size_t n) {
    stats_add(&g->freed, n);
}

#endif
