#include "pool/live.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "pool/clock.h"
#include "pool/version.h"
#include "pool/writer.h"

/* So many pools are shown: the nodes of the largest machines, or eight contexts with all kinds of pinned memory. */
enum {
    POOLS = 128
};

/* Where the file is and what is where in it: a page that reads as zeros in every child. */
struct table {
    alignas(PAGE) _Atomic(struct live_header *) header;
    figures_slot slots[POOLS];
};

static_assert(sizeof(struct table) == PAGE, "what a child shall not see is alone on its page");

#define SCHEMA_MOST (16 * KIB)

/* Addresses for all records that there may ever be: those that a file does not reach cost nothing. */
static const size_t MAPPED_BYTES =
    sizeof(struct live_header) + SCHEMA_MOST + (size_t)POOLS * sizeof(struct figures);

static const char magic[] = "BIGMLIVE";

static struct table *_Atomic table;
static void *mapped; /* the file, or that of the parent */
static _Atomic uint32_t dump_signal;

const struct live_header *live_header(void) {
    const struct table *t = atomic_load_explicit(&table, memory_order_acquire);
    return t != NULL ? atomic_load_explicit(&t->header, memory_order_acquire) : NULL;
}

/* The same, to be written. */
static struct live_header *header(void) {
    struct table *t = atomic_load_explicit(&table, memory_order_acquire);
    return t != NULL ? atomic_load_explicit(&t->header, memory_order_acquire) : NULL;
}

/* ---- tallies ---- */

static const struct live_tally *tally_names;
static unsigned tally_count;
static _Atomic uint64_t tallies[LIVE_TALLIES]; /* as long as there is no file */

void live_name_tallies(const struct live_tally *names, unsigned count) {
    tally_names = names;
    tally_count = count;
}

void live_tally(unsigned which, uint64_t n) {
    struct live_header *h = header();
    atomic_fetch_add_explicit(h != NULL ? &h->tallies[which] : &tallies[which], n,
                              memory_order_relaxed);
}

/* Who was just counting when the file began has counted here. */
uint64_t live_tally_sum(unsigned which) {
    const struct live_header *h = live_header();
    uint64_t in_file =
        h != NULL ? atomic_load_explicit(&h->tallies[which], memory_order_relaxed) : 0;
    return in_file + atomic_load_explicit(&tallies[which], memory_order_relaxed);
}

static void move_tallies(struct live_header *h) {
    for (unsigned i = 0; i < LIVE_TALLIES; i++) {
        atomic_store(&h->tallies[i], atomic_exchange(&tallies[i], 0));
    }
}

/* ---- the schema ---- */

static void write_figure(struct writer *w, const char *type, const char *name, size_t offset,
                         const char *doc) {
    write_text(w, type);
    write_char(w, ' ');
    write_text(w, name);
    write_char(w, ' ');
    write_number(w, offset, 0);
    write_char(w, ' ');
    write_text(w, doc);
    write_char(w, '\n');
}

static void write_class(struct writer *w, unsigned c) {
    write_text(w, "class ");
    write_number(w, c, 0);
    write_char(w, ' ');
    write_number(w, offsetof(struct figures, classes) + c * sizeof(struct class_figures), 0);
    write_char(w, ' ');
    write_number(w, size_class_bytes(c), 0);
    write_char(w, '\n');
}

static void write_schema(struct writer *w) {
    write_text(w, "library " VERSION "\n");
    for (unsigned i = 0; i < tally_count; i++) {
        write_figure(w, "process counter", tally_names[i].name,
                     offsetof(struct live_header, tallies[0]) + i * sizeof(uint64_t),
                     tally_names[i].doc);
    }
#define FIGURE(type, name, doc) \
    write_figure(w, "pool " type, #name, offsetof(struct figures, stats.name), doc);
#define GAUGE(name, doc) FIGURE("gauge", name, doc)
#define COUNTER(name, doc) FIGURE("counter", name, doc)
#define BYTES(name, doc) FIGURE("bytes", name, doc)
#include "pool/stats.def"
#undef GAUGE
#undef COUNTER
#undef BYTES
#undef FIGURE
    for (unsigned c = 0; c < SIZE_CLASSES; c++) {
        write_class(w, c);
    }
}

/* ---- the file ---- */

/* Beyond its own limit a process would get SIGXFSZ, which ends it. setrlimit(2). */
static bool is_within_limit(size_t bytes) {
    struct rlimit limit;
    return getrlimit(RLIMIT_FSIZE, &limit) == 0 && bytes <= limit.rlim_cur;
}

/* A write to memory that a full tmpfs has no page for would end the process: pages first. */
static bool reserve(int fd, size_t bytes) {
    static const int tries = 16;
    int error = EINTR;
    for (int i = 0; i < tries && error == EINTR && is_within_limit(bytes); i++) {
        error = posix_fallocate(fd, 0, (off_t)bytes);
    }
    return error == 0;
}

/* A page of zeros for this process, and for each of its children. Kept for ever. */
static struct table *make_table(void) {
    struct table *t =
        mmap(NULL, sizeof *t, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (t == MAP_FAILED) {
        return NULL;
    }
    if (madvise(t, sizeof *t, MADV_WIPEONFORK) != 0) {
        (void)munmap(t, sizeof *t);
        return NULL;
    }
    return t;
}

static struct table *the_table(void) {
    struct table *t = atomic_load_explicit(&table, memory_order_relaxed);
    if (t == NULL) {
        t = make_table();
        atomic_store_explicit(&table, t, memory_order_release);
    }
    return t;
}

static void fill_header(struct live_header *h, const struct identity *who, size_t threshold,
                        const char *stats_file) {
    h->version = LIVE_VERSION;
    h->header_bytes = sizeof *h;
    h->schema_offset = sizeof *h;
    h->pool_bytes = sizeof(struct figures);
    h->pid = who->pid;
    h->start_ticks = who->start_ticks;
    h->started_us = clock_us();
    h->started_unix_us = clock_unix_us();
    h->pid_ns = who->pid_ns;
    h->state = LIVE_RUNNING;
    h->rank = who->rank;
    memcpy(h->boot_id, who->boot_id, sizeof h->boot_id);
    memcpy(h->host, who->host, sizeof h->host);
    memcpy(h->command, who->command, sizeof h->command);
    h->threshold = threshold;
    memcpy(h->stats_file, stats_file, strnlen(stats_file, sizeof h->stats_file - 1));
}

static void fill_schema(struct live_header *h) {
    struct writer w = writer_to(-1, (char *)h + h->schema_offset, SCHEMA_MOST);
    write_schema(&w);
    h->schema_bytes = w.length;
    h->pools_offset = round_up(h->schema_offset + h->schema_bytes, CACHE_LINE);
    h->file_bytes = sizeof *h + SCHEMA_MOST;
}

bool live_begin(int fd, const struct identity *who, size_t threshold, const char *stats_file) {
    struct table *t = the_table();
    if (t == NULL || !reserve(fd, sizeof(struct live_header) + SCHEMA_MOST)) {
        return false;
    }
    struct live_header *h = mmap(NULL, MAPPED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (h == MAP_FAILED) {
        return false;
    }
    fill_header(h, who, threshold, stats_file);
    fill_schema(h);
    move_tallies(h);
    atomic_thread_fence(memory_order_release);
    memcpy(h->magic, magic, sizeof h->magic);
    mapped = h;
    atomic_store_explicit(&t->header, h, memory_order_release);
    /* Whoever notes a signal meanwhile finds the header, or is found here. */
    atomic_store(&h->dump_signal, atomic_load(&dump_signal));
    return true;
}

bool live_add(int fd, struct pool *p) {
    struct live_header *h = header();
    if (h == NULL || stock_figures(p) != &p->own) {
        return h != NULL;
    }
    uint32_t i = atomic_load(&h->pool_count);
    size_t end = h->pools_offset + (i + (size_t)1) * h->pool_bytes;
    if (i >= POOLS || !reserve(fd, size_max(end, atomic_load(&h->file_bytes)))) {
        return false;
    }
    void *record = (char *)h + end - h->pool_bytes;
    pool_show(p, &table->slots[i], record);
    atomic_store(&h->file_bytes, size_max(end, atomic_load(&h->file_bytes)));
    atomic_store_explicit(&h->pool_count, i + 1, memory_order_release);
    return true;
}

bool live_read_header(int fd, struct live_header *h) {
    return pread(fd, h, sizeof *h, 0) == (ssize_t)sizeof *h &&
           memcmp(h->magic, magic, sizeof h->magic) == 0 && h->version == LIVE_VERSION;
}

void live_note_signal(int number) {
    atomic_store(&dump_signal, (uint32_t)number);
    struct live_header *h = header();
    if (h != NULL) {
        atomic_store(&h->dump_signal, (uint32_t)number);
    }
}

void live_end(void) {
    struct live_header *h = header();
    if (h != NULL) {
        atomic_store(&h->state, LIVE_ENDED);
    }
}

/* The table is wiped; the parent's file was never to be reached from here. */
void live_after_fork_in_child(void) {
    for (unsigned i = 0; i < LIVE_TALLIES; i++) {
        atomic_store(&tallies[i], 0);
    }
    if (mapped != NULL) {
        (void)munmap(mapped, MAPPED_BYTES);
        mapped = NULL;
    }
}
