#include "pool/report.h"

enum {
    LABEL_COLUMNS = 20,
    SIZE_COLUMNS = 8,
    NUMBER_COLUMNS = 12,
    BUSIEST_CLASSES = 6
};

static void write_title(struct writer *w, const struct report *r) {
    write_text(w, "bigmalloc: ");
    write_text(w, r->identity->command);
    write_text(w, " (pid ");
    write_number(w, r->identity->pid, 0);
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

static void write_idle(struct writer *w, size_t idle, size_t reserved) {
    if (idle == 0) {
        return;
    }
    write_label(w, "idle_bytes");
    write_cell(w, write_bytes, idle, NUMBER_COLUMNS);
    write_text(w, "that idle blocks hold; fragmentation: ");
    write_percent(w, idle, reserved);
    write_text(w, " of what is held\n");
}

static size_t class_requests(const struct class_figures *of) {
    return stats_read(&of->hits) + stats_read(&of->misses);
}

/* The class that comes after `last` when the busiest come first; SIZE_CLASSES: none is left. */
static unsigned next_busiest(const struct figures *f, unsigned last) {
    size_t limit = last < SIZE_CLASSES ? class_requests(&f->classes[last]) : SIZE_MAX;
    unsigned best = SIZE_CLASSES;
    size_t most = 0;
    for (unsigned c = 0; c < SIZE_CLASSES; c++) {
        size_t n = class_requests(&f->classes[c]);
        bool is_after = n < limit || (n == limit && c > last);
        if (is_after && n > most) {
            best = c;
            most = n;
        }
    }
    return best;
}

static void write_class(struct writer *w, const struct class_figures *of, unsigned c) {
    write_text(w, "  ");
    write_cell(w, write_bytes, size_class_bytes(c), SIZE_COLUMNS);
    write_number(w, stats_read(&of->hits), NUMBER_COLUMNS);
    write_number(w, stats_read(&of->misses), NUMBER_COLUMNS);
    write_number(w, stats_read(&of->idle), NUMBER_COLUMNS);
    write_char(w, '\n');
}

static void write_classes(struct writer *w, const struct figures *f) {
    write_text(w, "  size            hits      misses        idle   of the busiest classes\n");
    unsigned c = next_busiest(f, SIZE_CLASSES);
    for (int i = 0; i < BUSIEST_CLASSES && c < SIZE_CLASSES; i++) {
        write_class(w, &f->classes[c], c);
        c = next_busiest(f, c);
    }
}

static void write_part(struct writer *w, const char *before, size_t bytes) {
    write_text(w, before);
    write_bytes(w, bytes);
}

/* Which one it is, under whatever number, and for a pool of its memory where that is. */
static void write_device(struct writer *w, const struct pool *p, const struct stats *s) {
    const struct backend *b = p->backend;
    if (b->uuid == NULL) {
        return;
    }
    write_label(w, "device");
    write_text(w, b->uuid);
    write_char(w, ' ');
    write_text(w, b->pci_address);
    write_char(w, '\n');
    if (b->device_bytes == 0) {
        return;
    }
    write_label(w, "of its memory");
    write_part(w, "", b->device_bytes);
    write_part(w, ": live ", gauge_current(&s->allocated_bytes));
    write_part(w, ", cached ", pool_idle_bytes(p));
    write_part(w, ", passed through ", stats_read(&s->bypassed_bytes));
    write_part(w, "; when the driver was last asked free ",
               stats_read(&stock_figures(p)->device_free_bytes));
    write_char(w, '\n');
}

static void write_pool_title(struct writer *w, const struct backend *b) {
    char room[LABEL_COLUMNS] = "";
    struct writer title = writer_to(-1, room, sizeof room - 1);
    write_text(&title, "pool ");
    write_text(&title, b->kind);
    write_char(&title, ' ');
    write_number(&title, b->id, 0);
    write_label(w, room);
    write_text(w, "current     peak        allocated   freed\n");
}

static void write_nearby(struct writer *w, const struct report *r, const struct pool *p) {
    const struct nearby *n = report_nearby(r, p);
    if (n != NULL) {
        write_label(w, "placement");
        write_text(w, nearby_word(n, r->placement));
        write_text(w, "; the device is next to node ");
        write_number(w, (size_t)n->node, 0);
        write_char(w, '\n');
    }
}

static void write_pool(struct writer *w, const struct report *r, const struct pool *p) {
    const struct figures *f = stock_figures(p);
    const struct stats *s = &f->stats;
    write_pool_title(w, p->backend);
    write_device(w, p, s);
    write_nearby(w, r, p);
#define GAUGE(name, doc) write_gauge(w, #name, &s->name);
#define FIGURE(name, as, doc) write_figure(w, #name, as, stats_read(&s->name), doc);
#define COUNTER(name, doc) FIGURE(name, as_count, doc)
#define BYTES(name, doc) FIGURE(name, write_bytes, doc)
#include "pool/stats.def"
#undef GAUGE
#undef COUNTER
#undef BYTES
#undef FIGURE
    write_idle(w, pool_idle_bytes(p), gauge_current(&s->reserved_bytes));
    write_figure(w, "mappings", as_count, stats_read(&p->backend->mappings),
                 "of the process, that the blocks cost at most");
    write_classes(w, f);
}

/* Of several nodes. What is measured may be of another instant than what was requested. */
static void write_nodes(struct writer *w, const struct report *r, const struct totals *t) {
    const struct residence *on = r->residence;
    const char *note = report_placement_note(r);
    write_text(w, "  nodes: ");
    write_text(w, placement_mode_word(r->placement->mode));
    write_text(w, ", ");
    write_text(w, report_placement(r));
    write_text(w, *note != '\0' ? " (" : "");
    write_text(w, note);
    write_text(w, *note != '\0' ? ")" : "");
    write_text(w, "; ");
    write_percent(w, size_minus(t->requests, t->remote_hits), t->requests);
    write_text(w, " of the requests and ");
    write_percent(w, on->local_bytes, on->local_bytes + on->misplaced_bytes);
    write_text(w, " of the bytes are local\n  node    live        idle        by ");
    write_text(w, on->measured_by);
    write_char(w, '\n');
    for (unsigned i = 0; i < on->count; i++) {
        write_text(w, "  ");
        write_cell(w, as_count, on->nodes[i].id, SIZE_COLUMNS);
        write_cell(w, write_bytes, on->nodes[i].live, NUMBER_COLUMNS);
        write_bytes(w, on->nodes[i].idle);
        write_char(w, '\n');
    }
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
    if (r->placement->has_nodes) {
        write_nodes(w, r, &t);
    }
    size_t cursor = 0;
    for (const struct pool *p = r->next(&cursor); p != NULL; p = r->next(&cursor)) {
        write_pool(w, r, p);
    }
    for (size_t i = 0; i < r->figure_count; i++) {
        const struct figure *f = &r->figures[i];
        write_figure(w, f->name, f->is_bytes ? write_bytes : as_count, f->value, f->doc);
    }
}
