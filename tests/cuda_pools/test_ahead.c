/*
 * test_ahead.c - BIGMALLOC_PROFILE on devices: what the last run needed is there before the first request, made by
 * another thread, and takes nothing from anybody.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "tests/preload/child.h"

#define GPU(number) "GPU-7374616e-642d-696e-0000-00000000000" number

static char *folder;
static char *file;

static void start(void) {
    folder = new_folder();
    file = format("%s/profile", folder);
}

static void stop(void) {
    remove_folder(folder);
}

TestSuite(ahead, .init = start, .fini = stop);

/* Of the subject, with one pool: its place, the bytes live in it at once, and lines. */
static void put_pool(const char *place, size_t peak, const char *lines) {
    write_file(file, format("bigmalloc-profile 2 subject\n%s %zu\n%send\n", place, peak, lines));
}

struct setting {
    const char *argument;
    const char *one;
    const char *another;
};

static struct outcome run(const char *behaviour, struct setting s) {
    struct outcome o = child_run(
        (struct child){.arguments = {behaviour, s.argument},
                       .environment = {format("LD_LIBRARY_PATH=%s", subject_path("../fake")),
                                       format("BIGMALLOC_PROFILE=%s", file),
                                       format("BIGMALLOC_STATS_FILE=%s/stats", folder),
                                       "BIGMALLOC_STATS=json", s.one, s.another}});
    expect_success(&o);
    cr_expect(eq(str, o.err, ""));
    return o;
}

static const struct setting none;

/* ---- what it is for ---- */

Test(ahead, the_second_run_asks_the_driver_for_nothing_itself) {
    struct outcome o = run("need_memory", none);
    cr_expect(eq(sz, fact(&o, "own"), 7));
    size_t used = fact(&o, "used");
    o = run("need_memory_once_it_is_there", none);
    cr_expect(eq(sz, fact(&o, "own"), 0));
    cr_expect(eq(sz, fact(&o, "helpers"), 7));
    cr_expect(eq(sz, fact(&o, "used"), used), "and it holds no more than the first");
}

Test(ahead, without_a_helper_it_is_made_with_the_context) {
    (void)run("need_memory", none);
    struct outcome o =
        run("need_memory_once_it_is_there", (struct setting){.one = "BIGMALLOC_HELPER=off"});
    cr_expect(eq(sz, fact(&o, "helpers"), 0));
    cr_expect(eq(sz, fact(&o, "own"), 7), "all of them before the first request");
}

Test(ahead, a_profile_is_the_same_after_each_run) {
    (void)run("need_memory", none);
    char *first = file_text(file);
    cr_expect(
        eq(sz, count(first, "\ndevice " GPU("0") " 340787200\n1048576 1\n8388608 3\n314572800 1\n"),
           1),
        "%s", first);
    cr_expect(eq(sz, count(first, "\npinned " GPU("0") " 4194304\n4194304 1\n"), 1), "%s", first);
    cr_expect(eq(sz, count(first, "\npinned " GPU("0") "/4 4194304\n4194304 1\n"), 1), "%s", first);
    (void)run("need_memory_once_it_is_there", none);
    cr_expect(eq(str, file_text(file), first));
}

Test(ahead, statistics_tell_what_was_made) {
    (void)run("need_memory", none);
    (void)run("need_memory_once_it_is_there", none);
    const char *text = file_text(format("%s/stats", folder));
    const char *device = strstr(text, "{\"kind\": \"device\"");
    cr_assert(device != NULL, "%s", text);
    cr_expect(eq(sz, number_at(device, "prefaulted_bytes"), 325 * MIB));
    cr_expect(eq(sz, number_at(text, "totals.hits"), 7));
    cr_expect(eq(sz, number_at(text, "totals.misses"), 0));
}

/* ---- whose it is ---- */

Test(ahead, a_device_is_known_by_its_uuid_whatever_its_number) {
    put_pool("device " GPU("1"), 16 * MIB, "8388608 2\n");
    (void)run("wait_for_memory", (struct setting){.argument = "0", .one = "FAKE_CUDA_DEVICES=2"});
    put_pool("device " GPU("0"), 16 * MIB, "8388608 2\n");
    (void)run("wait_for_memory", (struct setting){.argument = "16", .one = "FAKE_CUDA_DEVICES=2"});
}

Test(ahead, a_pool_that_is_switched_off_gets_nothing) {
    put_pool("device " GPU("0"), 16 * MIB, "8388608 2\n");
    (void)run("wait_for_memory", (struct setting){.argument = "0", .one = "BIGMALLOC_DEVICE=off"});
}

Test(ahead, a_second_context_has_a_part_of_its_own) {
    write_file(file, "bigmalloc-profile 2 subject\ndevice " GPU(
                         "0") " 8388608\n8388608 1\n"
                              "device " GPU("0") " 16777216\n16777216 1\nend\n");
    (void)run("a_second_context_gets_its_own_part", none);
}

/* ---- how much ---- */

Test(ahead, no_more_comes_than_was_live_at_once) {
    put_pool("device " GPU("0"), 32 * MIB, "8388608 1000\n");
    (void)run("wait_for_memory", (struct setting){.argument = "32"});
}

Test(ahead, a_quarter_of_the_device_stays_free) {
    put_pool("device " GPU("0"), 1 * GIB, "8388608 4294967295\n");
    (void)run("wait_for_memory", (struct setting){.argument = "768",
                                                  .one = "FAKE_CUDA_MEMORY=1g",
                                                  .another = "BIGMALLOC_DEVICE_CACHE_MAX=100%"});
}

Test(ahead, no_more_comes_than_may_be_idle) {
    put_pool("device " GPU("0"), 1 * GIB, "8388608 100\n");
    (void)run("wait_for_memory",
              (struct setting){.argument = "40", .one = "BIGMALLOC_DEVICE_CACHE_MAX=44m"});
}

Test(ahead, nothing_comes_while_memory_of_the_host_is_short) {
    put_pool("device " GPU("0"), 1 * GIB, "8388608 100\n");
    (void)run("wait_for_memory",
              (struct setting){.argument = "0", .one = "BIGMALLOC_PRESSURE=1%,1%"});
}

Test(ahead, a_refusal_ends_it_and_is_no_ones_error) {
    put_pool("device " GPU("0"), 1 * GIB, "8388608 100\n");
    (void)run("wait_for_memory",
              (struct setting){.argument = "16", .one = "FAKE_CUDA_FAIL=cuMemAlloc_v2:3:2"});
}

Test(ahead, what_nobody_asks_for_goes_back) {
    put_pool("device " GPU("0"), 325 * MIB, "1048576 1\n8388608 3\n314572800 1\n");
    (void)run("ahead_goes_back_when_nobody_asks",
              (struct setting){.one = "BIGMALLOC_DECAY_MS=200"});
}

/* ---- when not ---- */

Test(ahead, a_capture_of_another_thread_survives_it) {
    (void)run("need_memory", none);
    (void)run("ahead_is_made_in_relaxed_mode", none);
}

Test(ahead, nothing_comes_during_a_capture) {
    write_file(file, "bigmalloc-profile 2 subject\ndevice " GPU(
                         "0") " 8388608\n8388608 1\n"
                              "device " GPU("0") " 16777216\n16777216 1\nend\n");
    (void)run("nothing_is_made_during_a_capture", none);
}

Test(ahead, a_capture_ends_it) {
    put_pool("device " GPU("0"), 4 * GIB, "8388608 500\n");
    (void)run("a_capture_stops_it", (struct setting){.one = "FAKE_CUDA_ALLOC_US=5000"});
}

Test(ahead, a_child_gets_nothing) {
    put_pool("device " GPU("0"), 1 * GIB, "8388608 100\n");
    (void)run("a_child_has_nothing_made", none);
}

Test(ahead, a_reset_of_the_device_ends_it) {
    put_pool("device " GPU("0"), 1 * GIB, "8388608 100\n");
    (void)run("a_reset_ends_it", (struct setting){.one = "FAKE_CUDA_ALLOC_US=10000"});
}

Test(ahead, contexts_come_and_go_while_it_is_made) {
    char *text = format("bigmalloc-profile 2 subject\n");
    for (int i = 0; i < 60; i++) {
        text = format("%sdevice %s 67108864\n1048576 64\n", text, GPU("0"));
    }
    write_file(file, format("%send\n", text));
    (void)run("contexts_come_and_go_beside_two_threads", none);
    write_file(file, format("%send\n", text));
    (void)run("contexts_of_four_threads_come_and_go", none);
}

/* The driver is told nothing after the process has begun to end, be it at once. */
Test(ahead, the_end_of_the_process_is_its_end) {
    put_pool("device " GPU("0"), 4 * GIB, "8388608 500\n");
    static const char *const sleeps_ms[] = {"0", "10"};
    for (size_t i = 0; i < sizeof sleeps_ms / sizeof *sleeps_ms; i++) {
        struct outcome o =
            run("end_while_it_is_made",
                (struct setting){.argument = sleeps_ms[i], .one = "FAKE_CUDA_ALLOC_US=2000"});
        cr_expect(eq(sz, fact(&o, "over"), 1));
    }
}
