/*
 * test_giving_back.c - idle memory goes back by age, when asked for, and while the program does
 * nothing at all; the subject measures it on smaps.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <sys/stat.h>

#include "tests/preload/child.h"

/* jemalloc's small blocks would be a reason for the helper to stay: they age as fast here. */
#define SMALL_AGE "MALLOC_CONF=dirty_decay_ms:300,muzzy_decay_ms:0"

static struct outcome run_with(const char *behaviour, const char *option, const char *another) {
    struct outcome o = child_run((struct child){
        .arguments = {behaviour}, .environment = {"BIGMALLOC_STATS=json", option, another}});
    expect_success(&o);
    return o;
}

/* ---- by age ---- */

static void expect_return_after(const char *decay_ms) {
    struct outcome o =
        child_run((struct child){.arguments = {"idle_memory_goes_back_by_itself", decay_ms},
                                 .environment = {"BIGMALLOC_STATS=json", SMALL_AGE,
                                                 format("BIGMALLOC_DECAY_MS=%s", decay_ms)}});
    expect_success(&o);
    cr_assert(eq(sz, figure(&o, "pools.aged_bytes"), 400 * MIB));
    cr_assert(eq(sz, figure(&o, "pools.released_bytes"), 400 * MIB));
}

Test(giving_back, happens_while_the_program_is_idle) {
    expect_return_after("300");
    expect_return_after("1000");
}

Test(giving_back, never_happens_by_age_if_so_wanted) {
    struct outcome o =
        run_with("idle_memory_stays", "BIGMALLOC_DECAY_MS=-1", "BIGMALLOC_PRESSURE=off");
    cr_assert(eq(sz, figure(&o, "pools.released_bytes"), 0));
    cr_assert(eq(sz, fact(&o, "threads"), 1), "there is nothing to do for one");
    o = run_with("idle_memory_stays", "BIGMALLOC_DECAY_MS=-1", "BIGMALLOC_PRESSURE=99%,99%");
    cr_assert(eq(sz, figure(&o, "pools.released_bytes"), 0));
    cr_assert(eq(sz, fact(&o, "threads"), 2), "memory may become short");
}

Test(giving_back, happens_in_free_where_nothing_may_age) {
    struct outcome o = run_with("idle_memory_goes_back_in_free", "BIGMALLOC_DECAY_MS=0", NULL);
    cr_assert(eq(sz, figure(&o, "pools.released_bytes"), 400 * MIB));
}

Test(giving_back, waits_for_a_large_free_without_a_helper) {
    (void)run_with("a_later_large_free_gives_idle_memory_back", "BIGMALLOC_DECAY_MS=300",
                   "BIGMALLOC_HELPER=off");
}

/* The same where a thread is wanted, but there is none to be had. */
Test(giving_back, waits_for_a_large_free_where_threads_are_refused) {
    static const char *const errors[] = {"EAGAIN", "EPERM"};
    for (int i = 0; i < 2; i++) {
        struct outcome o = child_run(
            (struct child){.arguments = {"where_system_calls_are_refused", "threads", errors[i],
                                         "a_later_large_free_gives_idle_memory_back"},
                           .environment = {"BIGMALLOC_DECAY_MS=300"}});
        expect_success(&o);
    }
}

Test(threads, none_is_started_without_a_helper) {
    (void)run_with("a_large_free_starts_no_thread", "BIGMALLOC_HELPER=off", NULL);
}

Test(threads, the_helper_does_not_run_in_real_time) {
    struct outcome o = subject_run("the_helper_does_not_run_in_real_time");
    skip_if_forbidden(&o);
    expect_success(&o);
}

/* ---- asked for ---- */

Test(giving_back, happens_altogether_in_malloc_trim) {
    struct outcome o = run_with("malloc_trim_gives_all_back", NULL, NULL);
    cr_assert(gt(sz, fact(&o, "idle"), 330 * MIB));
    cr_assert(ge(sz, figure(&o, "pools.trimmed_bytes") + 8 * MIB, fact(&o, "idle")));
    cr_assert(eq(sz, figure(&o, "pools.reserved_bytes.current"), 0));
}

Test(giving_back, happens_when_systemd_says_so) {
    char *folder = new_folder();
    char *fifo = format("%s/pressure", folder);
    cr_assert(eq(int, mkfifo(fifo, 0600), 0));
    struct outcome o = child_run((struct child){
        .arguments = {"a_word_of_systemd_gives_all_back", fifo},
        .environment = {"BIGMALLOC_STATS=json", "BIGMALLOC_PRESSURE=99%,99%",
                        "BIGMALLOC_DECAY_MS=-1", format("MEMORY_PRESSURE_WATCH=%s", fifo)}});
    remove_folder(folder);
    expect_success(&o);
    cr_assert(eq(sz, figure(&o, "pools.pressed_bytes"), 400 * MIB));
    cr_assert(eq(sz, figure(&o, "pools.emergencies"), 1));
}

Test(giving_back, happens_when_the_preset_says_so) {
    struct outcome o = child_run((struct child){
        .arguments = {"idle_memory_goes_back_by_itself", "250"},
        .environment = {"BIGMALLOC_STATS=json", SMALL_AGE, "BIGMALLOC_PRESET=batch"}});
    expect_success(&o);
    cr_assert(eq(sz, figure(&o, "pools.aged_bytes"), 400 * MIB));
}

/* ---- beforehand ---- */

Test(prefault, makes_memory_resident_in_the_background) {
    (void)run_with("memory_is_there_beforehand", "BIGMALLOC_PREFAULT=64m",
                   "BIGMALLOC_DECAY_MS=300");
}

Test(prefault, makes_memory_resident_at_once_without_a_helper) {
    (void)run_with("memory_is_there_at_once", "BIGMALLOC_PREFAULT=64m", "BIGMALLOC_HELPER=off");
}

Test(prefault, makes_no_more_resident_than_may_be_idle) {
    struct outcome o =
        run_with("tell_memory_beforehand", "BIGMALLOC_PREFAULT=1g", "BIGMALLOC_CACHE_MAX=32m");
    cr_assert(lt(sz, fact(&o, "more"), 40 * MIB));
    cr_assert(gt(sz, fact(&o, "more"), 30 * MIB));
}

Test(prefault, outlives_the_decay_time) {
    (void)run_with("memory_beforehand_outlives_the_decay_time", "BIGMALLOC_PREFAULT=64m",
                   "BIGMALLOC_DECAY_MS=300");
}

Test(prefault, reaches_sizes_that_take_several_steps) {
    static const char *const helpers[] = {"BIGMALLOC_HELPER=off", "BIGMALLOC_HELPER=auto"};
    for (int i = 0; i < 2; i++) {
        struct outcome o =
            run_with("tell_memory_beforehand", "BIGMALLOC_PREFAULT=200m", helpers[i]);
        cr_assert(gt(sz, fact(&o, "more"), 195 * MIB));
        cr_assert(lt(sz, fact(&o, "more"), 216 * MIB));
    }
}

Test(prefault, ends_where_the_system_gives_no_more) {
    static const char *const helpers[] = {"BIGMALLOC_HELPER=off", "BIGMALLOC_HELPER=auto"};
    for (int i = 0; i < 2; i++) {
        struct outcome o = child_run((struct child){
            .arguments = {"tell_memory_beforehand"},
            .environment = {"BIGMALLOC_PREFAULT=1g", "BIGMALLOC_STATS=json", helpers[i]},
            .data_limit = 512 * MIB});
        expect_success(&o);
        cr_assert(lt(sz, fact(&o, "more"), 512 * MIB));
    }
}
