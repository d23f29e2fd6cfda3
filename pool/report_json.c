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

static void write_word(struct writer *w, const char *name, const char *word) {
    write_name(w, name);
    write_string(w, word);
    write_text(w, ", ");
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

static void write_class(struct writer *w, const struct class_figures *of, unsigned c) {
    write_text(w, "\n    {");
    write_field(w, "size", size_class_bytes(c), ", ");
    write_field(w, "hits", stats_read(&of->hits), ", ");
    write_field(w, "misses", stats_read(&of->misses), ", ");
    write_field(w, "idle", stats_read(&of->idle), ", ");
    write_field(w, "live", stats_read(&of->live), "}");
}

static void write_classes(struct writer *w, const struct figures *f) {
    write_text(w, "\"classes\": [");
    const char *separator = "";
    for (unsigned c = 0; c < SIZE_CLASSES; c++) {
        const struct class_figures *of = &f->classes[c];
        if (stats_read(&of->hits) + stats_read(&of->misses) + stats_read(&of->idle) +
                stats_read(&of->live) >
            0) {
            write_text(w, separator);
            write_class(w, of, c);
            separator = ",";
        }
    }
    write_char(w, ']');
}

static void write_nearby(struct writer *w, const struct report *r, const struct pool *p) {
    const struct nearby *n = report_nearby(r, p);
    if (n != NULL) {
        write_field(w, "node", (size_t)n->node, ", ");
        write_word(w, "placement", nearby_word(n, r->placement));
    }
}

static void write_pool(struct writer *w, const struct report *r, const struct pool *p) {
    const struct figures *f = stock_figures(p);
    const struct stats *s = &f->stats;
    write_text(w, "\n  {\"kind\": ");
    write_string(w, p->backend->kind);
    write_text(w, ", ");
    write_field(w, "id", p->backend->id, ",\n   ");
    if (p->backend->uuid != NULL) {
        write_word(w, "uuid", p->backend->uuid);
        write_word(w, "pci_address", p->backend->pci_address);
        write_field(w, "device_bytes", p->backend->device_bytes, ", ");
        write_field(w, "device_free_bytes", stats_read(&f->device_free_bytes), ",\n   ");
    }
    write_nearby(w, r, p);
#define GAUGE(name, doc) write_gauge(w, #name, &s->name);
#define COUNTER(name, doc) write_field(w, #name, stats_read(&s->name), ", ");
#define BYTES(name, doc) write_field(w, #name, stats_read(&s->name), ", ");
#include "pool/stats.def"
#undef GAUGE
#undef COUNTER
#undef BYTES
    write_field(w, "idle_bytes", pool_idle_bytes(p), ", ");
    write_field(w, "mappings", stats_read(&p->backend->mappings), ", ");
    write_ratio_field(w, "fragmentation", pool_idle_bytes(p), gauge_current(&s->reserved_bytes));
    write_classes(w, f);
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

static void write_figures(struct writer *w, const struct report *r) {
    write_text(w, " \"process\": {");
    for (size_t i = 0; i < r->figure_count; i++) {
        write_text(w, i > 0 ? ", " : "");
        write_field(w, r->figures[i].name, r->figures[i].value, "");
    }
    write_text(w, "},\n");
}

static void write_nodes(struct writer *w, const struct residence *r) {
    write_text(w, "\"nodes\": [");
    for (unsigned i = 0; i < r->count; i++) {
        write_text(w, i > 0 ? ", {" : "{");
        write_field(w, "id", r->nodes[i].id, ", ");
        write_field(w, "live_bytes", r->nodes[i].live, ", ");
        write_field(w, "idle_bytes", r->nodes[i].idle, "}");
    }
    write_text(w, "]},\n");
}

static void write_numa(struct writer *w, const struct report *r, const struct totals *t) {
    write_text(w, " \"numa\": {");
    write_word(w, "mode", placement_mode_word(r->placement->mode));
    write_word(w, "placement", report_placement(r));
    write_word(w, "note", report_placement_note(r));
    write_ratio_field(w, "local_request_ratio", size_minus(t->requests, t->remote_hits),
                      t->requests);
    write_word(w, "measured_by", r->residence->measured_by);
    write_field(w, "local_bytes", r->residence->local_bytes, ", ");
    write_field(w, "misplaced_bytes", r->residence->misplaced_bytes, ", ");
    write_nodes(w, r->residence);
}

/* Which process, of all on all machines, and when. */
static void write_identity(struct writer *w, const struct report *r) {
    const struct identity *who = r->identity;
    write_word(w, "command", who->command);
    write_field(w, "pid", who->pid, ",\n ");
    write_word(w, "host", who->host);
    write_name(w, "rank");
    if (who->rank == IDENTITY_NO_RANK) {
        write_text(w, "null");
    } else {
        write_number(w, (size_t)who->rank, 0);
    }
    write_text(w, ", ");
    write_field(w, "start_ticks", who->start_ticks, ", ");
    write_word(w, "boot_id", who->boot_id);
    write_field(w, "time_unix_us", r->time_unix_us, ",\n");
}

void report_json(struct writer *w, const struct report *r) {
    struct totals t = report_totals(r);
    write_text(w, "{\"schema\": \"bigmalloc-stats/1\", ");
    write_identity(w, r);
    write_totals(w, &t);
    write_numa(w, r, &t);
    write_figures(w, r);

    write_text(w, " \"pools\": [");
    size_t cursor = 0;
    const char *separator = "";
    for (const struct pool *p = r->next(&cursor); p != NULL; p = r->next(&cursor)) {
        write_text(w, separator);
        write_pool(w, r, p);
        separator = ",";
    }
    write_text(w, "]}\n");
}
