/*
 * The text format of Prometheus, version 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats):
 *
 *     # HELP bigmalloc_failures_total requests that the system refused for good
 *     # TYPE bigmalloc_failures_total counter
 *     bigmalloc_failures_total{kind="host",node="0"} 0
 *     bigmalloc_failures_total{kind="device",gpu="GPU-..."} 0
 *
 * All samples of a family stand together, and no two of them have the same labels. So contexts on one
 * device, and kinds of pinned memory, are one: what adds up is their sum, and so is, as an upper
 * bound, the sum of their peaks. What a device has is no sum, and of no kind: it has the device's label alone. No label has a value for each process or size: each would be a series
 * that a server keeps for ever.
 */
#include "pool/report.h"

#include "pool/version.h"

#include <stddef.h>
#include <string.h>

/* The number of a pool at this offset in struct pool. */
typedef size_t reader(const struct pool *p, size_t offset);

/* Names and documentation are those of stats.def, with a unit that is a base unit. */
struct family {
    const char *name;
    const char *part; /* of the name, in front of the unit */
    const char *doc;
    const char *doc_end;
    reader *read;
    size_t offset;
    bool is_counter;
};

static size_t read_figure(const struct pool *p, size_t offset) {
    const void *figure = (const char *)stock_figures(p) + offset;
    return stats_read(figure);
}

static size_t read_current(const struct pool *p, size_t offset) {
    const void *gauge = (const char *)stock_figures(p) + offset;
    return gauge_current(gauge);
}

static size_t read_hits(const struct pool *p, size_t offset) {
    (void)offset;
    return report_pool_totals(p).hits;
}

static size_t read_misses(const struct pool *p, size_t offset) {
    (void)offset;
    return report_pool_totals(p).misses;
}

static size_t read_requests(const struct pool *p, size_t offset) {
    (void)offset;
    return report_pool_totals(p).requests;
}

#define GAUGE(name, doc) \
    {#name, "", doc, "", read_current, offsetof(struct figures, stats.name), false}, \
        {#name, "_peak", doc, ", at most", read_figure, offsetof(struct figures, stats.name.peak), \
         false}, \
        {#name,       "_acquired", \
         doc,         ", all that ever came", \
         read_figure, offsetof(struct figures, stats.name.allocated), \
         true}, \
        {#name,       "_released", \
         doc,         ", all that ever went", \
         read_figure, offsetof(struct figures, stats.name.freed), \
         true},
#define COUNTER(name, doc) \
    {#name, "", doc, "", read_figure, offsetof(struct figures, stats.name), true},
#define BYTES(name, doc) COUNTER(name, doc)
static const struct family families[] = {
    {"requests", "", "large requests", "", read_requests, 0, true},
    {"hits", "", "requests served by idle blocks", "", read_hits, 0, true},
    {"misses", "", "requests served with pages of other blocks or of the system", "", read_misses,
     0, true},
    {"idle_bytes", "", "memory that idle blocks hold", "", read_figure,
     offsetof(struct figures, idle_bytes), false},
#include "pool/stats.def"
};
#undef GAUGE
#undef COUNTER
#undef BYTES

/* ---- names ---- */

/* What a name of stats.def ends in, and what that is in base units. */
struct unit {
    const char *suffix;
    const char *base;
};

static const struct unit BYTE = {"_bytes", "_bytes"};
static const struct unit MICROSECOND = {"_us", "_seconds"};
static const struct unit PURE_NUMBER = {"", ""};

static bool ends_in(const char *name, const char *suffix) {
    size_t length = strlen(name);
    size_t end = strlen(suffix);
    return length >= end && strcmp(name + length - end, suffix) == 0;
}

static const struct unit *unit_of(const char *name) {
    return ends_in(name, BYTE.suffix)          ? &BYTE
           : ends_in(name, MICROSECOND.suffix) ? &MICROSECOND
                                               : &PURE_NUMBER;
}

static void write_family_name(struct writer *w, const struct family *f) {
    const struct unit *unit = unit_of(f->name);
    write_text(w, "bigmalloc_");
    write_padded(w, f->name, strlen(f->name) - strlen(unit->suffix));
    write_text(w, f->part);
    write_text(w, unit->base);
    write_text(w, f->is_counter ? "_total" : "");
}

/* "microseconds that those took" is said of seconds here. */
static const char *doc_of(const struct family *f) {
    static const char micro[] = "micro";
    bool is_micro = strncmp(f->doc, micro, strlen(micro)) == 0;
    return is_micro ? f->doc + strlen(micro) : f->doc;
}

static void write_head(struct writer *w, const struct family *f) {
    write_text(w, "# HELP ");
    write_family_name(w, f);
    write_char(w, ' ');
    write_text(w, doc_of(f));
    write_text(w, f->doc_end);
    write_text(w, "\n# TYPE ");
    write_family_name(w, f);
    write_text(w, f->is_counter ? " counter\n" : " gauge\n");
}

/* ---- labels ---- */

/* What is not printable ASCII would have to be UTF-8, which nobody promises. */
static void write_label(struct writer *w, const char *name, const char *value) {
    write_text(w, name);
    write_text(w, "=\"");
    for (; *value != '\0'; value++) {
        bool is_plain = *value >= ' ' && *value <= '~';
        write_text(w, *value == '"' || *value == '\\' ? "\\" : "");
        write_char(w, (char)(is_plain ? *value : '?'));
    }
    write_char(w, '"');
}

static void write_rank(struct writer *w, const struct report *r) {
    if (r->identity->rank != IDENTITY_NO_RANK) {
        write_text(w, ",rank=\"");
        write_number(w, (size_t)r->identity->rank, 0);
        write_char(w, '"');
    }
}

/* Those of the pool's place, not closed: a bucket has one more. */
static void write_place(struct writer *w, const struct report *r, const struct pool *p) {
    const struct backend *b = p->backend;
    write_char(w, '{');
    write_label(w, "kind", b->kind);
    write_char(w, ',');
    if (b->uuid != NULL) {
        write_label(w, "gpu", b->uuid);
    } else {
        write_text(w, "node=\"");
        write_number(w, b->id, 0);
        write_char(w, '"');
    }
    write_rank(w, r);
}

static bool is_same_place(const struct backend *a, const struct backend *b) {
    bool same_device = a->uuid != NULL && b->uuid != NULL && strcmp(a->uuid, b->uuid) == 0;
    bool same_node = a->uuid == NULL && b->uuid == NULL && a->id == b->id;
    return strcmp(a->kind, b->kind) == 0 && (same_device || same_node);
}

/* ---- places ---- */

/* The next pool of the place of `first`, that one included, from *cursor on. */
static const struct pool *next_there(const struct report *r, const struct pool *first,
                                     size_t *cursor) {
    const struct pool *p = r->next(cursor);
    while (p != NULL && !is_same_place(p->backend, first->backend)) {
        p = r->next(cursor);
    }
    return p;
}

/* One pool of each place, from *cursor on; NULL at the end. */
static const struct pool *next_place(const struct report *r, size_t *cursor) {
    const struct pool *p = NULL;
    bool is_first = false;
    while (!is_first && (p = r->next(cursor)) != NULL) {
        size_t start = 0;
        is_first = next_there(r, p, &start) == p;
    }
    return p;
}

static size_t sum_there(const struct report *r, const struct pool *place, const struct family *f) {
    size_t sum = 0;
    size_t cursor = 0;
    for (const struct pool *p = next_there(r, place, &cursor); p != NULL;
         p = next_there(r, place, &cursor)) {
        sum += f->read(p, f->offset);
    }
    return sum;
}

static void write_seconds(struct writer *w, size_t us) {
    write_number(w, us / 1000000, 0);
    write_char(w, '.');
    for (size_t digit = 100000; digit > 0; digit /= 10) {
        write_char(w, (char)('0' + us / digit % 10));
    }
}

static void write_value(struct writer *w, const struct family *f, size_t n) {
    if (unit_of(f->name) == &MICROSECOND) {
        write_seconds(w, n);
    } else {
        write_number(w, n, 0);
    }
}

static void write_family(struct writer *w, const struct report *r, const struct family *f) {
    write_head(w, f);
    size_t cursor = 0;
    for (const struct pool *p = next_place(r, &cursor); p != NULL; p = next_place(r, &cursor)) {
        write_family_name(w, f);
        write_place(w, r, p);
        write_text(w, "} ");
        write_value(w, f, sum_there(r, p, f));
        write_char(w, '\n');
    }
}

/* ---- sizes ---- */

static const char SIZES[] = "bigmalloc_request_size_bytes";

/* Requests of one size class there. */
static size_t class_requests(const struct report *r, const struct pool *place, unsigned c) {
    size_t sum = 0;
    size_t cursor = 0;
    for (const struct pool *p = next_there(r, place, &cursor); p != NULL;
         p = next_there(r, place, &cursor)) {
        sum += stats_read(&stock_figures(p)->classes[c].hits) +
               stats_read(&stock_figures(p)->classes[c].misses);
    }
    return sum;
}

static size_t requested_there(const struct report *r, const struct pool *place) {
    size_t sum = 0;
    size_t cursor = 0;
    for (const struct pool *p = next_there(r, place, &cursor); p != NULL;
         p = next_there(r, place, &cursor)) {
        sum += report_pool_totals(p).requested_bytes;
    }
    return sum;
}

/* A line of the histogram up to its value; `le`: the bucket's upper bound, NULL where it is none. */
static void write_size_name(struct writer *w, const struct report *r, const struct pool *p,
                            const char *part) {
    write_text(w, SIZES);
    write_text(w, part);
    write_place(w, r, p);
}

static void write_count(struct writer *w, size_t n) {
    write_number(w, n, 0);
    write_char(w, '\n');
}

/* Of eight classes to a doubling the one that is a power of two has a bucket. */
static void write_sizes_there(struct writer *w, const struct report *r, const struct pool *p) {
    size_t count = 0;
    for (unsigned c = 0; c < SIZE_CLASSES; c++) {
        count += class_requests(r, p, c);
        if (c % SIZE_CLASS_STEPS == 0) {
            write_size_name(w, r, p, "_bucket");
            write_text(w, ",le=\"");
            write_number(w, size_class_bytes(c), 0);
            write_text(w, "\"} ");
            write_count(w, count);
        }
    }
    write_size_name(w, r, p, "_bucket");
    write_text(w, ",le=\"+Inf\"} ");
    write_count(w, count);
    write_size_name(w, r, p, "_sum");
    write_text(w, "} ");
    write_count(w, requested_there(r, p));
    write_size_name(w, r, p, "_count");
    write_text(w, "} ");
    write_count(w, count);
}

static void write_sizes(struct writer *w, const struct report *r) {
    write_text(w, "# HELP bigmalloc_request_size_bytes sizes of the requests that were served, as "
                  "size classes\n# TYPE bigmalloc_request_size_bytes histogram\n");
    size_t cursor = 0;
    for (const struct pool *p = next_place(r, &cursor); p != NULL; p = next_place(r, &cursor)) {
        write_sizes_there(w, r, p);
    }
}

/* ---- devices ---- */

struct device_family {
    const char *name;
    const char *doc;
    size_t offset;
};

static const struct device_family device_families[] = {
    {"bigmalloc_device_bytes", "memory of the device", offsetof(struct figures, device_bytes)},
    {"bigmalloc_device_free_bytes", "memory of the device that is free, as the driver told last",
     offsetof(struct figures, device_free_bytes)},
};

static void write_gauge_head(struct writer *w, const char *name, const char *doc) {
    write_text(w, "# HELP ");
    write_text(w, name);
    write_char(w, ' ');
    write_text(w, doc);
    write_text(w, "\n# TYPE ");
    write_text(w, name);
    write_text(w, " gauge\n");
}

/* Of a device without a UUID nobody could say which one it is. */
static void write_device_family(struct writer *w, const struct report *r,
                                const struct device_family *f) {
    write_gauge_head(w, f->name, f->doc);
    size_t cursor = 0;
    for (const struct pool *p = next_place(r, &cursor); p != NULL; p = next_place(r, &cursor)) {
        if (p->backend->device_bytes != 0 && p->backend->uuid != NULL) {
            write_text(w, f->name);
            write_char(w, '{');
            write_label(w, "gpu", p->backend->uuid);
            write_text(w, "} ");
            write_count(w, read_figure(p, f->offset));
        }
    }
}

static void write_devices(struct writer *w, const struct report *r) {
    for (size_t i = 0; i < sizeof device_families / sizeof *device_families; i++) {
        write_device_family(w, r, &device_families[i]);
    }
}

/* ---- the process ---- */

static void write_figures(struct writer *w, const struct report *r) {
    for (size_t i = 0; i < r->figure_count; i++) {
        struct family f = {.name = r->figures[i].name,
                           .part = "",
                           .doc = r->figures[i].doc,
                           .doc_end = "",
                           .is_counter = true};
        write_head(w, &f);
        write_family_name(w, &f);
        if (r->identity->rank != IDENTITY_NO_RANK) {
            write_text(w, "{rank=\"");
            write_number(w, (size_t)r->identity->rank, 0);
            write_text(w, "\"}");
        }
        write_char(w, ' ');
        write_count(w, r->figures[i].value);
    }
}

/* ---- all of it ---- */

static void write_info(struct writer *w, const struct report *r) {
    write_text(w, "# HELP bigmalloc_info the version of the library\n"
                  "# TYPE bigmalloc_info gauge\nbigmalloc_info{");
    write_label(w, "version", VERSION);
    write_rank(w, r);
    write_text(w, "} 1\n");
}

void report_prom(struct writer *w, const struct report *r) {
    write_info(w, r);
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        write_family(w, r, &families[i]);
    }
    write_devices(w, r);
    write_figures(w, r);
    write_sizes(w, r);
}
