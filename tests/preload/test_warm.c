/*
 * test_warm.c - BIGMALLOC_PROFILE: the first step of the second run is like its other steps, judged by the
 * page faults that the kernel counts.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/preload/child.h"

static char *folder;
static char *file;

static void start(void) {
    folder = new_folder();
    file = format("%s/profile", folder);
}

static void stop(void) {
    remove_folder(folder);
}

TestSuite(warm, .init = start, .fini = stop);

/* With huge pages off, a page fault is a page: 140 MiB are 35840. */
static struct outcome run(const char *behaviour, const char *option, const char *another) {
    struct outcome o = child_run((struct child){
        .arguments = {behaviour},
        .environment = {format("BIGMALLOC_PROFILE=%s", file), "BIGMALLOC_STATS=json",
                        "BIGMALLOC_THP=off", format("BIGMALLOC_STATS_FILE=%s/stats", folder),
                        option, another}});
    expect_success(&o);
    return o;
}

static struct outcome run_at_once(const char *option) {
    return run("tell_the_faults_of_the_first_step", "BIGMALLOC_HELPER=off", option);
}

static size_t of_the_pool(const char *name) {
    return number_at(file_text(format("%s/stats", folder)), format("pools.%s", name));
}

/* ---- what it is for ---- */

Test(warm, the_first_step_of_the_second_run_takes_no_page_faults_and_no_misses) {
    struct outcome o = run_at_once(NULL);
    cr_assert(gt(sz, fact(&o, "first"), 35000));
    cr_assert(lt(sz, fact(&o, "second"), 10));
    cr_assert(eq(str, o.err, ""));
    cr_assert(eq(sz, number_at(file_text(format("%s/stats", folder)), "totals.misses"), 8));
    o = run_at_once(NULL);
    cr_assert(lt(sz, fact(&o, "first"), 100));
    cr_assert(eq(str, o.err, ""));
    cr_assert(eq(sz, number_at(file_text(format("%s/stats", folder)), "totals.misses"), 0));
    cr_assert(eq(sz, of_the_pool("capped_bytes"), 0));
}

Test(warm, memory_comes_in_the_background) {
    (void)run_at_once(NULL);
    struct outcome o = run("tell_the_faults_once_memory_is_there", NULL, NULL);
    cr_assert(eq(sz, fact(&o, "warm"), 1));
    cr_assert(lt(sz, fact(&o, "first"), 100));
}

Test(warm, runs_that_are_alike_leave_the_same_profile) {
    (void)run_at_once(NULL);
    (void)run_at_once(NULL);
    char *second = file_text(file);
    for (int i = 0; i < 3; i++) {
        (void)run_at_once(NULL);
        cr_assert(eq(str, file_text(file), second));
    }
}

Test(warm, a_run_that_needs_less_leaves_a_smaller_profile) {
    (void)run_at_once(NULL);
    size_t lines_before = lines(file_text(file));
    struct outcome o = child_run((struct child){
        .arguments = {"use_sizes", "98304"},
        .environment = {format("BIGMALLOC_PROFILE=%s", file), "BIGMALLOC_HELPER=off"}});
    expect_success(&o);
    cr_assert(lt(sz, lines(file_text(file)), lines_before), "%s", file_text(file));
    cr_assert(eq(sz, count(file_text(file), "\nhost 0 100663296\n"), 1), "%s", file_text(file));
}

/* ---- how much ---- */

Test(warm, no_more_comes_than_may_be_idle) {
    (void)run_at_once(NULL);
    struct outcome o = run_at_once("BIGMALLOC_CACHE_MAX=32m");
    cr_assert(lt(sz, fact(&o, "beforehand"), 48 * MIB));
    cr_assert(le(sz, of_the_pool("prefaulted_bytes"), 32 * MIB));
    cr_assert(gt(sz, of_the_pool("prefaulted_bytes"), 24 * MIB));
}

Test(warm, nothing_comes_while_memory_is_short) {
    (void)run_at_once(NULL);
    (void)run_at_once("BIGMALLOC_PRESSURE=1%,1%");
    cr_assert(eq(sz, of_the_pool("prefaulted_bytes"), 0));
}

Test(warm, a_profile_of_more_than_there_is_stays_within_what_there_is) {
    write_file(file,
               "bigmalloc-profile 2 subject\nhost 0 140737488355328\n140737488355328 9\nend\n");
    struct outcome o = run_at_once("BIGMALLOC_CACHE_MAX=72m");
    cr_assert(eq(str, o.err, ""));
    cr_assert(eq(sz, of_the_pool("prefaulted_bytes"), 72 * MIB));
}

/* ---- whose it is ---- */

Test(warm, a_profile_of_another_program_is_not_used) {
    write_file(file, "bigmalloc-profile 2 python3\nhost 0 67108864\n8388608 8\nend\n");
    struct outcome o = run_at_once(NULL);
    cr_assert(eq(str, o.err, ""));
    cr_assert(eq(sz, of_the_pool("prefaulted_bytes"), 0));
    cr_assert(eq(sz, count(file_text(file), "bigmalloc-profile 2 subject\n"), 1));
}

Test(warm, a_program_that_needs_little_writes_none) {
    struct outcome o = child_run((struct child){
        .arguments = {"use_sizes", "49152"},
        .environment = {format("BIGMALLOC_PROFILE=%s", file), "BIGMALLOC_STATS=off"}});
    expect_success(&o);
    cr_assert(eq(ptr, file_text(file), NULL));
}

Test(warm, a_forked_child_leaves_its_parents_profile_alone) {
    (void)run("fork_before_the_end", NULL, NULL);
    struct outcome o =
        child_run((struct child){.program = "ls", .arguments = {folder}, .bare = true});
    cr_assert(eq(sz, count(o.out, "profile"), 1), "%s", o.out);
    cr_assert(eq(sz, lines(file_text(file)), 3 + 7), "%s", file_text(file));
}

Test(warm, runs_at_the_same_time_leave_one_whole_profile) {
    struct outcome o = child_run((struct child){
        .program = "sh",
        .arguments = {"-c",
                      "for i in 1 2 3 4; do \"$0\" tell_the_faults_of_the_first_step & done; wait",
                      subject_path("subject")},
        .environment = {format("BIGMALLOC_PROFILE=%s", file), "BIGMALLOC_STATS=off"}});
    expect_success(&o);
    cr_assert(eq(str, o.err, ""));
    cr_assert(eq(sz, count(o.out, "first="), 4));
    o = child_run((struct child){.program = "ls", .arguments = {folder}, .bare = true});
    cr_assert(eq(str, o.out, "profile\n"));
    o = run_at_once(NULL);
    cr_assert(lt(sz, fact(&o, "first"), 100));
}

/* ---- what is none ---- */

Test(warm, a_file_that_is_no_profile_is_told_of_once_and_left_as_it_is) {
    static const char thesis[] = "It was a dark and stormy night.\n";
    write_file(file, thesis);
    struct outcome o = run_at_once(NULL);
    cr_assert(eq(str, o.err,
                 format("bigmalloc: BIGMALLOC_PROFILE: %s is no profile of this version, "
                        "ignored\n",
                        file)));
    cr_assert(eq(str, file_text(file), (char *)thesis));
}

Test(warm, a_profile_of_another_version_is_told_of_and_written_anew) {
    static const char *const others[] = {
        "bigmalloc-profile 1 subject\npeak 67108864\nhost 0 8388608 8\nend\n",
        "bigmalloc-profile 99 subject\nand what they will be like then\n"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        write_file(file, others[i]);
        struct outcome o = run_at_once(NULL);
        cr_assert(eq(sz, lines(o.err), 1), "%s", o.err);
        cr_assert(eq(sz, count(file_text(file), "bigmalloc-profile 2 subject\n"), 1));
    }
}

Test(warm, a_fifo_does_not_keep_a_program_waiting) {
    cr_assert(eq(int, mkfifo(file, 0600), 0));
    struct outcome o = child_run((struct child){
        .arguments = {"use_sizes", "2048"},
        .environment = {format("BIGMALLOC_PROFILE=%s", file), "BIGMALLOC_STATS=off"}});
    expect_success(&o);
    cr_assert(eq(str, o.err, ""));
}

Test(warm, a_folder_that_is_not_there_is_told_of) {
    file = format("%s/no/profile", folder);
    struct outcome o = run_at_once(NULL);
    cr_assert(eq(str, o.err, format("bigmalloc: BIGMALLOC_PROFILE: cannot write %s\n", file)));
}
