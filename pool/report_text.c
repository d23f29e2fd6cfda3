#include "pool/report.h"

enum {
    LABEL_COLUMNS = 18,
    SIZE_COLUMNS = 8,
    NUMBER_COLUMNS = 12,
    BUSIEST_CLASSES = 6
};

static void write_title(struct writer *w, const struct report *r) {
    write_text(w, "bigmalloc: ");
    write_text(w, r->command);
    write_text(w, " (pid ");
    write_number(w, r->pid, 0);
    write_text(w, ")");
}

static void write_served(struct writer *w, const struct totals *t) {
    write_number(w, t->requests, 0);
    write_text(w, " large requests for ");
    write_bytes(w, t->requested_bytes);
    write_text(w, ", ");
    write_percent(w, t->hits, t->requests);
    write_text(w, " of them served by idle blocks");
}

void report_brief(struct writer *w, const struct report *r) {
    struct totals t = report_totals(r);
    write_title(w, r);
    write_text(w, ": ");
    write_served(w, &t);
    write_text(w, "\nbigmalloc: at most ");
    write_bytes(w, t.allocated_peak);
    write_text(w, " in use and ");
    write_bytes(w, t.reserved_peak);
    write_text(w, " held; more: BIGMALLOC_STATS=text, silence: BIGMALLOC_STATS=off\n");
}

/* ---- one screen ---- */

/* How a number is to be read. */
typedef void unit(struct writer *w, size_t n);

static void as_count(struct writer *w, size_t n) {
    write_number(w, n, 0);
}

/* The number, and blanks up to the next column: one at least. */
static void write_cell(struct writer *w, unit *as, size_t n, size_t columns) {
    char room[24] = "";
    struct writer cell = writer_to(-1, room, sizeof room - 1);
    as(&cell, n);
    write_padded(w, room, size_max(columns, cell.length + 1));
}

static void write_label(struct writer *w, const char *name) {
    write_text(w, "  ");
    write_padded(w, name, LABEL_COLUMNS);
}

static void write_gauge(struct writer *w, const char *name, const struct gauge *g) {
    write_label(w, name);
    write_cell(w, write_bytes, gauge_current(g), NUMBER_COLUMNS);
    write_cell(w, write_bytes, stats_read(&g->peak), NUMBER_COLUMNS);
    write_cell(w, write_bytes, stats_read(&g->allocated), NUMBER_COLUMNS);
    write_bytes(w, stats_read(&g->freed));
    write_char(w, '\n');
}

/* What is zero would fill the screen with what did not happen. */
static void write_figure(struct writer *w, const char *name, unit *as, size_t n, const char *doc) {
    if (n == 0) {
        return;
    }
    write_label(w, name);
    write_cell(w, as, n, NUMBER_COLUMNS);
    write_text(w, doc);
    write_char(w, '\n');
}

static size_t class_requests(const struct bucket *bucket) {
    return stats_read(&bucket->hits) + stats_read(&bucket->misses);
}

/* The class that comes after `last` when the busiest come first; SIZE_CLASSES: none is left. */
static unsigned next_busiest(const struct pool *p, unsigned last) {
    size_t limit = last < SIZE_CLASSES ? class_requests(&p->buckets[last]) : SIZE_MAX;
    unsigned best = SIZE_CLASSES;
    size_t most = 0;
    for (unsigned c = 0; c < SIZE_CLASSES; c++) {
        size_t n = class_requests(&p->buckets[c]);
        bool is_after = n < limit || (n == limit && c > last);
        if (is_after && n > most) {
            best = c;
            most = n;
        }
    }
    return best;
}

static void write_class(struct writer *w, const struct bucket *bucket, unsigned c) {
    write_text(w, "  ");
    write_cell(w, write_bytes, size_class_bytes(c), SIZE_COLUMNS);
    write_number(w, stats_read(&bucket->hits), NUMBER_COLUMNS);
    write_number(w, stats_read(&bucket->misses), NUMBER_COLUMNS);
    write_number(w, stats_read(&bucket->idle), NUMBER_COLUMNS);
    write_char(w, '\n');
}

static void write_classes(struct writer *w, const struct pool *p) {
    write_text(w, "  size            hits      misses        idle   of the busiest classes\n");
    unsigned c = next_busiest(p, SIZE_CLASSES);
    for (int i = 0; i < BUSIEST_CLASSES && c < SIZE_CLASSES; i++) {
        write_class(w, &p->buckets[c], c);
        c = next_busiest(p, c);
    }
}

static void write_pool(struct writer *w, const struct pool *p) {
    const struct stats *s = &p->stats;
    write_text(w, "  pool ");
    write_text(w, p->backend->kind);
    write_char(w, ' ');
    write_number(w, p->backend->id, 0);
    write_text(w, "       current     peak        allocated   freed\n");
#define GAUGE(name, doc) write_gauge(w, #name, &s->name);
#define FIGURE(name, as, doc) write_figure(w, #name, as, stats_read(&s->name), doc);
#define COUNTER(name, doc) FIGURE(name, as_count, doc)
#define BYTES(name, doc) FIGURE(name, write_bytes, doc)
#include "pool/stats.def"
#undef GAUGE
#undef COUNTER
#undef BYTES
#undef FIGURE
    write_figure(w, "mappings", as_count, stats_read(&p->backend->mappings),
                 "of the process, that the blocks cost at most");
    write_classes(w, p);
}

void report_text(struct writer *w, const struct report *r) {
    struct totals t = report_totals(r);
    write_title(w, r);
    write_char(w, '\n');
    if (t.requests == 0) {
        write_text(w, "  no large requests\n");
        return;
    }
    write_text(w, "  ");
    write_served(w, &t);
    write_text(w, " (");
    write_percent(w, t.hit_bytes, t.requested_bytes);
    write_text(w, " of the bytes)\n  ");
    write_number(w, t.hits, 0);
    write_text(w, " hits, ");
    write_number(w, t.misses, 0);
    write_text(w, " misses, ");
    write_number(w, t.failures, 0);
    write_text(w, " failures; asked for ");
    write_percent(w, t.used_bytes, t.served_bytes);
    write_text(w, " of what was handed out\n");
    for (size_t i = 0; i < r->pool_count; i++) {
        write_pool(w, &r->pools[i]);
    }
}
