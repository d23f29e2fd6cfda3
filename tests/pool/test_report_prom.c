#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "pool/report.h"
#include "pool/version.h"
#include "tests/pool/fake_backend.h"

enum {
    POOLS = 3
};

static struct fake_backend fakes[POOLS];
static struct meta_records records = {.record_bytes = sizeof(struct block)};
static struct pool pools[POOLS];
static size_t pool_count;
static struct report r;
static char text[65536];

static struct identity who;

static const struct pool *next(size_t *cursor) {
    return *cursor < pool_count ? &pools[(*cursor)++] : NULL;
}

static void start(void) {
    for (int i = 0; i < POOLS; i++) {
        fake_backend_init(&fakes[i], false);
        pool_init(&pools[i], &fakes[i].backend, &records);
        fakes[i].backend.kind = "host";
        fakes[i].backend.id = (unsigned)i;
    }
    pool_count = 1;
    r = (struct report){.next = next, .identity = &who};
    who.rank = IDENTITY_NO_RANK;
}

TestSuite(report_prom, .init = start);

static const char *written(void) {
    struct writer w = writer_to(-1, text, sizeof text - 1);
    report_prom(&w, &r);
    cr_assert(lt(sz, w.length, w.size));
    text[w.length] = '\0';
    return text;
}

static void on_device(int i, const char *kind, const char *uuid) {
    fakes[i].backend.kind = kind;
    fakes[i].backend.uuid = uuid;
    fakes[i].backend.id = 0;
}

/* A miss of 8 MiB, and a hit of 7 MiB. */
static void live_a_little(struct pool *p) {
    enum fill_result result = FILL_REFUSED;
    struct block *b = pool_fill(p, 8 * MIB, PAGES_ANY, &result);
    cr_assert(b != NULL && pool_release(p, b, 0));
    cr_assert(eq(ptr, pool_acquire(p, 7 * MIB, PAGES_ANY), b));
}

static size_t count(const char *s, const char *part) {
    size_t n = 0;
    for (const char *at = strstr(s, part); at != NULL; at = strstr(at + 1, part)) {
        n++;
    }
    return n;
}

static void expect_line(const char *line) {
    char whole[256];
    (void)snprintf(whole, sizeof whole, "\n%s\n", line);
    cr_expect(eq(sz, count(written(), whole), 1), "%s in:\n%s", line, text);
}

/* ---- names and values ---- */

Test(report_prom, a_gauge_is_two_gauges_and_two_counters) {
    live_a_little(&pools[0]);
    expect_line("bigmalloc_requested_bytes{kind=\"host\",node=\"0\"} 7340032");
    expect_line("bigmalloc_requested_peak_bytes{kind=\"host\",node=\"0\"} 8388608");
    expect_line("bigmalloc_requested_acquired_bytes_total{kind=\"host\",node=\"0\"} 15728640");
    expect_line("bigmalloc_requested_released_bytes_total{kind=\"host\",node=\"0\"} 8388608");
}

Test(report_prom, a_counter_and_bytes_that_only_grow_are_totals) {
    live_a_little(&pools[0]);
    stats_add(&pools[0].own.stats.failures, 3);
    expect_line("bigmalloc_failures_total{kind=\"host\",node=\"0\"} 3");
    expect_line("bigmalloc_missed_bytes_total{kind=\"host\",node=\"0\"} 8388608");
}

Test(report_prom, time_is_told_in_seconds) {
    stats_add(&pools[0].own.stats.miss_us, 12000345);
    expect_line("# HELP bigmalloc_miss_seconds_total seconds that those took");
    expect_line("bigmalloc_miss_seconds_total{kind=\"host\",node=\"0\"} 12.000345");
    expect_line("bigmalloc_wait_seconds_total{kind=\"host\",node=\"0\"} 0.000000");
}

Test(report_prom, requests_are_hits_misses_and_what_failed_or_passed) {
    live_a_little(&pools[0]);
    stats_add(&pools[0].own.stats.failures, 3);
    stats_add(&pools[0].own.stats.passed, 4);
    expect_line("bigmalloc_requests_total{kind=\"host\",node=\"0\"} 9");
    expect_line("bigmalloc_hits_total{kind=\"host\",node=\"0\"} 1");
    expect_line("bigmalloc_misses_total{kind=\"host\",node=\"0\"} 1");
}

Test(report_prom, idle_memory_is_a_gauge) {
    enum fill_result result = FILL_REFUSED;
    struct block *b = pool_fill(&pools[0], 8 * MIB, PAGES_ANY, &result);
    cr_assert(b != NULL && pool_release(&pools[0], b, 0));
    expect_line("# TYPE bigmalloc_idle_bytes gauge");
    expect_line("bigmalloc_idle_bytes{kind=\"host\",node=\"0\"} 8388608");
}

Test(report_prom, names_every_figure_of_the_table_and_documents_it_once) {
    const char *s = written();
#define GAUGE(name, doc) \
    cr_expect( \
        eq(sz, count(s, "# HELP bigmalloc_" #name " " doc "\n# TYPE bigmalloc_" #name " gauge\n"), \
           1));
#define COUNTER(name, doc) \
    if (strstr(doc, "micro") == NULL) { \
        cr_expect(eq(sz, \
                     count(s, "# HELP bigmalloc_" #name "_total " doc "\n# TYPE bigmalloc_" #name \
                              "_total counter\n"), \
                     1)); \
    }
#define BYTES(name, doc) COUNTER(name, doc)
#include "pool/stats.def"
#undef GAUGE
#undef COUNTER
#undef BYTES
}

Test(report_prom, tells_the_version) {
    cr_expect(eq(sz, count(written(), "\nbigmalloc_info{version=\"" VERSION "\"} 1\n"), 1));
}

/* ---- families ---- */

/* The family of a sample, or of a line of HELP or TYPE. */
static void family_of(const char *line, char family[128]) {
    static const char *const parts[] = {"_bucket{", "_sum{", "_count{"};
    bool is_comment = *line == '#';
    const char *start = is_comment ? line + strlen("# HELP ") : line;
    size_t length = strcspn(start, is_comment ? " " : "{");
    for (int i = 0; i < 3; i++) {
        const char *part = strstr(start, parts[i]);
        bool is_mine = part != NULL && (size_t)(part - start) < length;
        length = is_mine && strncmp(start, "bigmalloc_request_size", 22) == 0
                     ? (size_t)(part - start)
                     : length;
    }
    (void)snprintf(family, 128, "%.*s", (int)length, start);
}

Test(report_prom, all_samples_of_a_family_stand_together_below_one_head) {
    pool_count = POOLS;
    (void)written();
    char last[128] = "";
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        char family[128];
        family_of(line, family);
        bool is_head = strncmp(line, "# HELP ", 7) == 0;
        cr_expect(is_head == (strcmp(family, last) != 0), "%s after %s", line, last);
        (void)snprintf(last, sizeof last, "%s", family);
    }
}

Test(report_prom, every_head_is_there_once) {
    pool_count = POOLS;
    const char *s = written();
    for (const char *at = strstr(s, "# HELP "); at != NULL; at = strstr(at + 1, "# HELP ")) {
        char head[160];
        (void)snprintf(head, sizeof head, "%.*s ", (int)strcspn(at + 7, " ") + 7, at);
        cr_expect(eq(sz, count(s, head), 1), "%s", head);
    }
    cr_expect(eq(sz, count(s, "# HELP "), count(s, "# TYPE ")));
    cr_expect(gt(sz, count(s, "# HELP "), 40));
}

/* ---- labels ---- */

Test(report_prom, pools_are_told_apart_by_kind_and_node_or_device) {
    pool_count = POOLS;
    on_device(1, "device", "GPU-1");
    on_device(2, "pinned", "GPU-1");
    pools[0].own.stats.failures = 10;
    pools[1].own.stats.failures = 20;
    pools[2].own.stats.failures = 30;
    expect_line("bigmalloc_failures_total{kind=\"host\",node=\"0\"} 10\n"
                "bigmalloc_failures_total{kind=\"device\",gpu=\"GPU-1\"} 20\n"
                "bigmalloc_failures_total{kind=\"pinned\",gpu=\"GPU-1\"} 30");
}

Test(report_prom, pools_of_one_place_are_one_sample) {
    pool_count = POOLS;
    on_device(0, "device", "GPU-1");
    on_device(2, "device", "GPU-1");
    on_device(1, "device", "GPU-2");
    for (int i = 0; i < POOLS; i++) {
        live_a_little(&pools[i]);
    }
    expect_line("bigmalloc_allocated_bytes{kind=\"device\",gpu=\"GPU-1\"} 16777216\n"
                "bigmalloc_allocated_bytes{kind=\"device\",gpu=\"GPU-2\"} 8388608");
    cr_expect(eq(sz, count(text, "bigmalloc_hits_total{"), 2));
    expect_line("bigmalloc_request_size_bytes_count{kind=\"device\",gpu=\"GPU-1\"} 4");
}

Test(report_prom, a_rank_is_a_label_of_every_sample_where_there_is_one) {
    cr_expect(eq(sz, count(written(), "rank="), 0));
    who.rank = 3;
    const char *s = written();
    size_t lines = count(s, "\n") - count(s, "\n# ") - 1;
    cr_expect(eq(sz, count(s, ",rank=\"3\""), lines));
    expect_line("bigmalloc_failures_total{kind=\"host\",node=\"0\",rank=\"3\"} 0");
}

Test(report_prom, no_label_tells_the_process) {
    cr_expect(eq(sz, count(written(), "4711"), 0));
    cr_expect(eq(sz, count(written(), "python3"), 0));
}

Test(report_prom, labels_are_escaped_and_ascii) {
    fakes[0].backend.kind = "device";
    fakes[0].backend.uuid = "a\"b\\c\nd\xc3\xa9";
    expect_line("bigmalloc_failures_total{kind=\"device\",gpu=\"a\\\"b\\\\c?d??\"} 0");
}

/* ---- sizes ---- */

Test(report_prom, a_device_is_told_of_once_whatever_uses_it) {
    pool_count = 3;
    for (int i = 0; i < 3; i++) {
        on_device(i, i < 2 ? "device" : "pinned", "GPU-1");
        fakes[i].backend.device_bytes = i < 2 ? 80 * GIB : 0;
        pool_init(&pools[i], &fakes[i].backend, &records);
        pool_tell_free(&pools[i], 7 * GIB);
    }
    who.rank = 3;
    expect_line("bigmalloc_device_bytes{gpu=\"GPU-1\"} 85899345920");
    expect_line("bigmalloc_device_free_bytes{gpu=\"GPU-1\"} 7516192768");
    cr_expect(eq(sz, count(text, "\nbigmalloc_device_bytes"), 1));
    cr_expect(eq(sz, count(text, "\nbigmalloc_device_free_bytes"), 1));
}

Test(report_prom, what_is_counted_of_the_process_is_a_counter_without_a_place) {
    static const struct figure figures[] = {{"cuda_lookups", "functions asked for", 12, false},
                                            {"cuda_small_bytes", "bytes asked for", 34, true}};
    r.figures = figures;
    r.figure_count = 2;
    expect_line("# TYPE bigmalloc_cuda_lookups_total counter");
    expect_line("# HELP bigmalloc_cuda_lookups_total functions asked for");
    expect_line("bigmalloc_cuda_lookups_total 12");
    who.rank = 3;
    expect_line("bigmalloc_cuda_small_bytes_total{rank=\"3\"} 34");
}

Test(report_prom, sizes_are_a_histogram_by_powers_of_two) {
    live_a_little(&pools[0]);
    static const char *const lines[] = {
        "_bucket{kind=\"host\",node=\"0\",le=\"65536\"} 0",
        "_bucket{kind=\"host\",node=\"0\",le=\"4194304\"} 0",
        "_bucket{kind=\"host\",node=\"0\",le=\"8388608\"} 2",
        "_bucket{kind=\"host\",node=\"0\",le=\"140737488355328\"} 2",
        "_bucket{kind=\"host\",node=\"0\",le=\"+Inf\"} 2",
        "_sum{kind=\"host\",node=\"0\"} 15728640",
        "_count{kind=\"host\",node=\"0\"} 2",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char line[160];
        (void)snprintf(line, sizeof line, "bigmalloc_request_size_bytes%s", lines[i]);
        expect_line(line);
    }
    cr_expect(eq(sz, count(text, "le=\""), 33), "64 KiB to 128 TiB, and infinity");
}

/* ---- signals ---- */

Test(report_prom, needs_no_lock_so_that_a_signal_handler_may_write_it) {
    lock_acquire(&pools[0].lock);
    cr_expect(gt(sz, count(written(), "\n"), 100));
    lock_release(&pools[0].lock);
}
