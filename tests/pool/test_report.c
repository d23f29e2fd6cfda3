#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "pool/report.h"
#include "pool/resize.h"
#include "tests/pool/fake_backend.h"
#include "tests/pool/json.h"

enum {
    SCREEN_LINES = 24,
    SCREEN_COLUMNS = 110
};

static struct fake_backend fake;
static struct meta_records records = {.record_bytes = sizeof(struct block)};
static struct pool pools[2];
static struct placement placement = {.pools = 1, .note = ""};
static struct residence residence = {.measured_by = "nothing"};
static char text[65536];

static void start(void) {
    fake_backend_init(&fake, false);
    pool_init(&pools[0], &fake.backend, &records);
    pool_init(&pools[1], &fake.backend, &records);
}

TestSuite(report, .init = start);

static const struct pool *first_pool(size_t *cursor) {
    return (*cursor)++ == 0 ? &pools[0] : NULL;
}

static const struct pool *either_pool(size_t *cursor) {
    return *cursor < 2 ? &pools[(*cursor)++] : NULL;
}

static struct identity identity = {.pid = 4711,
                                   .start_ticks = 815,
                                   .rank = 3,
                                   .boot_id = "0b00",
                                   .host = "node\"7",
                                   .command = "python3"};

static struct report report_of(size_t pool_count) {
    return (struct report){.next = pool_count == 1 ? first_pool : either_pool,
                           .identity = &identity,
                           .time_unix_us = 1700000000000000,
                           .placement = &placement,
                           .residence = &residence};
}

static const char *written(void (*how)(struct writer *, const struct report *), struct report r) {
    struct writer w = {.fd = -1, .text = text, .size = sizeof text - 1};
    how(&w, &r);
    cr_assert(lt(sz, w.length, w.size));
    text[w.length] = '\0';
    return text;
}

static struct block *miss(struct pool *p, size_t bytes) {
    enum fill_result result = FILL_REFUSED;
    struct block *b = pool_fill(p, bytes, PAGES_ANY, &result);
    cr_assert(not(eq(ptr, b, NULL)));
    return b;
}

/* A miss of 8 MiB and three hits of 7.75 MiB each. */
static void live_a_little(struct pool *p) {
    struct block *b = miss(p, 8 * MIB);
    for (uint64_t i = 0; i < 3; i++) {
        cr_assert(pool_release(p, b, i));
        cr_assert(eq(ptr, pool_acquire(p, 7 * MIB + 768 * KIB, PAGES_ANY), b));
    }
}

/* Twelve classes, and figures of twelve digits: what a long day of a large machine leaves. */
static void live_a_lot(struct pool *p) {
    for (unsigned c = 0; c < 12; c++) {
        (void)miss(p, size_class_bytes(32 + 8 * c));
        p->own.classes[32 + 8 * c].hits = 100000000000 + c;
        p->own.classes[32 + 8 * c].idle = 100000;
    }
    p->own.stats.failures = 123456789;
    p->own.stats.oom_retries = 123456789;
    p->own.stats.released_blocks = 123456789012;
    p->own.stats.zeroed_bytes = 1023 * TIB;
    p->own.stats.released_bytes = 1023 * TIB;
}

static size_t lines_of(const char *s) {
    size_t n = 0;
    for (; *s != '\0'; s++) {
        n += *s == '\n';
    }
    return n;
}

static size_t longest_line(const char *s) {
    size_t longest = 0;
    while (*s != '\0') {
        size_t n = strcspn(s, "\n");
        longest = size_max(longest, n);
        s += n + (s[n] == '\n');
    }
    return longest;
}

static bool ends_its_line(const char *s) {
    return *s != '\0' && s[strlen(s) - 1] == '\n';
}

static bool contains(const char *s, const char *part) {
    return strstr(s, part) != NULL;
}

/* ---- totals ---- */

Test(report, totals_of_nothing_are_nothing) {
    struct report r = report_of(2);
    struct totals t = report_totals(&r);
    cr_expect(eq(sz, t.requests, 0));
    cr_expect(eq(sz, t.requested_bytes, 0));
}

Test(report, growth_in_place_is_neither_a_request_nor_a_hit) {
    enum fill_result result = FILL_OK;
    struct block *b = pool_fill(&pools[0], 7 * MIB + 1, PAGES_ANY, &result);
    cr_assert(resize_in_place(&pools[0], b, 7 * MIB + 512 * KIB));
    cr_assert(resize_in_place(&pools[0], b, 7 * MIB + 1));
    cr_assert(resize_in_place(&pools[0], b, 7 * MIB + 512 * KIB));
    struct report r = report_of(1);
    struct totals t = report_totals(&r);
    cr_expect(eq(sz, t.requests, 1));
    cr_expect(eq(sz, t.requested_bytes, 7 * MIB + 1));
    cr_expect(eq(sz, t.hit_bytes, 0));
    cr_expect(eq(sz, t.used_bytes, 8 * MIB - 1), "what was handed out for it counts too");
}

Test(report, totals_are_sums_over_the_pools) {
    live_a_little(&pools[0]);
    live_a_little(&pools[1]);
    pool_add(&pools[1], &pools[1].own.stats.failures, 1);
    pool_add(&pools[1], &pools[1].own.stats.oom_retries, 1);
    pool_add(&pools[0], &pools[0].own.stats.passed, 1);
    struct report r = report_of(2);
    struct totals t = report_totals(&r);
    cr_expect(eq(sz, t.requests, 10));
    cr_expect(eq(sz, t.passed, 1));
    cr_expect(eq(sz, t.hits, 6));
    cr_expect(eq(sz, t.misses, 2));
    cr_expect(eq(sz, t.failures, 1));
    cr_expect(eq(sz, t.oom_retries, 1));
    cr_expect(eq(sz, t.requested_bytes, 2 * (31 * MIB + 256 * KIB)));
    cr_expect(eq(sz, t.hit_bytes, 2 * (23 * MIB + 256 * KIB)));
    cr_expect(eq(sz, t.served_bytes, 64 * MIB));
    cr_expect(eq(sz, t.allocated_peak, 16 * MIB));
    cr_expect(eq(sz, t.reserved_peak, 16 * MIB));
}

/* ---- text ---- */

Test(report, in_brief_is_two_lines_that_say_who_how_much_and_how_to_turn_it_off) {
    live_a_little(&pools[0]);
    const char *s = written(report_brief, report_of(1));
    cr_expect(eq(str, (char *)(uintptr_t)s,
                 "bigmalloc: python3 (pid 4711): 4 large requests for 31.2 MiB, 75.0 % of them "
                 "served by idle blocks\n"
                 "bigmalloc: at most 8 MiB in use and 8 MiB held; more: BIGMALLOC_STATS=text, "
                 "silence: BIGMALLOC_STATS=off\n"));
}

Test(report, in_brief_is_five_lines_at_most_on_any_day) {
    live_a_lot(&pools[0]);
    const char *s = written(report_brief, report_of(1));
    cr_expect(le(sz, lines_of(s), 5));
    cr_expect(le(sz, longest_line(s), SCREEN_COLUMNS));
    cr_expect(ends_its_line(s));
}

Test(report, as_text_of_a_process_without_requests_says_so) {
    cr_expect(eq(str, (char *)(uintptr_t)written(report_text, report_of(1)),
                 "bigmalloc: python3 (pid 4711)\n  no large requests\n"));
}

Test(report, as_text_fits_on_one_screen) {
    live_a_lot(&pools[0]);
    const char *s = written(report_text, report_of(1));
    cr_expect(le(sz, lines_of(s), SCREEN_LINES), "%s", s);
    cr_expect(le(sz, longest_line(s), SCREEN_COLUMNS), "%s", s);
    cr_expect(ends_its_line(s));
}

static void have_every_figure(struct pool *p) {
#define GAUGE(name, doc) gauge_add(&p->own.stats.name, 1);
#define COUNTER(name, doc) stats_add(&p->own.stats.name, 1);
#define BYTES(name, doc) COUNTER(name, doc)
#include "pool/stats.def"
#undef GAUGE
#undef COUNTER
#undef BYTES
}

Test(report, as_text_leaves_out_what_did_not_happen) {
    live_a_little(&pools[0]);
    cr_expect(not(contains(written(report_text, report_of(1)), "failures  ")));
}

Test(report, as_text_names_every_figure_of_the_table) {
    live_a_little(&pools[0]);
    have_every_figure(&pools[0]);
    const char *s = written(report_text, report_of(1));
#define GAUGE(name, doc) cr_expect(contains(s, "\n  " #name " "));
#define COUNTER(name, doc) cr_expect(contains(s, "\n  " #name " ") && contains(s, doc "\n"));
#define BYTES(name, doc) COUNTER(name, doc)
#include "pool/stats.def"
#undef GAUGE
#undef COUNTER
#undef BYTES
    cr_expect(contains(s, "fake 3"));
}

Test(report, as_text_tells_the_sums_of_the_requests) {
    live_a_little(&pools[0]);
    const char *s = written(report_text, report_of(1));
    cr_expect(contains(s, "  4 large requests for 31.2 MiB, 75.0 % of them served by idle blocks "
                          "(74.4 % of the bytes)\n"),
              "%s", s);
    cr_expect(contains(s, "  3 hits, 1 misses, 0 failures; asked for 97.6 % of what was handed "
                          "out\n"),
              "%s", s);
}

/* The column where `word` begins in the line that contains `line`; SIZE_MAX: nowhere. */
static size_t column_of(const char *s, const char *line, const char *word) {
    const char *l = strstr(s, line);
    while (l != NULL && l > s && l[-1] != '\n') {
        l--;
    }
    const char *w = l != NULL ? strstr(l, word) : NULL;
    return w != NULL && (size_t)(w - l) < strcspn(l, "\n") ? (size_t)(w - l) : SIZE_MAX;
}

Test(report, as_text_has_its_figures_below_their_headings) {
    live_a_little(&pools[0]);
    const char *s = written(report_text, report_of(1));
    cr_expect(eq(sz, column_of(s, "current", "current"), column_of(s, "allocated_bytes", "8 MiB")));
    size_t end_of_hits = column_of(s, "misses  ", "hits") + strlen("hits");
    cr_expect(eq(sz, column_of(s, "  8 MiB              3", "3") + 1, end_of_hits), "%s", s);
}

Test(report, as_text_puts_the_busiest_classes_first_and_leaves_out_the_idle) {
    (void)miss(&pools[0], 1 * MIB);
    live_a_little(&pools[0]);
    (void)miss(&pools[0], 16 * MIB);
    const char *s = written(report_text, report_of(1));
    const char *busiest = strstr(s, "of the busiest classes\n  8 MiB ");
    cr_assert(not(eq(ptr, (void *)(uintptr_t)busiest, NULL)), "%s", s);
    cr_expect(contains(busiest, "\n  1 MiB "));
    cr_expect(contains(strstr(busiest, "\n  1 MiB "), "\n  16 MiB "), "equals by their size");
    cr_expect(not(contains(busiest, "\n  2 MiB ")));
    cr_expect(eq(sz, lines_of(busiest), 4), "each of the three once");
}

/* ---- JSON ---- */

Test(report, as_json_is_json_also_of_an_empty_process) {
    cr_expect(json_is_valid(written(report_json, report_of(0))), "%s", text);
    cr_expect(json_is_valid(written(report_json, report_of(1))), "%s", text);
    cr_expect(json_is_valid(written(report_json, report_of(2))), "%s", text);
}

Test(report, as_json_is_json_on_any_day) {
    live_a_lot(&pools[0]);
    live_a_little(&pools[1]);
    cr_expect(json_is_valid(written(report_json, report_of(2))), "%s", text);
}

Test(report, as_json_names_its_schema_and_every_figure_of_the_table) {
    live_a_little(&pools[0]);
    const char *s = written(report_json, report_of(1));
    cr_expect(contains(s, "\"schema\": \"bigmalloc-stats/1\""));
    cr_expect(contains(s, "\"command\": \"python3\""));
    cr_expect(eq(sz, json_number(s, "pid"), 4711));
#define GAUGE(name, doc) cr_expect(contains(s, "\"" #name "\": {\"current\": "));
#define COUNTER(name, doc) cr_expect(contains(s, "\"" #name "\": "));
#define BYTES(name, doc) COUNTER(name, doc)
#include "pool/stats.def"
#undef GAUGE
#undef COUNTER
#undef BYTES
}

Test(report, as_json_tells_which_process_it_is_of_and_when) {
    const char *s = written(report_json, report_of(1));
    cr_expect(contains(s, "\"host\": \"node\\\"7\", \"rank\": 3, \"start_ticks\": 815, "
                          "\"boot_id\": \"0b00\", \"time_unix_us\": 1700000000000000,"),
              "%s", s);
    identity.rank = IDENTITY_NO_RANK;
    cr_expect(contains(written(report_json, report_of(1)), "\"rank\": null, "), "%s", text);
    cr_expect(json_is_valid(text));
}

Test(report, as_json_tells_the_totals_and_the_classes_that_were_used) {
    live_a_little(&pools[0]);
    const char *s = written(report_json, report_of(1));
    cr_expect(eq(sz, json_number(s, "requests"), 4));
    cr_expect(eq(sz, json_number(s, "hits"), 3));
    cr_expect(eq(sz, json_number(s, "misses"), 1));
    cr_expect(eq(sz, json_number(s, "failures"), 0));
    cr_expect(contains(s, "\"hit_ratio\": 0.7500"));
    cr_expect(contains(s, "\"reuse_ratio\": 0.7440"));
    cr_expect(contains(s, "\"allocation_efficiency\": 0.9765"));
    cr_expect(eq(sz, json_number(s, "missed_bytes"), 8 * MIB));
    cr_expect(contains(s, "\"classes\": [\n    {\"size\": 8388608, \"hits\": 3, \"misses\": 1, "
                          "\"idle\": 0, \"live\": 1}]"));
}

Test(report, as_json_escapes_what_a_program_calls_itself) {
    struct report r = report_of(1);
    r.identity = &(struct identity){.command = "a\"b\\c\n\x01\x1f"};
    const char *s = written(report_json, r);
    cr_expect(json_is_valid(s), "%s", s);
    cr_expect(contains(s, "\"a\\\"b\\\\c\\u000a\\u0001\\u001f\""), "%s", s);
}

Test(report, as_json_is_ascii_also_where_a_name_was_cut_inside_a_character) {
    struct report r = report_of(1);
    r.identity = &(struct identity){.command = "caf\xc3\xa9 \xe2\x82"};
    const char *s = written(report_json, r);
    cr_expect(json_is_valid(s), "%s", s);
    cr_expect(contains(s, "\"caf\\u00c3\\u00a9 \\u00e2\\u0082\""), "%s", s);
}

/* ---- memory that moves and goes back ---- */

static struct report report_of_much_recycling(void) {
    struct stats *s = &pools[0].own.stats;
    struct block *b = miss(&pools[0], 12 * MIB);
    (void)miss(&pools[0], 4 * MIB);
    cr_assert(pool_release(&pools[0], b, 1));
    s->recycled_blocks = 11;
    s->recycled_bytes = 22 * MIB;
    s->moves = 13;
    s->released_blocks = 14;
    s->released_bytes = (1 + 2 + 3 + 4 + 5 + 6 + 7 + 8 + 9) * MIB;
    s->aged_bytes = 1 * MIB;
    s->capped_bytes = 2 * MIB;
    s->pressed_bytes = 3 * MIB;
    s->refused_bytes = 4 * MIB;
    s->trimmed_bytes = 5 * MIB;
    s->outgrown_bytes = 6 * MIB;
    s->altered_bytes = 7 * MIB;
    s->exchanged_bytes = 8 * MIB;
    s->stuck_bytes = 9 * MIB;
    s->pressure_events = 16;
    s->emergencies = 17;
    s->miss_us = 18;
    fake.backend.mappings = 19;
    return report_of(1);
}

Test(report, as_text_tells_what_moved_and_what_went_back_and_why) {
    static const char *const told[] = {
        "recycled_blocks     11          requests served",
        "recycled_bytes      22 MiB      bytes of those pages",
        "moves               13          times that",
        "released_blocks     14          blocks whose memory",
        "released_bytes      45 MiB      bytes that went back",
        "aged_bytes          1 MiB       idle for too long",
        "capped_bytes        2 MiB       more idle",
        "pressed_bytes       3 MiB       memory was short",
        "refused_bytes       4 MiB       the system refused",
        "trimmed_bytes       5 MiB       the program asked",
        "outgrown_bytes      6 MiB       left behind by realloc",
        "altered_bytes       7 MiB       of mappings",
        "exchanged_bytes     8 MiB       exchanged for zero pages",
        "stuck_bytes         9 MiB       asked of an idle block",
        "pressure_events     16          times that memory was found short",
        "emergencies         17          times that it was so short",
        "miss_us             18          microseconds",
        "idle_bytes          12 MiB      that idle blocks hold; fragmentation: 75.0 % of what is "
        "held\n",
        "mappings            19          of the process"};
    const char *s = written(report_text, report_of_much_recycling());
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        cr_expect(contains(s, told[i]), "%s in:\n%s", told[i], s);
    }
}

Test(report, as_json_tells_what_moved_and_what_went_back_and_why) {
    static const char *const told[] = {"\"recycled_blocks\": 11,",
                                       "\"recycled_bytes\": 23068672,",
                                       "\"moves\": 13,",
                                       "\"released_blocks\": 14,",
                                       "\"released_bytes\": 47185920,",
                                       "\"aged_bytes\": 1048576,",
                                       "\"capped_bytes\": 2097152,",
                                       "\"pressed_bytes\": 3145728,",
                                       "\"refused_bytes\": 4194304,",
                                       "\"trimmed_bytes\": 5242880,",
                                       "\"outgrown_bytes\": 6291456,",
                                       "\"altered_bytes\": 7340032,",
                                       "\"exchanged_bytes\": 8388608,",
                                       "\"stuck_bytes\": 9437184,",
                                       "\"pressure_events\": 16,",
                                       "\"emergencies\": 17,",
                                       "\"miss_us\": 18,",
                                       "\"idle_bytes\": 12582912,",
                                       "\"fragmentation\": 0.7500,",
                                       "\"mappings\": 19,"};
    const char *s = written(report_json, report_of_much_recycling());
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        cr_expect(contains(s, told[i]), "%s in:\n%s", told[i], s);
    }
}

/* ---- nodes ---- */

/* Two of them, of which the second has a quarter of the bytes that it should have. */
static struct report report_of_nodes(void) {
    placement = (struct placement){.pools = 2,
                                   .note = "",
                                   .mode = NUMA_LOCAL,
                                   .has_nodes = true,
                                   .homes = {{.binding.kind = BINDING_PREFERRED}}};
    residence = (struct residence){
        .measured_by = "move_pages",
        .local_bytes = 12 * MIB,
        .misplaced_bytes = 4 * MIB,
        .count = 2,
        .nodes = {{.id = 0, .live = 8 * MIB, .idle = 4 * MIB}, {.id = 3, .live = 4 * MIB}}};
    live_a_little(&pools[0]);
    pool_add(&pools[0], &pools[0].own.stats.remote_hits, 1);
    return report_of(2);
}

Test(report, as_json_tells_what_lies_on_which_node) {
    const char *s = written(report_json, report_of_nodes());
    cr_expect(json_is_valid(s), "%s", s);
    cr_expect(contains(s,
                       "\"numa\": {\"mode\": \"local\", \"placement\": \"preferred\", "
                       "\"note\": \"\", \"local_request_ratio\": 0.7500, "
                       "\"measured_by\": \"move_pages\", \"local_bytes\": 12582912, "
                       "\"misplaced_bytes\": 4194304, "
                       "\"nodes\": [{\"id\": 0, \"live_bytes\": 8388608, \"idle_bytes\": 4194304}, "
                       "{\"id\": 3, \"live_bytes\": 4194304, \"idle_bytes\": 0}]}"),
              "%s", s);
}

Test(report, as_text_tells_what_lies_on_which_node) {
    const char *s = written(report_text, report_of_nodes());
    cr_expect(contains(s,
                       "  nodes: local, preferred; 75.0 % of the requests and 75.0 % of the bytes "
                       "are local\n"),
              "%s", s);
    cr_expect(contains(s, "  node    live        idle        by move_pages\n"
                          "  0       8 MiB       4 MiB\n"
                          "  3       4 MiB       0 B\n"),
              "%s", s);
}

Test(report, of_one_node_says_nothing_of_nodes_as_text) {
    live_a_little(&pools[0]);
    cr_expect(not(contains(written(report_text, report_of(1)), "node")));
}

Test(report, tells_why_memory_does_not_lie_as_planned) {
    struct report r = report_of_nodes();
    r.bind_error = EPERM;
    cr_expect(contains(written(report_text, r), "local, first touch (EPERM);"));
    cr_expect(
        contains(written(report_json, r), "\"placement\": \"first touch\", \"note\": \"EPERM\""));
    r.bind_error = 0;
    placement.note = "not installed";
    cr_expect(contains(written(report_text, r), "local, preferred (not installed);"));
}

/* ---- all of them ---- */

static void expect_quiet(void (*how)(struct writer *, const struct report *)) {
    char room[16];
    struct writer w = {.fd = 1000, .text = room, .size = sizeof room}; /* not open */
    struct report r = report_of(2);
    errno = 44;
    how(&w, &r);
    writer_flush(&w);
    cr_expect(eq(int, errno, 44));
}

Test(report, that_nobody_reads_preserves_errno) {
    live_a_little(&pools[0]);
    expect_quiet(report_brief);
    expect_quiet(report_text);
    expect_quiet(report_json);
    expect_quiet(report_prom);
}

Test(report, needs_no_lock_so_that_a_signal_handler_may_write_it) {
    live_a_little(&pools[0]);
    lock_acquire(&pools[0].lock);
    cr_expect(contains(written(report_text, report_of(1)), "4 large requests"));
    cr_expect(json_is_valid(written(report_json, report_of(1))));
    lock_release(&pools[0].lock);
}
