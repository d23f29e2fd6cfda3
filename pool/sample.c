#include "pool/sample.h"

static void take_gauges(struct sample *s, struct pool *p) REQUIRES(p->lock) {
    struct marks highest = stock_look(p, LOOK_OF_SAMPLES);
    s->live = gauge_current(&p->figures->stats.allocated_bytes);
    s->reserved = gauge_current(&p->figures->stats.reserved_bytes);
    s->requested = gauge_current(&p->figures->stats.requested_bytes);
    s->idle = pool_idle_bytes(p);
    s->live_peak = highest.live;
    s->reserved_peak = highest.reserved;
}

/* Without the lock: there are many classes, and these only grow. */
static void add_up(struct sample *s, const struct figures *f) {
    s->hits = 0;
    s->misses = 0;
    for (unsigned c = 0; c < SIZE_CLASSES; c++) {
        s->hits += stats_read(&f->classes[c].hits);
        s->misses += stats_read(&f->classes[c].misses);
    }
    s->missed = stats_read(&f->stats.missed_bytes);
    s->miss_us = stats_read(&f->stats.miss_us);
    s->released = stats_read(&f->stats.released_bytes);
}

void sample_take(struct sample *s, struct pool *p) {
    stock_lock(p);
    take_gauges(s, p);
    stock_unlock(p);
    add_up(s, stock_figures(p));
}
