#include "interpose/large.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "interpose/shield.h"
#include "interpose/small.h"
#include "pool/clock.h"
#include "pool/writer.h"

/* How often jemalloc is made to look for unused memory that has aged; it has no thread to do so. */
static const uint64_t TICK_MS = 1000;

static void tick(uint64_t now_ms) {
    static _Atomic uint64_t due_ms;
    uint64_t due = atomic_load_explicit(&due_ms, memory_order_relaxed);
    if (LIKELY(now_ms < due) || !atomic_compare_exchange_strong(&due_ms, &due, now_ms + TICK_MS)) {
        return;
    }
    int saved_errno = errno;
    small_decay();
    errno = saved_errno;
}

struct block *large_acquire(size_t bytes, bool *pass) {
    *pass = false;
    if (UNLIKELY(bytes > SIZE_CLASS_MAX)) {
        errno = ENOMEM;
        return NULL;
    }
    if (UNLIKELY(!life_ready())) {
        *pass = true;
        return NULL;
    }
    enum fill_result result = FILL_OK;
    struct block *b = host_acquire(&life_host, bytes, &result);
    if (UNLIKELY(b == NULL)) {
        *pass = result == FILL_NO_ADDRESS;
        errno = ENOMEM;
    }
    return b;
}

bool large_trim(void) {
    bool small = small_purge();
    return host_drain(&life_host) > 0 || small;
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
    bool live = block_bytes(b) < OUTGROWN_KEPT_BELOW
                    ? host_release(&life_host, b, clock_coarse_ms())
                    : pool_discard(b->home, b);
    if (UNLIKELY(!live)) {
        report("realloc", b->address, b);
    }
}

void large_free(void *p) {
    struct block *b = find_start(p, "free");
    if (UNLIKELY(b == NULL)) {
        return;
    }
    uint64_t now_ms = clock_coarse_ms();
    if (UNLIKELY(!host_release(&life_host, b, now_ms))) {
        report("free", p, b);
        return;
    }
    tick(now_ms);
}
