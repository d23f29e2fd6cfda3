#include "interpose/trace.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "interpose/life.h"
#include "interpose/shield.h"
#include "interpose/unwind.h"
#include "pool/identity.h"
#include "pool/modules.h"
#include "pool/process.h"
#include "pool/sample.h"
#include "pool/text_file.h"
#include "pool/trace.h"
#include "pool/trace_file.h"
#include "pool/writer.h"

/* How old a record may be that is not yet in the file. */
static const uint64_t FLUSH_MS = 1000;

/* Looks at threads that write chunks while the process ends. */
enum {
    PATIENCE = 10000
};

enum {
    RANK_BYTES = 32
};

atomic_bool trace_is_on;

static struct trace trace;
static const struct trace_subject nothing;

static _Atomic uint64_t sample_due_ms;
static _Atomic uint64_t flush_due_ms;

/* ---- the file ---- */

static struct trace_file file;
static struct lock file_lock; /* while it is made */
static atomic_bool file_is_made;
static atomic_flag has_complained = ATOMIC_FLAG_INIT;

static void complain(int error) {
    if (atomic_flag_test_and_set(&has_complained)) {
        return;
    }
    char room[WRITER_LINE];
    struct writer w = writer_to(STDERR_FILENO, room, sizeof room);
    const char *why = strerrordesc_np(error);
    write_text(&w, "bigmalloc: BIGMALLOC_TRACE: cannot write ");
    write_text(&w, *file.path != '\0' ? file.path : life_options.trace.text);
    write_text(&w, ": ");
    write_text(&w, why != NULL ? why : "unknown error");
    write_text(&w, "\n");
    writer_flush(&w);
}

static bool write_to_file(const struct trace_piece *pieces, unsigned count) {
    return trace_file_write(&file, pieces, count);
}

static void write_rank(char text[RANK_BYTES], int32_t rank) {
    struct writer w = writer_to(-1, text, RANK_BYTES - 1);
    if (rank != IDENTITY_NO_RANK) {
        write_number(&w, (size_t)rank, 0);
    }
}

static bool write_header(void) {
    struct identity who;
    char rank[RANK_BYTES] = "";
    identity_read(&who);
    write_rank(rank, who.rank);
    struct trace_entry e = {.type = TRACE_HEADER,
                            .a = TRACE_VERSION,
                            .words_count = 7,
                            .words = {who.pid, who.start_ticks, clock_us(), clock_unix_us(),
                                      life_options.threshold, TRACE_CHUNK, trace.ring.places},
                            .strings = {who.host, who.boot_id, who.command, rank}};
    return trace_write_header(&e, write_to_file);
}

/* A program that this one was started by, or beside, may be writing to a file of that name: it keeps it. */
static bool is_anothers(const char *path) {
    char bytes[TRACE_OWNER_BYTES + 1] = "";
    struct trace_owner o;
    return text_file_read(path, bytes, sizeof bytes) && trace_read_owner(&o, bytes) &&
           o.pid != (uint64_t)getpid() && o.start_ticks != 0 &&
           o.start_ticks == identity_start_ticks(o.pid);
}

/* As for a forked child there may be a number behind the name. */
static bool make_file(void) {
    char path[PATH_MAX];
    struct dump_name name = {.pid = (size_t)getpid(), .forked = life_is_forked()};
    bool fits = pattern_expand(&life_options.trace, name, path, sizeof path);
    if (fits && !name.forked && is_anothers(path)) {
        name.forked = true;
        fits = pattern_expand(&life_options.trace, name, path, sizeof path);
    }
    *file.path = '\0';
    errno = ENAMETOOLONG;
    return fits && trace_file_make(&file, path) && write_header();
}

/* Where there can be none, nothing is traced any more. */
static bool has_file(void) {
    if (LIKELY(atomic_load(&file_is_made))) {
        return true;
    }
    lock_acquire(&file_lock);
    bool made = atomic_load(&file_is_made) || (atomic_load(&trace_is_on) && make_file());
    atomic_store(&file_is_made, made);
    lock_release(&file_lock);
    if (!made) {
        atomic_store(&trace_is_on, false);
    }
    return made;
}

/* A child that no handler of ours saw being made, by vfork or clone, leaves its parent's file alone. */
static bool write_pieces(const struct trace_piece *pieces, unsigned count) {
    if (!life_is_owner()) {
        return false;
    }
    struct shield shield;
    shield_raise(&shield);
    bool written = has_file() && write_to_file(pieces, count);
    if (!written) {
        complain(errno);
    }
    shield_lower(&shield);
    return written;
}

void trace_flush(void) {
    if (atomic_load(&trace_is_on)) {
        trace_ring_flush(&trace.ring);
    }
}

/* ---- samples ---- */

/* All pools, as the statistics go through them; *number is that of the one returned. */
static struct pool *next_pool(size_t *cursor, unsigned *number) {
    struct pool *p = life_next_pool(cursor);
    *number = (unsigned)*cursor - 1;
    return *number < TRACE_POOLS ? p : NULL;
}

static void sample_pool(struct pool *p, unsigned number) {
    struct sample s;
    uint64_t now_us = clock_us();
    sample_take(&s, p);
    struct trace_entry e = {.type = TRACE_SAMPLE,
                            .a = number,
                            .words_count = 12,
                            .words = {now_us, s.live, s.live_peak, s.reserved, s.reserved_peak,
                                      s.requested, s.idle, s.hits, s.misses, s.missed, s.miss_us,
                                      s.released}};
    (void)trace_enter(&trace, &e, &(struct trace_subject){.backend = p->backend, .pool = number});
}

static void sample_process(void) {
    struct process_memory m;
    process_memory(&m);
    struct trace_entry e = {.type = TRACE_PROCESS,
                            .words_count = 3,
                            .words = {clock_us(), m.resident, m.resident_peak}};
    (void)trace_enter(&trace, &e, &nothing);
}

static void sample_all(void) {
    struct shield shield;
    shield_raise(&shield);
    size_t cursor = 0;
    unsigned number = 0;
    for (struct pool *p = next_pool(&cursor, &number); p != NULL; p = next_pool(&cursor, &number)) {
        sample_pool(p, number);
    }
    sample_process();
    shield_lower(&shield);
}

/* ---- modules ---- */

static void enter_module(const struct module *m) {
    struct trace_entry e = {.type = TRACE_MODULE,
                            .words_count = 3,
                            .words = {m->start, m->end, m->offset},
                            .strings = {m->path, m->build_id}};
    (void)trace_enter(&trace, &e, &nothing);
}

static void enter_modules(void) {
    struct shield shield;
    shield_raise(&shield);
    modules_visit(enter_module);
    shield_lower(&shield);
}

/* ---- from time to time ---- */

/* Once in a while; true for one of several threads. */
static bool is_due(_Atomic uint64_t *due_ms, uint64_t now_ms, uint64_t interval_ms) {
    uint64_t due = atomic_load_explicit(due_ms, memory_order_relaxed);
    uint64_t next = interval_ms == NEVER ? NEVER : now_ms + interval_ms;
    return UNLIKELY(now_ms >= due) && atomic_compare_exchange_strong(due_ms, &due, next);
}

void trace_tick(uint64_t now_ms) {
    if (!atomic_load_explicit(&trace_is_on, memory_order_relaxed)) {
        return;
    }
    if (is_due(&sample_due_ms, now_ms, life_options.trace_ms)) {
        sample_all();
    }
    if (is_due(&flush_due_ms, now_ms, FLUSH_MS)) {
        if (trace_modules_are_due(&trace, now_ms)) {
            enter_modules();
        }
        trace_flush();
    }
}

/* ---- events ---- */

static uint64_t ms_of(uint64_t ns) {
    return ns / 1000000;
}

static unsigned number_of(const struct pool *p) {
    size_t cursor = 0;
    const struct pool *other = life_next_pool(&cursor);
    while (other != NULL && other != p) {
        other = life_next_pool(&cursor);
    }
    return (unsigned)cursor - 1;
}

/* gettid(2) is a system call. */
static _Thread_local uint32_t known_thread_id;

static uint32_t thread_id(void) {
    if (UNLIKELY(known_thread_id == 0)) {
        known_thread_id = (uint32_t)gettid();
    }
    return known_thread_id;
}

static void enter_event(struct trace_entry *e, const struct pool *p) {
    struct trace_stack stack;
    e->a = thread_id();
    unwind(&stack, e->a);
    (void)trace_enter(&trace, e,
                      &(struct trace_subject){.backend = p->backend,
                                              .pool = number_of(p),
                                              .stack = stack.depth != 0 ? &stack : NULL});
}

static enum trace_served how_served(const struct block *b, enum fill_result result) {
    if (b != NULL) {
        return result == FILL_OK ? TRACE_MISS : TRACE_HIT;
    }
    return result == FILL_REFUSED ? TRACE_FAILED : TRACE_PASSED;
}

static void enter_alloc(const struct block *b, size_t bytes, enum trace_served served,
                        uint64_t start_ns) {
    const struct pool *p = b != NULL ? b->home : host_pool_here(&life_host);
    uint64_t address = b != NULL ? (uintptr_t)b->address : 0;
    uint64_t now_ns = clock_ns();
    struct trace_entry e = {
        .type = TRACE_ALLOC,
        .words_count = 5,
        .words = {now_ns, address, bytes, now_ns - start_ns, trace_info(number_of(p), served)}};
    enter_event(&e, p);
}

void trace_acquired(const struct block *b, size_t bytes, enum fill_result result,
                    uint64_t start_ns) {
    int saved_errno = errno;
    enum trace_served served = how_served(b, result);
    if (life_options.trace_events) {
        enter_alloc(b, bytes, served, start_ns);
    }
    if (served != TRACE_HIT) {
        trace_tick(ms_of(start_ns));
    }
    errno = saved_errno;
}

void trace_acquired_on_device(const struct block *b, size_t bytes, bool is_new, uint64_t start_ns) {
    trace_acquired(b, bytes, is_new ? FILL_OK : FILL_NO_ADDRESS, start_ns);
}

void trace_released(const void *address, uint64_t start_ns) {
    int saved_errno = errno;
    if (life_options.trace_events) {
        struct trace_entry e = {.type = TRACE_FREE,
                                .a = thread_id(),
                                .words_count = 3,
                                .words = {start_ns, (uintptr_t)address, clock_ns() - start_ns}};
        (void)trace_enter(&trace, &e, &nothing);
    }
    trace_tick(ms_of(start_ns));
    errno = saved_errno;
}

void trace_resized(const void *old, const struct block *b, size_t bytes, uint64_t start_ns) {
    int saved_errno = errno;
    if (life_options.trace_events) {
        struct trace_entry e = {.type = TRACE_RESIZE,
                                .words_count = 6,
                                .words = {start_ns, (uintptr_t)old, (uintptr_t)b->address, bytes,
                                          clock_ns() - start_ns,
                                          trace_info(number_of(b->home), TRACE_HIT)}};
        enter_event(&e, b->home);
    }
    trace_tick(ms_of(start_ns));
    errno = saved_errno;
}

/* ---- beginning and end ---- */

static bool is_wanted(void) {
    return strcmp(life_options.trace.text, "off") != 0;
}

static void say_no_stacks(void) {
    char room[WRITER_LINE];
    struct writer w = writer_to(STDERR_FILENO, room, sizeof room);
    write_text(&w,
               "bigmalloc: BIGMALLOC_TRACE_EVENTS: libgcc_s.so.1 cannot be loaded, no stacks\n");
    writer_flush(&w);
}

void trace_open(void) {
    if (!is_wanted() || !trace_ring_start(&trace.ring, life_options.trace_max, write_pieces)) {
        return;
    }
    if (life_options.trace_events && !unwind_load()) {
        say_no_stacks();
    }
    atomic_store(&trace_is_on, true);
    trace_tick(clock_us() / 1000);
}

/* Chunks that other threads have in their hands. */
static void wait_for_writers(void) {
    for (int i = 0; i < PATIENCE && trace_ring_is_busy(&trace.ring); i++) {
        (void)sched_yield();
    }
}

static void write_end(void) {
    sample_all();
    if (life_options.trace_events) {
        enter_modules();
    }
    struct trace_entry e = {.type = TRACE_END, .words_count = 1, .words = {clock_us()}};
    (void)trace_enter(&trace, &e, &nothing);
    trace_ring_flush(&trace.ring);
    wait_for_writers();
}

/* A child that had nothing to tell so far leaves it at that. */
void trace_at_exit(void) {
    static atomic_flag ended = ATOMIC_FLAG_INIT;
    bool has_begun = atomic_load(&trace_is_on) && trace_ring_has_begun(&trace.ring);
    if (has_begun && life_is_owner() && !atomic_flag_test_and_set(&ended)) {
        write_end();
        atomic_store(&trace_is_on, false);
    }
}

/* ---- fork ---- */

void trace_before_fork(void) UNCHECKED_LOCKING {
    lock_acquire(&trace.ring.lock);
}

void trace_after_fork_in_parent(void) UNCHECKED_LOCKING {
    lock_release(&trace.ring.lock);
}

void trace_after_fork_in_child(void) UNCHECKED_LOCKING {
    known_thread_id = 0;
    trace_reset(&trace);
    lock_reset(&file_lock);
    atomic_store(&file_is_made, false);
    atomic_store(&sample_due_ms, 0);
    atomic_store(&flush_due_ms, 0);
}
