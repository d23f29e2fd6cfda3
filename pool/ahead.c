#include "pool/ahead.h"

/* What is touched at once: the thread that does it may be asked to stop. */
static const size_t PIECE = 64 * MIB;

static size_t held_bytes(const struct pool *p) {
    return pool_idle_bytes(p) + gauge_current(&stock_figures(p)->stats.allocated_bytes);
}

/* ---- places ---- */

static void write_where(struct writer *w, const struct backend *b) {
    if (b->uuid != NULL && *b->uuid != '\0') {
        write_text(w, b->uuid);
    } else if (b->pci_address != NULL && *b->pci_address != '\0') {
        write_text(w, b->pci_address);
    } else {
        write_number(w, b->id, 0);
    }
    if (b->variant != 0) {
        write_char(w, '/');
        write_number(w, b->variant, 0);
    }
}

/* Devices are numbered anew in each process (CUDA_VISIBLE_DEVICES): they go by what is theirs for good. */
static struct profile_place place_of(const struct backend *b) {
    struct profile_place place = {0};
    struct writer kind = writer_to(-1, place.kind, sizeof place.kind - 1);
    struct writer where = writer_to(-1, place.where, sizeof place.where - 1);
    write_text(&kind, b->kind);
    write_where(&where, b);
    return place;
}

bool ahead_is_told(const struct backend *b, struct profile *profile) {
    struct profile_place place = place_of(b);
    return profile_find(profile, &place) != NULL;
}

void ahead_expect(struct pool *p, struct profile *profile) {
    struct profile_place place = place_of(p->backend);
    struct profile_pool *told = profile_find(profile, &place);
    p->expected = (struct profile_walk){.profile = profile, .pool = told};
    if (told != NULL) {
        told->is_taken = true;
    }
}

/* ---- the host ---- */

static bool is_bound(const struct host *h, const struct pool *p) {
    return h->placement.homes[p - h->pools].binding.kind != BINDING_NONE;
}

/* Where memory is bound, all pools by turns; else it lies where the caller runs. */
static struct pool *pool_for_reserve(struct host *h) {
    struct pool *least = host_pool_here(h);
    for (unsigned i = 0; i < h->pool_count; i++) {
        struct pool *p = &h->pools[i];
        if (is_bound(h, p) && held_bytes(p) < held_bytes(least)) {
            least = p;
        }
    }
    return least;
}

/* The bytes of the next piece that is expected where what is touched here lies, and its pool; 0: there is no more. */
static size_t next_expected(struct host *h, struct pool **pool) {
    const struct pool *home = host_pool_here(h);
    size_t bytes = 0;
    for (unsigned i = 0; i < h->pool_count && bytes == 0; i++) {
        struct pool *p = &h->pools[i];
        if (is_bound(h, p) || p == home) {
            *pool = p;
            bytes = profile_next_piece(&p->expected, PIECE);
        }
    }
    return bytes;
}

/* Up to that many held bytes; what the program holds by now is there. */
static size_t missing(const struct host *h, size_t bytes) {
    size_t most = size_min(bytes, retention_idle_max(&h->retention, 0));
    return round_up(size_minus(most, host_held_bytes(h)), GRANULE);
}

static size_t expected_bytes(const struct host *h) {
    return h->expected_peak != 0 ? h->expected_peak + retention_slack(h->expected_peak) : 0;
}

bool ahead_make_on_host(struct host *h, uint64_t now_ms) {
    struct pool *p = NULL;
    size_t expected = missing(h, expected_bytes(h));
    size_t bytes = expected != 0 ? size_min(next_expected(h, &p), expected) : 0;
    if (bytes == 0) {
        p = pool_for_reserve(h);
        bytes = size_min(missing(h, h->retention.reserve), PIECE);
    }
    return bytes != 0 && pool_prefault(p, bytes, now_ms);
}

void ahead_expect_on_host(struct host *h, struct profile *profile) {
    for (unsigned i = 0; i < h->pool_count; i++) {
        ahead_expect(&h->pools[i], profile);
    }
    host_expect_peak(h, profile_peak(profile, "host"), clock_coarse_ms());
}

/* ---- pools of whole blocks ---- */

size_t ahead_next(struct pool *p, size_t most) {
    size_t peak = p->expected.pool != NULL ? p->expected.pool->peak : 0;
    return profile_next_block(&p->expected, size_min(most, size_minus(peak, held_bytes(p))));
}

/* ---- what was needed ---- */

/* How many blocks were live at once, but for stations of growing blocks, which nobody asked for. */
static struct profile_line line_of(const struct pool *p, unsigned c) {
    const struct class_figures *f = &stock_figures(p)->classes[c];
    size_t requests = stats_read(&f->hits) + stats_read(&f->misses);
    return (struct profile_line){
        .bytes = p->is_whole ? p->buckets[c].largest_bytes : size_class_bytes(c),
        .blocks = size_min(size_min(p->buckets[c].live_peak, requests), UINT32_MAX)};
}

void ahead_note(const struct pool *p, struct profile *profile) {
    struct profile_place place = place_of(p->backend);
    size_t peak = stats_read(&stock_figures(p)->stats.allocated_bytes.peak);
    if (peak == 0 || !profile_add_pool(profile, &place, size_min(peak, SIZE_CLASS_MAX))) {
        return;
    }
    for (unsigned c = 0; c < SIZE_CLASSES; c++) {
        profile_add(profile, line_of(p, c));
    }
}
