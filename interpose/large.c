#include "interpose/large.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "cuda_hooks/cuda_hooks.h"
#include "interpose/helper.h"

#include "interpose/shield.h"
#include "interpose/small.h"
#include "interpose/trace.h"
#include "pool/clock.h"
#include "pool/writer.h"

struct block *large_acquire(size_t bytes, enum pool_pages pages, bool *pass) {
    *pass = false;
    if (UNLIKELY(bytes > SIZE_CLASS_MAX)) {
        errno = ENOMEM;
        return NULL;
    }
    if (UNLIKELY(!life_ready())) {
        life_count_passed();
        *pass = true;
        return NULL;
    }
    enum fill_result result = FILL_REFUSED;
    uint64_t start_ns = trace_start_ns();
    struct block *b = host_acquire(&life_host, bytes, pages, &result);
    if (UNLIKELY(start_ns != 0)) {
        trace_acquired(b, bytes, result, start_ns);
    }
    if (UNLIKELY(b == NULL)) {
        *pass = result == FILL_NO_ADDRESS;
        errno = ENOMEM;
    }
    return b;
}

/* ---- BIGMALLOC_FILL ---- */

/* No address, no number and no character that a program would take for one of its own. */
static const int POISON = 0xd5;

static void fill_from(struct block *b, size_t from) {
    int byte = life_options.fill == CONTENTS_POISON ? POISON : 0;
    memset(b->address + from, byte, size_minus(block_usable_bytes(b), from));
}

/* Zeros are calloc's, which leaves fresh pages alone. */
ASIDE static struct block *acquire_filled(size_t bytes, bool *pass) {
    bool zero = life_options.fill == CONTENTS_ZERO;
    struct block *b = large_acquire(bytes, zero ? PAGES_ZERO : PAGES_ANY, pass);
    if (b != NULL && !zero) {
        fill_from(b, 0);
    }
    return b;
}

struct block *large_acquire_filled(size_t bytes, bool *pass) {
    return LIKELY(life_options.fill == CONTENTS_ANY) ? large_acquire(bytes, PAGES_ANY, pass)
                                                     : acquire_filled(bytes, pass);
}

bool large_trim(void) {
    bool small = small_purge();
    bool device = cuda_hooks_trim() > 0;
    return host_trim(&life_host) > 0 || small || device;
}

struct block *large_resize(struct block *b, size_t bytes) {
    uint64_t now_ms = clock_coarse_ms();
    uint64_t start_ns = trace_start_ns();
    const char *old = b->address;
    size_t kept = block_usable_bytes(b);
    b = bytes <= SIZE_CLASS_MAX ? host_resize(&life_host, b, bytes, now_ms) : NULL;
    if (UNLIKELY(life_options.fill != CONTENTS_ANY) && b != NULL) {
        fill_from(b, kept);
    }
    if (UNLIKELY(start_ns != 0 && b != NULL)) {
        trace_resized(old, b, bytes, start_ns);
    }
    helper_call(now_ms);
    return b;
}

/* ---- memory errors of the program ---- */

static void write_block(struct writer *w, const struct block *b) {
    write_text(w, "a block of ");
    write_number(w, b->requested_bytes != 0 ? b->requested_bytes : block_bytes(b), 0);
    write_text(w, " bytes");
}

static void write_what(struct writer *w, const char *caller, const void *p, const struct block *b) {
    bool is_start = b != NULL && p == b->address;
    write_text(w, is_start ? "double free: " : "invalid pointer: ");
    write_text(w, caller);
    write_char(w, '(');
    write_pointer(w, p);
    write_text(w, ")");
    if (b == NULL) {
        write_text(w, ", where no block ever was");
        return;
    }
    write_text(w, is_start ? " of " : ", ");
    if (!is_start) {
        write_number(w, (size_t)((const char *)p - b->address), 0);
        write_text(w, " bytes inside ");
    }
    write_block(w, b);
    write_text(w, is_start ? " that is free already" : "");
}

static void write_thread(struct writer *w) {
    char name[16] = "";
    (void)prctl(PR_GET_NAME, name);
    write_text(w, ", thread ");
    write_number(w, (size_t)gettid(), 0);
    write_text(w, " (");
    write_text(w, name);
    write_text(w, ")\n");
}

/* b: the block that p lies in, NULL for none. */
static void report(const char *caller, const void *p, const struct block *b) {
    char room[WRITER_LINE];
    struct writer w = writer_to(STDERR_FILENO, room, sizeof room);
    struct shield shield;
    shield_raise(&shield);
    write_text(&w, "bigmalloc: ");
    write_what(&w, caller, p, b);
    write_thread(&w);
    writer_flush(&w);
    shield_lower(&shield);
    if (life_options.on_error == ERROR_ABORT) {
        abort();
    }
}

static struct block *find_start(const void *p, const char *caller) {
    struct block *b = arena_find(&life_host.arena, p);
    if (UNLIKELY(b == NULL || b->address != p)) {
        report(caller, p, b);
        return NULL;
    }
    return b;
}

struct block *large_find(const void *p, const char *caller) {
    struct block *b = find_start(p, caller);
    if (b != NULL && UNLIKELY(block_state(b) != BLOCK_LIVE)) {
        report(caller, p, b);
        return NULL;
    }
    return b;
}

/*
 * A growing block leaves one behind in every class that it passes, together many times its size: only
 * small ones are kept for others. (A string grown to 64 MiB held 930 MiB.)
 */
static const size_t OUTGROWN_KEPT_BELOW = 4 * MIB;

void large_outgrown(struct block *b) {
    uint64_t now_ms = clock_coarse_ms();
    uint64_t start_ns = trace_start_ns();
    bool live = block_bytes(b) < OUTGROWN_KEPT_BELOW
                    ? host_release(&life_host, b, now_ms)
                    : pool_discard(b->home, b, &b->home->own.stats.outgrown_bytes);
    if (UNLIKELY(!live)) {
        report("realloc", b->address, b);
        return;
    }
    if (UNLIKELY(start_ns != 0)) {
        trace_released(b->address, start_ns);
    }
    helper_call(now_ms);
}

void large_free(void *p) {
    struct block *b = find_start(p, "free");
    if (UNLIKELY(b == NULL)) {
        return;
    }
    uint64_t now_ms = clock_coarse_ms();
    uint64_t start_ns = trace_start_ns();
    if (UNLIKELY(!host_release(&life_host, b, now_ms))) {
        report("free", p, b);
        return;
    }
    if (UNLIKELY(start_ns != 0)) {
        trace_released(p, start_ns);
    }
    helper_call(now_ms);
}
