#include "pool/residence.h"

#include <string.h>

#include "pool/numa_maps.h"
#include "pool/text_file.h"

/* Asking for a page takes the kernel about 0.1 us. */
static const size_t PAGES_MOST = 64 * KIB;

/* ---- adding up ---- */

/* The line of a node, made where there is none yet. NULL: there are too many. */
static struct node_bytes *line_of(struct residence *r, unsigned id) {
    unsigned place = 0;
    while (place < r->count && r->nodes[place].id < id) {
        place++;
    }
    if (place < r->count && r->nodes[place].id == id) {
        return &r->nodes[place];
    }
    if (r->count == TOPOLOGY_NODES) {
        return NULL;
    }
    struct node_bytes *line = &r->nodes[place];
    memmove(line + 1, line, (r->count++ - place) * sizeof *line);
    *line = (struct node_bytes){.id = id};
    return line;
}

/* What the bytes belong to. */
struct owner {
    const struct home *home;
    bool is_live;
};

static void add(struct residence *r, struct owner o, unsigned id, size_t bytes) {
    struct node_bytes *line = line_of(r, id);
    if (line != NULL) {
        *(o.is_live ? &line->live : &line->idle) += bytes;
    }
    if (o.home->is_home) {
        *(o.home->node == id ? &r->local_bytes : &r->misplaced_bytes) += bytes;
    }
}

static struct owner owner_of(const struct host *h, const struct block *b) {
    return (struct owner){.home = &h->placement.homes[b->home - h->pools],
                          .is_live = block_state(b) == BLOCK_LIVE};
}

static void begin(struct residence *r, const struct host *h, const char *measured_by) {
    *r = (struct residence){.measured_by = measured_by};
    for (unsigned i = 0; i < h->pool_count; i++) {
        if (h->placement.homes[i].is_home) {
            (void)line_of(r, h->placement.homes[i].node);
        }
    }
}

/* ---- page by page ---- */

enum {
    BATCH = 64
};

/* Pages that the kernel is asked for at once. */
struct survey {
    const struct host *h;
    struct residence *r;
    size_t stride; /* each page stands for so many bytes */
    size_t skip;   /* of the next block, before its first page that is asked for */
    size_t count;
    void *pages[BATCH];
    struct owner owners[BATCH];
};

static bool ask(struct survey *s) {
    int nodes[BATCH];
    if (s->h->companion->locate(s->count, s->pages, nodes) != 0) {
        return false;
    }
    for (size_t i = 0; i < s->count; i++) {
        if (nodes[i] >= 0) {
            add(s->r, s->owners[i], (unsigned)nodes[i], s->stride);
        }
    }
    s->count = 0;
    return true;
}

static bool survey_block(struct survey *s, const struct block *b) {
    size_t end = block_held_end(b);
    size_t at = s->skip;
    for (; at < end; at += s->stride) {
        s->pages[s->count] = b->address + at;
        s->owners[s->count++] = owner_of(s->h, b);
        if (s->count == BATCH && !ask(s)) {
            return false;
        }
    }
    s->skip = at - end;
    return true;
}

static bool measure_pages(struct residence *r, const struct host *h) {
    if (h->companion == NULL) {
        return false;
    }
    begin(r, h, "move_pages");
    size_t held = host_held_bytes(h);
    struct survey s = {.h = h, .r = r, .stride = round_up(held / PAGES_MOST + 1, PAGE)};
    size_t cursor = 0;
    for (const struct block *b = arena_next(&h->arena, &cursor); b != NULL;
         b = arena_next(&h->arena, &cursor)) {
        if (!survey_block(&s, b)) {
            return false;
        }
    }
    return ask(&s);
}

/* ---- mapping by mapping ---- */

/* What the blocks of an address range hold: those of a kind. */
static size_t held_between(const struct host *h, uintptr_t from, uintptr_t to, bool live) {
    size_t base = (uintptr_t)h->arena.base;
    size_t cursor = round_down(from - base, GRANULE);
    size_t sum = 0;
    for (const struct block *b = arena_next(&h->arena, &cursor);
         b != NULL && (uintptr_t)b->address < to; b = arena_next(&h->arena, &cursor)) {
        sum += (block_state(b) == BLOCK_LIVE) == live ? extent_bytes(block_held(b)) : 0;
    }
    return sum;
}

/* m reaches to `end` at most. All blocks in it have the same home: the spans of pools do not touch. */
static void add_mapping(struct residence *r, const struct host *h, const struct numa_mapping *m,
                        uintptr_t end) {
    const char *start = h->arena.base + (m->start - (uintptr_t)h->arena.base);
    const struct block *b = arena_owns(&h->arena, start) ? arena_find(&h->arena, start) : NULL;
    if (b == NULL) {
        return;
    }
    size_t live = held_between(h, m->start, end, true);
    size_t held = live + held_between(h, m->start, end, false);
    struct owner owner = owner_of(h, b);
    for (unsigned i = 0; i < m->count && held != 0; i++) {
        size_t live_bytes = (size_t)((double)m->bytes[i] * (double)live / (double)held);
        owner.is_live = true;
        add(r, owner, m->ids[i], live_bytes);
        owner.is_live = false;
        add(r, owner, m->ids[i], m->bytes[i] - live_bytes);
    }
}

/* A mapping ends where the next one begins, at the latest. */
struct walk {
    const struct host *h;
    struct residence *r;
    struct numa_mapping last;
};

static void walk_line(void *context, char *line) {
    struct walk *w = context;
    struct numa_mapping m;
    if (numa_maps_parse(&m, line)) {
        add_mapping(w->r, w->h, &w->last, m.start);
        w->last = m;
    }
}

/* Lines that are longer than this are of files, not ours. */
enum {
    LINE_BYTES = 1024
};

static bool measure_mappings(struct residence *r, const struct host *h) {
    char text[LINE_BYTES] = "";
    struct walk w = {.h = h, .r = r};
    begin(r, h, "numa_maps");
    if (!text_file_walk("/proc/self/numa_maps", (struct text_room){text, sizeof text}, walk_line,
                        &w)) {
        return false;
    }
    add_mapping(r, h, &w.last, UINTPTR_MAX);
    return true;
}

static bool measure_nothing(struct residence *r, const struct host *h) {
    begin(r, h, "nothing");
    return true;
}

/* Does the kernel mark pages, to see who uses them, in a way that move_pages(2) takes for absence? */
static bool hides_pages(const struct host *h) {
    bool is_bound = h->placement.homes[0].binding.kind != BINDING_NONE && host_bind_error(h) == 0;
    return !is_bound && text_file_number("/proc/sys/kernel/numa_balancing", 0) != 0;
}

void residence_measure(struct residence *r, const struct host *h) {
    if (!h->placement.has_nodes) {
        *r = (struct residence){.measured_by = "nothing"};
    } else if (hides_pages(h)) {
        (void)(measure_mappings(r, h) || measure_pages(r, h) || measure_nothing(r, h));
    } else {
        (void)(measure_pages(r, h) || measure_mappings(r, h) || measure_nothing(r, h));
    }
}
