#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool/live.h"
#include "tests/pool/fake_pool.h"
#include "tests/pool/inject.h"

enum {
    FILE_MOST = 1 << 20
};

static const struct identity who = {.pid = 4711,
                                    .start_ticks = 815,
                                    .pid_ns = 99,
                                    .rank = 3,
                                    .boot_id = "0b00",
                                    .host = "node7",
                                    .command = "a program of lo"};

static int fd;
static alignas(CACHE_LINE) char file[FILE_MOST]; /* as a reader sees it */
static size_t file_bytes;

static void start(void) {
    start_with_memory();
    fd = memfd_create("live", MFD_CLOEXEC);
    cr_assert(ge(int, fd, 0));
}

TestSuite(live, .init = start);

static bool begin(void) {
    return live_begin(fd, &who, 1 * MIB, "stats.%p.json");
}

static void must_begin(void) {
    cr_assert(begin());
    cr_assert(live_add(fd, &pool));
}

static void read_file(void) {
    ssize_t n = pread(fd, file, sizeof file, 0);
    cr_assert(ge(sz, (size_t)n, 0));
    file_bytes = (size_t)n;
}

static uint64_t word_at(size_t offset) {
    uint64_t word = 0;
    memcpy(&word, file + offset, sizeof word);
    return word;
}

static uint32_t half_at(size_t offset) {
    uint32_t half = 0;
    memcpy(&half, file + offset, sizeof half);
    return half;
}

/* ---- the header, by its places as they are written down for readers ---- */

Test(live, the_header_says_whose_file_it_is) {
    must_begin();
    read_file();
    cr_expect(eq(int, memcmp(file, "BIGMLIVE", 8), 0));
    cr_expect(eq(u32, half_at(8), 1), "version");
    cr_expect(eq(u32, half_at(12), 1408), "bytes of the header");
    cr_expect(eq(u64, word_at(16), file_bytes));
    cr_expect(eq(u64, word_at(64), 4711), "pid");
    cr_expect(eq(u64, word_at(72), 815), "start");
    cr_expect(eq(u64, word_at(96), 99), "namespace");
    cr_expect(eq(u32, half_at(104), 1), "running");
    cr_expect(eq(u32, half_at(108), 3), "rank");
    cr_expect(eq(str, file + 112, "0b00"));
    cr_expect(eq(str, file + 152, "node7"));
    cr_expect(eq(str, file + 216, "a program of lo"));
    cr_expect(eq(u64, word_at(232), 1 * MIB), "threshold");
    cr_expect(eq(str, file + 384, "stats.%p.json"));
}

static const struct live_tally names[] = {{"calls", "calls of all kinds"}, {"more_bytes", "more"}};

Test(live, what_is_counted_of_the_process_is_in_the_file_also_from_before) {
    live_name_tallies(names, 2);
    live_tally(0, 3);
    live_tally(1, 5);
    must_begin();
    live_tally(0, 4);
    read_file();
    cr_expect(eq(u64, word_at(256), 7));
    cr_expect(eq(u64, word_at(264), 5));
    cr_expect(eq(u64, live_tally_sum(0), 7));
    cr_expect(strstr(file + word_at(24), "process counter more_bytes 264 more\n") != NULL);
}

Test(live, the_header_says_when_it_was_made) {
    struct timespec now;
    cr_assert(eq(int, clock_gettime(CLOCK_REALTIME, &now), 0));
    uint64_t before_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    must_begin();
    cr_assert(eq(int, clock_gettime(CLOCK_REALTIME, &now), 0));
    uint64_t after_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    read_file();
    cr_expect(ge(u64, word_at(88), before_us));
    cr_expect(le(u64, word_at(88), after_us));
}

Test(live, an_end_is_noted) {
    must_begin();
    live_end();
    read_file();
    cr_expect(eq(u32, half_at(104), 2));
}

Test(live, the_signal_is_that_of_now) {
    live_note_signal(SIGUSR2);
    must_begin();
    read_file();
    cr_expect(eq(u32, half_at(60), SIGUSR2));
    live_note_signal(0);
    read_file();
    cr_expect(eq(u32, half_at(60), 0));
}

Test(live, a_header_of_another_version_is_none) {
    struct live_header h;
    cr_expect(not(live_read_header(fd, &h)), "an empty file");
    must_begin();
    cr_expect(live_read_header(fd, &h));
    cr_expect(eq(u64, h.pid, 4711));
    cr_assert(eq(int, (int)pwrite(fd, "\2", 1, 8), 1));
    cr_expect(not(live_read_header(fd, &h)));
    cr_assert(eq(int, (int)pwrite(fd, "\1", 1, 8), 1));
    cr_assert(eq(int, (int)pwrite(fd, "X", 1, 0), 1));
    cr_expect(not(live_read_header(fd, &h)));
}

/* ---- the schema ---- */

/* The number behind "KIND TYPE NAME ". */
static size_t place_of(const char *type, const char *name) {
    char start_of_line[128];
    (void)snprintf(start_of_line, sizeof start_of_line, "pool %s %s ", type, name);
    char *schema = file + word_at(24);
    const char *line = strstr(schema, start_of_line);
    cr_assert(line != NULL && line < schema + word_at(32), "%s", start_of_line);
    return strtoul(line + strlen(start_of_line), NULL, 10);
}

static uint64_t word_of(const char *type, const char *name, size_t number) {
    return word_at(word_at(40) + place_of(type, name) + number * sizeof(uint64_t));
}

Test(live, the_schema_has_a_place_for_every_figure_which_is_that_of_no_other) {
    uint64_t marks = 0;
    must_begin();
    struct figures *f = pool.figures;
#define GAUGE(name, doc) atomic_store(&f->stats.name.allocated, ++marks);
#define COUNTER(name, doc) atomic_store(&f->stats.name, ++marks);
#define BYTES(name, doc) COUNTER(name, doc)
#include "pool/stats.def"
#undef GAUGE
#undef COUNTER
#undef BYTES
    read_file();
    marks = 0;
#define GAUGE(name, doc) cr_expect(eq(u64, word_of("gauge", #name, 0), ++marks), #name);
#define COUNTER(name, doc) cr_expect(eq(u64, word_of("counter", #name, 0), ++marks), #name);
#define BYTES(name, doc) cr_expect(eq(u64, word_of("bytes", #name, 0), ++marks), #name);
#include "pool/stats.def"
}

Test(live, the_schema_has_every_class_and_ends_with_a_whole_line) {
    must_begin();
    read_file();
    const char *schema = file + word_at(24);
    char first[64];
    char last[64];
    size_t classes = offsetof(struct figures, classes);
    (void)snprintf(first, sizeof first, "\nclass 0 %zu 65536\n", classes);
    (void)snprintf(last, sizeof last, "\nclass 248 %zu 140737488355328\n", classes + 248 * 32);
    cr_expect(strstr(schema, first) != NULL);
    cr_expect(strstr(schema, last) != NULL);
    cr_expect(eq(chr, schema[word_at(32) - 1], '\n'));
    cr_expect(le(u64, word_at(24) + word_at(32), word_at(40)), "and before the records");
}

/* ---- the records ---- */

static struct figures *record(unsigned number) {
    return (struct figures *)(void *)(file + word_at(40) + number * word_at(48));
}

Test(live, a_record_says_whose_it_is) {
    fake.backend.kind = "device";
    fake.backend.id = 5;
    fake.backend.uuid = "GPU-1";
    fake.backend.pci_address = "00000000:3b:00.0";
    static struct pool device;
    pool_init(&device, &fake.backend, NULL);
    must_begin();
    cr_assert(live_add(fd, &device));
    read_file();
    cr_expect(eq(u32, half_at(56), 2), "two pools");
    const char *r = (const char *)record(1);
    cr_expect(eq(str, (char *)(uintptr_t)(r + 8), "device"));
    cr_expect(eq(u32, record(1)->id, 5));
    cr_expect(eq(u32, record(1)->in_use, 1));
    cr_expect(eq(str, record(1)->uuid, "GPU-1"));
    cr_expect(eq(int, memcmp(r + 72, "00000000:3b:00.0", 16), 0));
}

Test(live, every_change_is_in_the_file_at_once) {
    must_begin();
    struct block *b = fill(8 * MIB);
    read_file();
    cr_expect(eq(u64, word_of("gauge", "allocated_bytes", 0), 8 * MIB));
    cr_expect(eq(u64, word_of("bytes", "missed_bytes", 0), 8 * MIB));
    cr_expect(eq(sz, figure(&record(0)->classes[56].misses), 1));
    release(b, 1);
    read_file();
    cr_expect(eq(u64, word_of("gauge", "allocated_bytes", 1), 8 * MIB), "freed");
    cr_expect(eq(u64, word_of("gauge", "allocated_bytes", 2), 8 * MIB), "peak");
    cr_expect(eq(u64, word_at(word_at(40) + 88), 8 * MIB), "idle");
    cr_expect(eq(sz, figure(&record(0)->classes[56].idle), 1));
    cr_assert(not(eq(ptr, acquire(8 * MIB), NULL)));
    pool_add(&pool, &pool.own.stats.waits, 3);
    read_file();
    cr_expect(eq(sz, figure(&record(0)->classes[56].hits), 1));
    cr_expect(eq(sz, figure(&record(0)->classes[56].idle), 0));
    cr_expect(eq(u64, word_at(word_at(40) + 88), 0));
    cr_expect(eq(u64, word_of("counter", "waits", 0), 3));
    cr_expect(eq(u64, word_at(word_at(40)) % 2, 0), "and the sequence is even");
    expect_valid();
}

Test(live, what_was_counted_before_goes_along) {
    struct block *b = fill(8 * MIB);
    must_begin();
    release(b, 1);
    read_file();
    cr_expect(eq(u64, word_of("gauge", "allocated_bytes", 0), 8 * MIB));
    cr_expect(eq(sz, figure(&record(0)->classes[56].misses), 1));
    cr_expect(eq(sz, gauge_current(&stock_figures(&pool)->stats.allocated_bytes), 0));
    cr_expect(eq(u64, pool.own.sequence % 2, 0), "nor is a change under way where they were");
    expect_valid();
}

Test(live, a_pool_is_added_once) {
    must_begin();
    cr_assert(live_add(fd, &pool));
    read_file();
    cr_expect(eq(u32, half_at(56), 1));
}

/* ---- refusals: all is as it would be without ---- */

static void expect_unshown(void) {
    cr_expect(eq(ptr, (void *)(uintptr_t)stock_figures(&pool), &pool.own));
    release(fill(8 * MIB), 1);
    cr_expect(eq(sz, figure(&pool.own.classes[56].misses), 1));
    expect_valid();
}

Test(live, without_space_there_is_no_file) {
    inject_failures(CALL_POSIX_FALLOCATE, 1, SIZE_MAX);
    inject.error = ENOSPC;
    cr_expect(not(begin()));
    cr_expect(not(live_add(fd, &pool)));
    cr_expect(eq(ptr, (void *)(uintptr_t)live_header(), NULL));
    expect_unshown();
}

Test(live, without_space_for_its_record_a_pool_keeps_its_figures) {
    cr_assert(begin());
    inject_failures(CALL_POSIX_FALLOCATE, 1, SIZE_MAX);
    inject.error = ENOSPC;
    cr_expect(not(live_add(fd, &pool)));
    read_file();
    cr_expect(eq(u32, half_at(56), 0));
    expect_unshown();
}

Test(live, an_interrupted_reservation_is_tried_again_but_not_for_ever) {
    inject_failures(CALL_POSIX_FALLOCATE, 1, 3);
    inject.error = EINTR;
    cr_expect(begin());
    inject_failures(CALL_POSIX_FALLOCATE, 1, SIZE_MAX);
    cr_expect(not(live_add(fd, &pool)));
}

Test(live, where_a_child_could_not_be_kept_away_there_is_no_file) {
    inject.madvise_advice = MADV_WIPEONFORK;
    inject_failures(CALL_MADVISE, 1, SIZE_MAX);
    cr_expect(not(begin()));
    expect_unshown();
}

Test(live, where_the_file_cannot_be_mapped_there_is_none) {
    inject_failures(CALL_MMAP, 2, 1);
    cr_expect(not(begin()));
    expect_unshown();
}

/* Beyond the limit a call ends the process by a signal. */
Test(live, a_limit_on_files_is_kept) {
    struct rlimit limit = {.rlim_cur = 4096, .rlim_max = RLIM_INFINITY};
    cr_assert(eq(int, setrlimit(RLIMIT_FSIZE, &limit), 0));
    cr_expect(not(begin()));
    limit.rlim_cur = 18000;
    cr_assert(eq(int, setrlimit(RLIMIT_FSIZE, &limit), 0));
    cr_expect(begin(), "the header and the schema");
    cr_expect(not(live_add(fd, &pool)), "and no pool");
    limit.rlim_cur = RLIM_INFINITY;
    cr_assert(eq(int, setrlimit(RLIMIT_FSIZE, &limit), 0));
    expect_unshown();
}

Test(live, more_pools_than_there_is_room_for_keep_their_figures) {
    static struct pool many[129];
    cr_assert(begin());
    for (int i = 0; i < 129; i++) {
        pool_init(&many[i], &fake.backend, NULL);
        cr_assert(eq(int, live_add(fd, &many[i]), i < 128), "%d", i);
    }
    cr_expect(eq(ptr, (void *)(uintptr_t)stock_figures(&many[128]), &many[128].own));
}

/* ---- children ---- */

static int status_of(pid_t child) {
    int status = -1;
    cr_assert(eq(int, waitpid(child, &status, 0), child));
    return status;
}

/* No handler of ours runs in it: as after a raw clone(2). */
Test(live, a_child_does_not_write_to_its_parents_file) {
    must_begin();
    struct block *b = fill(8 * MIB);
    static char before[FILE_MOST];
    read_file();
    memcpy(before, file, file_bytes);
    pid_t child = fork();
    if (child == 0) {
        bool released = pool_release(&pool, b, 1);
        bool own = stock_figures(&pool) == &pool.own && live_header() == NULL;
        live_note_signal(1);
        live_end();
        _exit(released && own && pool_acquire(&pool, 8 * MIB, PAGES_ANY) == b ? 0 : 1);
    }
    cr_expect(eq(int, status_of(child), 0));
    read_file();
    cr_expect(eq(int, memcmp(before, file, file_bytes), 0));
}

Test(live, a_child_may_have_a_file_of_its_own) {
    must_begin();
    release(fill(8 * MIB), 1);
    int fd_of_child = memfd_create("child", MFD_CLOEXEC);
    pid_t child = fork();
    if (child == 0) {
        lock_acquire(&pool.lock);
        pool_after_fork_in_child(&pool);
        live_after_fork_in_child();
        fd = fd_of_child;
        must_begin();
        release(fill(4 * MIB), 1);
        _exit(0);
    }
    cr_expect(eq(int, status_of(child), 0));
    read_file();
    cr_expect(eq(sz, figure(&record(0)->classes[48].misses), 0), "of the parent");
    fd = fd_of_child;
    read_file();
    cr_expect(eq(u32, half_at(56), 1));
    cr_expect(eq(sz, figure(&record(0)->classes[48].misses), 1));
    cr_expect(eq(sz, figure(&record(0)->classes[56].misses), 0));
}

/* ---- readers beside a writer ---- */

static atomic_bool over;

/* Between two requests it does nothing for a moment, as programs do, so that a reader gets a word in. */
static void *write_figures(void *unused) {
    (void)unused;
    while (!atomic_load(&over)) {
        struct block *b = pool_acquire(&pool, 8 * MIB, PAGES_ANY);
        if (b == NULL || !pool_release(&pool, b, 1)) {
            abort();
        }
        for (volatile int i = 0; i < 50; i++) {
        }
    }
    return NULL;
}

/* Figures that hang together. */
struct sample {
    size_t live;
    size_t reserved;
    size_t asked;
    size_t idle_bytes;
    size_t idle;
    size_t requests;
};

static struct sample sample_of(const struct figures *f) {
    const struct class_figures *c = &f->classes[56];
    return (struct sample){.requests = figure(&c->hits) + figure(&c->misses),
                           .idle = figure(&c->idle),
                           .idle_bytes = figure(&f->idle_bytes),
                           .live = gauge_current(&f->stats.allocated_bytes),
                           .reserved = gauge_current(&f->stats.reserved_bytes),
                           .asked = figure(&f->stats.requested_bytes.allocated)};
}

/* Of one instant: what is live and what is idle is what is there, and each live block was asked for. */
static bool agrees(const struct sample *s) {
    return s->live + s->idle_bytes == s->reserved && s->idle_bytes == s->idle * 8 * MIB &&
           s->asked == s->requests * 8 * MIB;
}

Test(live, what_is_read_within_one_even_sequence_is_of_one_instant) {
    pthread_t writer;
    unsigned whole = 0;
    unsigned torn = 0;
    uint64_t last = 0;
    must_begin();
    release(fill(8 * MIB), 1);
    const struct figures *shown = stock_figures(&pool);
    cr_assert(eq(int, pthread_create(&writer, NULL, write_figures, NULL), 0));
    /* Of many instants; of fewer, where the two have to take turns on one processor. */
    for (uint64_t i = 0; whole < 1000 || torn == 0 || (whole < 20000 && i < 100000000); i++) {
        uint64_t before = figures_before(shown);
        struct sample s = sample_of(shown);
        if (!figures_are_whole(shown, before)) {
            torn++;
        } else if (before != last) {
            cr_assert(agrees(&s), "after %u that were whole", whole);
            last = before;
            whole++;
        }
    }
    atomic_store(&over, true);
    (void)pthread_join(writer, NULL);
}
