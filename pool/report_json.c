#include "pool/report.h"

/* A string of the program's choosing. What is not plain ASCII is escaped byte by byte: the kernel cuts
 * names after 15 bytes, also in the middle of a character. RFC 8259, section 7. */
static void write_string(struct writer *w, const char *text) {
    write_char(w, '"');
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < ' ' || c > '~') {
            write_text(w, "\\u00");
            write_char(w, "0123456789abcdef"[c / 16]);
            write_char(w, "0123456789abcdef"[c % 16]);
            continue;
        }
        if (c == '"' || c == '\\') {
            write_char(w, '\\');
        }
        write_char(w, (char)c);
    }
    write_char(w, '"');
}

static void write_name(struct writer *w, const char *name) {
    write_char(w, '"');
    write_text(w, name);
    write_text(w, "\": ");
}

static void write_field(struct writer *w, const char *name, size_t n, const char *after) {
    write_name(w, name);
    write_number(w, n, 0);
    write_text(w, after);
}

static void write_ratio_field(struct writer *w, const char *name, size_t part, size_t whole) {
    write_name(w, name);
    write_ratio(w, part, whole);
    write_text(w, ", ");
}

static void write_gauge(struct writer *w, const char *name, const struct gauge *g) {
    write_name(w, name);
    write_char(w, '{');
    write_field(w, "current", gauge_current(g), ", ");
    write_field(w, "peak", stats_read(&g->peak), ", ");
    write_field(w, "allocated", stats_read(&g->allocated), ", ");
    write_field(w, "freed", stats_read(&g->freed), "},\n   ");
}

static void write_class(struct writer *w, const struct bucket *bucket, unsigned c) {
    write_text(w, "\n    {");
    write_field(w, "size", size_class_bytes(c), ", ");
    write_field(w, "hits", stats_read(&bucket->hits), ", ");
    write_field(w, "misses", stats_read(&bucket->misses), ", ");
    write_field(w, "idle", stats_read(&bucket->idle), "}");
}

static void write_classes(struct writer *w, const struct pool *p) {
    write_text(w, "\"classes\": [");
    const char *separator = "";
    for (unsigned c = 0; c < SIZE_CLASSES; c++) {
        const struct bucket *b = &p->buckets[c];
        if (stats_read(&b->hits) + stats_read(&b->misses) + stats_read(&b->idle) > 0) {
            write_text(w, separator);
            write_class(w, b, c);
            separator = ",";
        }
    }
    write_char(w, ']');
}

static void write_pool(struct writer *w, const struct pool *p) {
    const struct stats *s = &p->stats;
    write_text(w, "\n  {\"kind\": ");
    write_string(w, p->backend->kind);
    write_text(w, ", ");
    write_field(w, "id", p->backend->id, ",\n   ");
#define GAUGE(name, doc) write_gauge(w, #name, &s->name);
#define COUNTER(name, doc) write_field(w, #name, stats_read(&s->name), ", ");
#define BYTES(name, doc) write_field(w, #name, stats_read(&s->name), ", ");
#include "pool/stats.def"
#undef GAUGE
#undef COUNTER
#undef BYTES
    write_field(w, "mappings", stats_read(&p->backend->mappings), ", ");
    write_ratio_field(w, "fragmentation", pool_idle_bytes(p), gauge_current(&s->reserved_bytes));
    write_classes(w, p);
    write_char(w, '}');
}

static void write_totals(struct writer *w, const struct totals *t) {
    write_text(w, " \"totals\": {");
    write_field(w, "requests", t->requests, ", ");
    write_field(w, "hits", t->hits, ", ");
    write_field(w, "misses", t->misses, ", ");
    write_field(w, "failures", t->failures, ", ");
    write_field(w, "passed", t->passed, ", ");
    write_ratio_field(w, "hit_ratio", t->hits, t->requests);
    write_ratio_field(w, "reuse_ratio", t->hit_bytes, t->requested_bytes);
    write_ratio_field(w, "allocation_efficiency", t->used_bytes, t->served_bytes);
    write_field(w, "oom_retries", t->oom_retries, "},\n");
}

void report_json(struct writer *w, const struct report *r) {
    struct totals t = report_totals(r);
    write_text(w, "{\"schema\": \"bigmalloc-stats/1\", \"command\": ");
    write_string(w, r->command);
    write_text(w, ", ");
    write_field(w, "pid", r->pid, ",\n");
    write_totals(w, &t);
    write_text(w, " \"pools\": [");
    for (size_t i = 0; i < r->pool_count; i++) {
        write_text(w, i > 0 ? "," : "");
        write_pool(w, &r->pools[i]);
    }
    write_text(w, "]}\n");
}
