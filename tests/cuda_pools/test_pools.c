/*
 * test_pools.c - device and pinned memory as programs on the stand-in driver see it: the behaviours
 * of subject.def, and what can only be judged from outside of the process.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/preload/child.h"

enum {
    SETTINGS = 3
};

/* With what the tests of a group run; the others with no setting at all. */
static const struct group {
    const char *name;
    const char *settings[SETTINGS];
} groups[] = {
    {"lower", {"BIGMALLOC_DEVICE_THRESHOLD=4k"}},
    {"off", {"BIGMALLOC_DEVICE=off", "BIGMALLOC_PINNED=off"}},
    {"all_off", {"BIGMALLOC=off"}},
    {"as_the_driver", {"BIGMALLOC_MEMINFO=driver"}},
    {"quarantine", {"BIGMALLOC_DEVICE_FREE=quarantine"}},
    {"quarantined_decay", {"BIGMALLOC_DEVICE_FREE=quarantine", "BIGMALLOC_DECAY_MS=200"}},
    {"decay", {"BIGMALLOC_DECAY_MS=200"}},
    {"no_helper", {"BIGMALLOC_HELPER=off", "BIGMALLOC_DECAY_MS=200"}},
    {"capped", {"BIGMALLOC_DEVICE_CACHE_MAX=16m"}},
    {"capped_by_share", {"BIGMALLOC_DEVICE_CACHE_MAX=2%", "FAKE_CUDA_MEMORY=1g"}},
    {"addresses_again", {"FAKE_CUDA_PROTECT=0"}},
    {"pinned_off", {"BIGMALLOC_PINNED=off"}},
    {"loaded_quarantine", {"BIGMALLOC_DEVICE_FREE=quarantine"}},
    {"loaded_decay", {"BIGMALLOC_DECAY_MS=1"}},
};

static char *driver_folder(const char *version) {
    return format("LD_LIBRARY_PATH=%s:%s", subject_path(format("../fake/%s", version)),
                  subject_path("../fake"));
}

static void add_settings(struct child *c, const char *group) {
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        if (strcmp(groups[i].name, group) == 0) {
            memcpy(&c->environment[1], groups[i].settings, sizeof groups[i].settings);
        }
    }
}

static void expect_success_on(const char *version, const char *group, const char *behaviour,
                              bool bare) {
    struct child c = {
        .arguments = {behaviour}, .environment = {driver_folder(version)}, .bare = bare};
    add_settings(&c, group);
    struct outcome o = child_run(c);
    expect_success(&o);
}

/* The timeline has the pools of device and pinned memory beside the host's. */
Test(timeline, has_the_peaks_and_the_requests_of_all_pools) {
    char *folder = new_folder();
    const char *trace = format("%s/trace", folder);
    const char *stats = format("%s/stats", folder);
    struct outcome o = child_run((struct child){
        .arguments = {"make_twenty_requests_of_each_kind"},
        .environment = {driver_folder(""), format("BIGMALLOC_TRACE=%s", trace),
                        "BIGMALLOC_TRACE_MS=0", "BIGMALLOC_TRACE_EVENTS=on", "BIGMALLOC_STATS=json",
                        format("BIGMALLOC_STATS_FILE=%s", stats)}});
    expect_success(&o);
    o = child_run(
        (struct child){.program = "python3",
                       .arguments = {"tests/preload/check_trace.py", trace, "--stats", stats},
                       .bare = true});
    expect_success(&o);
    cr_assert(ne(ptr, strstr(file_text(stats), "\"device\""), NULL));
    cr_assert(gt(sz, fact(&o, "samples"), 4));
    remove_folder(folder);
}

#define SUBJECT_SAME(group, name) \
    Test(group, name) { \
        expect_success_on(".", #group, #name, true); \
        expect_success_on(".", #group, #name, false); \
    }
#define SUBJECT_OURS(group, name) \
    Test(group, name) { \
        expect_success_on(".", #group, #name, false); \
    }
#define SUBJECT(name)
#include "tests/cuda_pools/subject.def"
#undef SUBJECT_SAME
#undef SUBJECT_OURS
#undef SUBJECT

/* ---- an older driver, without cuCtxGetId and the functions of CUDA 13 that take a context ---- */

Test(older_driver, serves_from_pools) {
    expect_success_on("11050", "reuse", "a_loop_of_many_sizes_asks_the_driver_once", false);
    expect_success_on("11050", "pinned", "a_loop_of_pinned_blocks_asks_the_driver_once", false);
}

Test(older_driver, waits_for_the_context_that_owns) {
    expect_success_on("11050", "waiting", "a_free_waits_for_the_context_that_owns", false);
    expect_success_on("11050", "waiting", "a_free_without_a_context_waits_too", false);
    expect_success_on("11050", "pinned", "every_context_is_waited_for", false);
}

Test(older_driver, forgets_contexts) {
    expect_success_on("11050", "contexts", "a_destroyed_context_is_forgotten", false);
    expect_success_on("11050", "contexts", "a_new_context_at_the_same_handle_gets_nothing", false);
}

/* ---- exit ---- */

/* The last line of the driver's log says what was called last in the process. */
static char *run_logged(const char *behaviour) {
    char *folder = new_folder();
    char *path = format("%s/log", folder);
    struct outcome o = child_run(
        (struct child){.arguments = {behaviour},
                       .environment = {driver_folder("."), format("FAKE_CUDA_LOG=%s", path)}});
    char *log = file_text(path);
    remove_folder(folder);
    expect_success(&o);
    cr_assert(log != NULL);
    return log;
}

static void expect_last_line(const char *log, const char *function) {
    const char *last = log;
    for (const char *line = log; line != NULL && line[1] != '\0'; line = strchr(line + 1, '\n')) {
        last = line;
    }
    cr_assert(strstr(last, function) != NULL, "%s is not the last of:\n%s", function, log);
}

Test(exits, a_late_free_is_the_drivers_and_the_last_call) {
    expect_last_line(run_logged("free_in_an_exit_handler"), " cuMemFree_v2(");
}

Test(exits, idle_blocks_are_left_to_the_driver) {
    const char *log = run_logged("end_with_idle_blocks");
    expect_last_line(log, " cuCtxGetFlags(");
    cr_assert(eq(sz, count(log, " cuMemFree_v2("), 0), "%s", log);
}

/* ---- statistics ---- */

/* From the pool of a kind on, in a report of all pools. */
static const char *pool_of(const char *json, const char *kind) {
    const char *pool = strstr(json, format("{\"kind\": \"%s\"", kind));
    cr_assert(pool != NULL, "no pool of kind %s in:\n%s", kind, json);
    const char *end = strstr(pool + 1, "{\"kind\": ");
    return end != NULL ? format("%.*s", (int)(end - pool), pool) : pool;
}

static struct outcome report_of(const char *behaviour, const char *way, const char *setting) {
    struct outcome o = child_run((struct child){
        .arguments = {behaviour},
        .environment = {driver_folder("."), format("BIGMALLOC_STATS=%s", way), setting}});
    expect_success(&o);
    return o;
}

static struct outcome report_in(const char *way) {
    return report_of("make_twenty_requests_of_each_kind", way, NULL);
}

Test(stats, tell_of_each_device) {
    struct outcome o = report_in("json");
    const char *pool = pool_of(o.err, "device");
    cr_expect(eq(sz, fact(&o, "device_allocations"), 1));
    cr_expect(eq(sz, number_at(pool, "hits"), 19), "%s", pool);
    cr_expect(eq(sz, number_at(pool, "misses"), 1), "%s", pool);
    cr_expect(eq(sz, number_at(pool, "requested_bytes.allocated"), 20 * 8 * MIB), "%s", pool);
    cr_expect(eq(sz, number_at(pool, "reserved_bytes.current"), 8 * MIB), "%s", pool);
    cr_expect(count(pool, "GPU-7374616e-642d-696e-0000-000000000000") == 1, "%s", pool);
    cr_expect(count(pool, "0000:01:00.0") == 1, "%s", pool);
}

/* A line of the text that begins so; the number at its end. */
static size_t sample(const char *text, const char *begin) {
    const char *line = strstr(text, format("\n%s ", begin));
    cr_assert(line != NULL, "no %s in:\n%s", begin, text);
    return strtoul(line + 1 + strlen(begin), NULL, 10);
}

Test(stats, tell_prometheus_of_devices_and_of_what_the_driver_was_called_for) {
    struct outcome o = report_of("make_requests_that_the_driver_serves", "prom", "RANK=3");
    const char *gpu = "{gpu=\"GPU-7374616e-642d-696e-0000-000000000000\"}";
    cr_expect(eq(sz, sample(o.err, format("bigmalloc_device_bytes%s", gpu)), 8 * GIB));
    cr_expect(
        eq(sz, sample(o.err, format("bigmalloc_device_free_bytes%s", gpu)), fact(&o, "free")));
    cr_expect(eq(sz, sample(o.err, "bigmalloc_cuda_small_requests_total{rank=\"3\"}"), 1));
    cr_expect(eq(sz, sample(o.err, "bigmalloc_cuda_small_bytes_total{rank=\"3\"}"), 512 * KIB));
    cr_expect(eq(sz, sample(o.err, "bigmalloc_cuda_beside_calls_total{rank=\"3\"}"), 1));
}

Test(stats, tell_of_pinned_memory) {
    struct outcome o = report_in("json");
    const char *pool = pool_of(o.err, "pinned");
    cr_expect(eq(sz, fact(&o, "pinned_allocations"), 1));
    cr_expect(eq(sz, number_at(pool, "hits"), 19), "%s", pool);
    cr_expect(eq(sz, number_at(pool, "misses"), 1), "%s", pool);
}

Test(stats, tell_of_as_many_waits_as_the_driver_saw) {
    struct outcome o = report_in("json");
    size_t told =
        number_at(pool_of(o.err, "device"), "waits") + number_at(pool_of(o.err, "pinned"), "waits");
    cr_assert(eq(sz, told, fact(&o, "waits")), "%s", o.err);
}

/* The driver's own log of the calls that succeeded, and of how long they took, is the witness. */
Test(stats, tell_what_became_of_each_block) {
    struct outcome o = report_of("make_requests_of_every_fate", "json", NULL);
    const char *pool = pool_of(o.err, "device");
    size_t freed = number_at(pool, "released_blocks") + number_at(pool, "surrendered");
    cr_expect(eq(sz, number_at(o.err, "totals.hits"), 2), "%s", o.err);
    cr_expect(eq(sz, number_at(o.err, "totals.misses"), fact(&o, "allocations")), "%s", o.err);
    cr_expect(eq(sz, freed, fact(&o, "frees")), "%s", pool);
    cr_expect(eq(sz, number_at(pool, "surrendered"), 1), "%s", pool);
    cr_expect(eq(sz, number_at(pool, "trimmed_bytes"), fact(&o, "trimmed")), "%s", pool);
    cr_expect(eq(sz, number_at(pool, "waits"), fact(&o, "waits")), "%s", pool);
    cr_expect(ge(sz, number_at(pool, "wait_us"), fact(&o, "wait_us")), "%s", pool);
    cr_expect(ge(sz, fact(&o, "wait_us"), 20000), "%s", o.out);
}

Test(stats, tell_why_the_driver_served_a_request) {
    struct outcome o = report_of("make_requests_that_the_driver_serves", "json", NULL);
    const char *pool = pool_of(o.err, "device");
    cr_expect(eq(sz, number_at(o.err, "process.cuda_small_requests"), 1), "%s", o.err);
    cr_expect(eq(sz, number_at(pool, "bypassed_captured"), 1), "%s", pool);
    cr_expect(eq(sz, number_at(o.err, "process.cuda_small_bytes"), 512 * KIB), "%s", o.err);
    cr_expect(eq(sz, number_at(pool, "bypassed_bytes"), 8 * MIB), "%s", pool);
    cr_expect(eq(sz, number_at(pool, "failures"), 1), "%s", pool);
    cr_expect(eq(sz, number_at(pool, "oom_retries"), 1), "%s", pool);
    cr_expect(eq(sz, number_at(o.err, "process.cuda_beside_calls"), 1), "%s", o.err);
}

/* Three of streams and their frees, three arrays, managed memory, and four for what is created and mapped. */
Test(stats, count_the_calls_for_memory_that_no_pool_holds) {
    struct outcome o = report_of("make_requests_beside_the_pools", "json", NULL);
    cr_expect(eq(sz, number_at(o.err, "process.cuda_beside_calls"), 3 * 2 + 3 + 1 + 4), "%s",
              o.err);
    cr_expect(eq(sz, number_at(pool_of(o.err, "device"), "misses"), 1), "one of its own: %s",
              o.err);
}

Test(stats, tell_which_contexts_keep_nothing) {
    struct outcome o =
        report_of("make_requests_of_contexts_that_keep_nothing", "json", "FAKE_CUDA_DEVICES=2");
    const char *first = pool_of(o.err, "device");
    cr_expect(eq(sz, number_at(first, "bypassed_shared"), 1), "%s", o.err);
    const char *second = pool_of(strstr(o.err, first) + strlen(first), "device");
    cr_expect(eq(sz, number_at(second, "bypassed_broken"), 1), "%s", o.err);
}

Test(stats, tell_what_the_device_has_left) {
    struct outcome o = report_of("make_requests_that_the_driver_serves", "json", NULL);
    const char *pool = pool_of(o.err, "device");
    cr_expect(eq(sz, number_at(pool, "device_free_bytes"), fact(&o, "free")), "%s", pool);
    cr_expect(eq(sz, number_at(pool, "device_bytes"), 8 * GIB), "as it was at first: %s", pool);
}

Test(stats, of_device_memory_are_the_bytes_that_the_driver_counts) {
    struct outcome o = report_of("tell_what_the_driver_counts", "json", "BIGMALLOC_HELPER=off");
    const char *pool = pool_of(o.err, "device");
    cr_expect(eq(sz, number_at(pool, "reserved_bytes.current"), fact(&o, "used")), "%s", pool);
    cr_expect(eq(sz, number_at(pool, "requested_bytes.current"), fact(&o, "asked")), "%s", pool);
    cr_expect(gt(sz, number_at(pool, "idle_bytes"), 0), "%s", pool);
}

Test(stats, name_a_part_of_a_device_as_such) {
    struct outcome o = report_of("make_twenty_requests_of_each_kind", "json", "FAKE_CUDA_MIG=1");
    cr_expect(eq(sz, count(o.err, "MIG-7374616e-642d-696e-0000-000000000000"), 2), "%s", o.err);
}

Test(stats, name_devices_in_the_text_too) {
    struct outcome o = report_in("text");
    cr_expect(eq(sz, count(o.err, "GPU-7374616e-642d-696e-0000-000000000000 0000:01:00.0"), 2),
              "%s", o.err);
    cr_expect(eq(sz, count(o.err, "8 GiB: live 0 B, cached 8 MiB, passed through 0 B; "), 1), "%s",
              o.err);
    cr_expect(eq(sz, count(o.err, "pool pinned"), 1), "%s", o.err);
    cr_expect(eq(sz, count(o.err, "calls that allocate and free device memory"), 1), "%s", o.err);
}

Test(stats, tell_in_the_text_what_was_passed_through) {
    struct outcome o = report_of("make_requests_that_the_driver_serves", "text", NULL);
    cr_expect(
        eq(sz, count(o.err, "passed through 8 MiB; when the driver was last asked free 60"), 1),
        "%s", o.err);
    cr_expect(eq(sz, count(o.err, "cuda_small_bytes    512 KiB "), 1), "%s", o.err);
}

Test(stats, of_a_program_without_cuda_name_no_device) {
    struct outcome o = child_run((struct child){.program = "/bin/sh",
                                                .arguments = {"-c", "true"},
                                                .environment = {"BIGMALLOC_STATS=always"}});
    expect_success(&o);
    cr_expect(eq(sz, count(o.err, "GPU"), 0), "%s", o.err);
}
