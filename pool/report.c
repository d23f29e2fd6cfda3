#include "pool/report.h"

#include <string.h>

static void add_pool(struct totals *t, const struct pool *p) {
    const struct figures *f = stock_figures(p);
    const struct stats *s = &f->stats;
    for (unsigned c = 0; c < SIZE_CLASSES; c++) {
        t->hits += stats_read(&f->classes[c].hits);
        t->misses += stats_read(&f->classes[c].misses);
    }
    t->failures += stats_read(&s->failures);
    t->oom_retries += stats_read(&s->oom_retries);
    t->remote_hits += stats_read(&s->remote_hits);
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
    t->requests = t->hits + t->misses + t->failures + t->passed;
}

struct totals report_totals(const struct report *r) {
    struct totals t = {0};
    size_t cursor = 0;
    for (const struct pool *p = r->next(&cursor); p != NULL; p = r->next(&cursor)) {
        add_pool(&t, p);
    }
    return t;
}

struct totals report_pool_totals(const struct pool *p) {
    struct totals t = {0};
    add_pool(&t, p);
    return t;
}

const struct nearby *report_nearby(const struct report *r, const struct pool *p) {
    const struct nearby *n = p->backend->nearby;
    return r->placement->has_nodes && n != NULL && n->node >= 0 ? n : NULL;
}

const char *report_placement(const struct report *r) {
    return r->bind_error != 0 ? "first touch" : placement_word(r->placement);
}

const char *report_placement_note(const struct report *r) {
    const char *error = r->bind_error != 0 ? strerrorname_np(r->bind_error) : NULL;
    const char *note = r->placement->note != NULL ? r->placement->note : ""; /* no pools opened */
    return error != NULL ? error : note;
}
