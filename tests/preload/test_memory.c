/*
 * test_memory.c - limits, refusals, the cache, mappings: what the system sees of the library.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/preload/child.h"

static size_t system_number(const char *path) {
    char *text = file_text(path);
    return text != NULL ? strtoull(text, NULL, 10) : 0;
}

/* ---- alignment: who serves it ---- */

static size_t requests_for_alignment(const char *alignment) {
    struct outcome o = child_run((struct child){.arguments = {"use_aligned", alignment},
                                                .environment = {"BIGMALLOC_STATS=json"}});
    expect_success(&o);
    return count(o.err, "\"requests\": 1,");
}

Test(alignment, up_to_2_mib_comes_from_the_pool) {
    cr_assert(eq(sz, requests_for_alignment("64"), 1));
    cr_assert(eq(sz, requests_for_alignment("4096"), 1));
    cr_assert(eq(sz, requests_for_alignment("2097152"), 1));
}

Test(alignment, beyond_2_mib_comes_from_jemalloc) {
    cr_assert(eq(sz, requests_for_alignment("4194304"), 0));
    cr_assert(eq(sz, requests_for_alignment("1073741824"), 0));
}

/* ---- the cache ---- */

static struct outcome run_with_cache(const char *behaviour, const char *cache_max) {
    struct outcome o = child_run((struct child){
        .arguments = {behaviour},
        .environment = {format("BIGMALLOC_CACHE_MAX=%s", cache_max), "BIGMALLOC_STATS=json"}});
    expect_success(&o);
    return o;
}

Test(cache, keeps_what_was_freed_together) {
    struct outcome o = subject_run("free_four_hundred_mib");
    cr_assert(gt(sz, fact(&o, "after"), 400 * MIB));
}

Test(cache, keeps_no_more_than_it_may) {
    struct outcome o = run_with_cache("free_four_hundred_mib", "64m");
    cr_assert(gt(sz, fact(&o, "before"), 400 * MIB));
    cr_assert(lt(sz, fact(&o, "after"), 64 * MIB + 16 * MIB));
    cr_assert(eq(sz, figure(&o, "pools.reserved_bytes.current"), 64 * MIB));
    cr_assert(eq(sz, figure(&o, "pools.released_bytes"), 336 * MIB));
    cr_assert(eq(sz, figure(&o, "pools.capped_bytes"), 336 * MIB));
    cr_assert(eq(sz, figure(&o, "pools.released_blocks"), 8), "and a part of the ninth");
}

Test(cache, of_no_bytes_keeps_nothing) {
    struct outcome o = run_with_cache("free_four_hundred_mib", "0");
    cr_assert(lt(sz, fact(&o, "after"), 16 * MIB));
    cr_assert(eq(sz, figure(&o, "totals.hits"), 0));
}

Test(cache, may_be_a_share_of_the_memory) {
    struct outcome o = run_with_cache("free_four_hundred_mib", "0%");
    cr_assert(lt(sz, fact(&o, "after"), 16 * MIB));
    o = run_with_cache("free_four_hundred_mib", "70%");
    cr_assert(gt(sz, fact(&o, "after"), 400 * MIB));
}

Test(cache, gives_the_oldest_block_back_first) {
    static const char *const sizes[][2] = {{"40", "40"}, {"40", "48"}, {"48", "40"}};
    for (int i = 0; i < 3; i++) {
        struct outcome o = child_run((struct child){
            .arguments = {"the_oldest_idle_block_goes_first", sizes[i][0], sizes[i][1]},
            .environment = {"BIGMALLOC_CACHE_MAX=64m"}});
        expect_success(&o);
    }
}

/* ---- refused ---- */

Test(refused, is_what_the_kernel_refuses_libc) {
    if (system_number("/proc/sys/vm/overcommit_memory") == 1) {
        cr_skip_test("vm.overcommit_memory is 1: the kernel refuses nothing");
    }
    struct outcome o =
        child_run((struct child){.arguments = {"four_times_the_memory_is_refused"}, .bare = true});
    expect_success(&o);
    o = child_run((struct child){.arguments = {"four_times_the_memory_is_refused"},
                                 .environment = {"BIGMALLOC_STATS=json"}});
    expect_success(&o);
    cr_assert(eq(sz, figure(&o, "totals.failures"), 5));
    cr_assert(eq(sz, figure(&o, "totals.requests"), 7));
}

Test(refused, memory_comes_again_after_idle_blocks_went_back) {
    struct outcome o =
        child_run((struct child){.arguments = {"idle_blocks_make_room_for_another_size"},
                                 .environment = {"BIGMALLOC_STATS=json"},
                                 .data_limit = 512 * MIB});
    expect_success(&o);
    cr_assert(eq(sz, figure(&o, "totals.oom_retries"), 1));
    cr_assert(eq(sz, figure(&o, "totals.failures"), 0));
}

/* Takes all that the limit allows in blocks of so many KiB. */
static size_t taken_under(struct child c, const char *kib) {
    c.arguments[0] = "take_everything";
    c.arguments[1] = kib;
    struct outcome o = child_run(c);
    expect_success(&o);
    return fact(&o, "taken");
}

Test(refused, everything_under_a_limit_of_data_can_be_had) {
    struct child c = {.data_limit = 512 * MIB};
    cr_assert(gt(sz, taken_under(c, "8192"), 450 * MIB));
    cr_assert(gt(sz, taken_under(c, "100"), 400 * MIB));
}

Test(refused, most_under_a_limit_of_512_mib_of_addresses_can_be_had) {
    struct child c = {.address_limit = 512 * MIB};
    cr_assert(gt(sz, taken_under(c, "8192"), 400 * MIB));
    cr_assert(gt(sz, taken_under(c, "100"), 350 * MIB));
    cr_assert(gt(sz, taken_under(c, "1500"), 350 * MIB));
}

Test(refused, most_under_a_limit_of_1_gib_of_addresses_can_be_had) {
    struct child c = {.address_limit = GIB};
    cr_assert(gt(sz, taken_under(c, "8192"), 850 * MIB));
    cr_assert(gt(sz, taken_under(c, "65536"), 700 * MIB));
}

static size_t addresses_under(size_t limit, bool bare) {
    struct outcome o = child_run(
        (struct child){.arguments = {"tell_addresses"}, .address_limit = limit, .bare = bare});
    expect_success(&o);
    return fact(&o, "addresses");
}

/* 8 MiB stand for what the library's own file takes. */
Test(refused, reservations_take_an_eighth_of_the_addresses_at_most) {
    cr_assert(le(sz, addresses_under(512 * MIB, false),
                 addresses_under(512 * MIB, true) + 64 * MIB + 8 * MIB));
    cr_assert(
        le(sz, addresses_under(GIB, false), addresses_under(GIB, true) + 128 * MIB + 8 * MIB));
}

Test(refused, a_limit_set_later_leaves_room) {
    struct outcome o = subject_run("a_limit_set_later_leaves_room");
    expect_success(&o);
}

/* A few MiB of addresses, as a login shell or a test harness may set: programs start and work. */
Test(refused, programs_run_under_narrow_limits) {
    for (size_t limit = 32 * MIB; limit <= 256 * MIB; limit *= 2) {
        struct outcome o = child_run(
            (struct child){.arguments = {"use_sizes", "1", "100", "2048"}, .address_limit = limit});
        expect_success(&o);
    }
}

Test(refused, threads_without_memory_are_refused_it) {
    struct outcome o = child_run((struct child){
        .arguments = {"threads_without_memory_are_refused_it"}, .data_limit = 128 * MIB});
    expect_success(&o);
}

/* ---- mappings ---- */

Test(mappings, a_hundred_thousand_blocks_leave_mappings) {
    if (system_number("/proc/sys/vm/overcommit_memory") == 2) {
        cr_skip_test("vm.overcommit_memory is 2: the kernel does not promise 250 GB");
    }
    struct outcome o = subject_run("a_hundred_thousand_blocks_leave_mappings");
    expect_success(&o);
    cr_assert(lt(sz, fact(&o, "mappings"), 40 * 1000));
    cr_assert(lt(sz, fact(&o, "mappings_after"), 40 * 1000));
    cr_assert(lt(sz, fact(&o, "resident_after"), 100 * MIB));
}

static const char *flags_with(const char *option) {
    struct outcome o =
        child_run((struct child){.arguments = {"tell_flags_of_a_block"}, .environment = {option}});
    expect_success(&o);
    return word(&o, "flags");
}

/* hg and nh are MADV_HUGEPAGE and MADV_NOHUGEPAGE in smaps; proc(5). */
Test(mappings, huge_pages_are_asked_for_as_the_user_wants) {
    if (file_text("/sys/kernel/mm/transparent_hugepage/enabled") == NULL) {
        cr_skip_test("the kernel has no transparent huge pages");
    }
    cr_assert(eq(sz, count(flags_with("BIGMALLOC_THP=auto"), "hg "), 1));
    cr_assert(eq(sz, count(flags_with("BIGMALLOC_THP=on"), "hg "), 1));
    cr_assert(eq(sz, count(flags_with("BIGMALLOC_THP=off"), "nh "), 1));
    cr_assert(eq(sz, count(flags_with("BIGMALLOC_THP=off"), "hg "), 0));
}

/* ---- a program of small requests ---- */

/* jemalloc's range takes 4 TiB of addresses, the arena of the pools another 16. */
Test(small_programs, have_no_arena_no_thread_and_nothing_to_say) {
    struct outcome o = subject_run("tell_figures_of_a_small_program");
    expect_success(&o);
    cr_assert(eq(str, o.err, ""));
    cr_assert(eq(sz, fact(&o, "threads"), 1));
    cr_assert(lt(sz, fact(&o, "addresses"), 5 * 1024 * GIB));
    o = subject_run("tell_addresses");
    cr_assert(gt(sz, fact(&o, "addresses"), 8 * 1024 * GIB), "a large request makes the arena");
}

/* jemalloc has no thread to give back what has aged; large requests are the occasion. */
Test(small_programs, give_memory_back_by_and_by) {
    struct outcome o = child_run(
        (struct child){.arguments = {"small_memory_goes_back_by_and_by"},
                       .environment = {"MALLOC_CONF=dirty_decay_ms:100,muzzy_decay_ms:0"}});
    expect_success(&o);
    cr_assert(gt(sz, fact(&o, "used"), 90 * MIB));
    cr_assert(lt(sz, fact(&o, "later"), 20 * MIB));
}

Test(small_programs, have_a_thread_of_jemalloc_if_it_is_asked_for) {
    struct outcome o =
        child_run((struct child){.arguments = {"tell_figures_of_a_small_program"},
                                 .environment = {"MALLOC_CONF=background_thread:true"}});
    expect_success(&o);
    cr_assert(ge(sz, fact(&o, "threads"), 2));
}

/* ---- a sandbox ---- */

Test(sandbox, without_advice_the_library_works) {
    static const char *const behaviours[] = {"free_leaves_errno",
                                             "success_leaves_errno",
                                             "calloc_is_zero_in_a_child",
                                             "a_grandchild_has_what_its_parent_wrote",
                                             "two_threads_fork_at_once",
                                             "calloc_is_zero_in_a_very_large_block",
                                             "take_everything"};
    for (size_t i = 0; i < sizeof behaviours / sizeof *behaviours; i++) {
        struct child c = {.arguments = {"in_a_sandbox", behaviours[i], "65536"},
                          .data_limit = 2 * GIB};
        struct outcome kept = child_run(c);
        expect_success(&kept);
        c.environment[0] = "BIGMALLOC_CACHE_MAX=0";
        struct outcome given_back = child_run(c);
        expect_success(&given_back);
    }
}

/* ---- introspection ---- */

Test(introspection, malloc_info_writes_xml) {
    struct outcome o = subject_run("malloc_info_writes_to_its_stream");
    expect_success(&o);
    cr_assert(eq(sz, count(o.out, "type=\"mmap\" count=\"1\" size=\"50331648\""), 1), "%s", o.out);
    o = child_run((struct child){
        .program = "python3",
        .arguments = {"-c", "import sys, xml.dom.minidom as x; x.parseString(sys.argv[1])", o.out},
        .bare = true});
    expect_success(&o);
}

Test(introspection, malloc_stats_writes_to_stderr) {
    struct outcome o = subject_run("malloc_stats_writes_to_stderr");
    expect_success(&o);
    cr_assert(eq(str, o.out, ""));
    cr_assert(eq(sz, count(o.err, "bigmalloc: subject (pid "), 1));
    cr_assert(eq(sz, count(o.err, "1 large requests for 48 MiB"), 1), "%s", o.err);
    cr_assert(eq(sz, count(o.err, "jemalloc: "), 1), "%s", o.err);
}

/* ---- BIGMALLOC_FILL ---- */

static struct outcome filled_with(const char *option, const char *behaviour, const char *byte) {
    struct outcome o =
        child_run((struct child){.arguments = {behaviour, byte}, .environment = {option}});
    return o;
}

Test(memory, new_blocks_are_poisoned_where_that_was_asked_for) {
    struct outcome o = filled_with("BIGMALLOC_FILL=poison", "new_blocks_are_filled", "d5");
    expect_success(&o);
}

Test(memory, new_blocks_are_zero_where_that_was_asked_for) {
    struct outcome o = filled_with("BIGMALLOC_FILL=zero", "new_blocks_are_filled", "0");
    expect_success(&o);
}

Test(memory, new_blocks_are_as_they_come_otherwise) {
    struct outcome o = filled_with("BIGMALLOC_FILL=none", "new_blocks_are_filled", "3c");
    cr_assert(eq(int, o.status, 1), "what is fresh is zero");
}

Test(memory, a_fresh_block_is_zero_and_stays_untouched) {
    static const char behaviour[] = "tell_what_is_resident_of_a_new_block";
    struct outcome o = filled_with("BIGMALLOC_FILL=none", behaviour, NULL);
    cr_assert(lt(sz, fact(&o, "resident"), 2 * MIB));
    o = filled_with("BIGMALLOC_FILL=zero", behaviour, NULL);
    cr_assert(lt(sz, fact(&o, "resident"), 2 * MIB));
    o = filled_with("BIGMALLOC_FILL=poison", behaviour, NULL);
    cr_assert(ge(sz, fact(&o, "resident"), 256 * MIB));
}
