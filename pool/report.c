#include "pool/report.h"

static void add_pool(struct totals *t, const struct pool *p) {
    for (unsigned c = 0; c < SIZE_CLASSES; c++) {
        t->hits += stats_read(&p->buckets[c].hits);
        t->misses += stats_read(&p->buckets[c].misses);
    }
    const struct stats *s = &p->stats;
    t->failures += stats_read(&s->failures);
    t->oom_retries += stats_read(&s->oom_retries);
    t->passed += stats_read(&s->passed);
    size_t used = stats_read(&s->requested_bytes.allocated);
    size_t others = stats_read(&s->grown_bytes) + stats_read(&s->inherited_bytes);
    size_t requested = size_minus(used, others);
    t->used_bytes += used;
    t->requested_bytes += requested;
    t->hit_bytes += size_minus(requested, stats_read(&s->missed_bytes));
    t->served_bytes += stats_read(&s->allocated_bytes.allocated);
    t->allocated_peak += stats_read(&s->allocated_bytes.peak);
    t->reserved_peak += stats_read(&s->reserved_bytes.peak);
}

struct totals report_totals(const struct report *r) {
    struct totals t = {0};
    for (size_t i = 0; i < r->pool_count; i++) {
        add_pool(&t, &r->pools[i]);
    }
    t.requests = t.hits + t.misses + t.failures + t.passed;
    return t;
}
