/*
 * test_errors.c - memory errors of the program: one line each, which names the address, the size
 * and the thread; then the end, or not.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>

#include "tests/preload/child.h"

static struct outcome run_reporting(const char *behaviour) {
    return child_run(
        (struct child){.arguments = {behaviour}, .environment = {"BIGMALLOC_ON_ERROR=report"}});
}

/* `pattern` has places for the pointer and the thread, which the subject announced. */
static void expect_line(const struct outcome *o, const char *before, const char *after) {
    char *line = format("bigmalloc: %s(%s)%s, thread %s (subject)\n", before, word(o, "pointer"),
                        after, word(o, "thread"));
    cr_assert(eq(str, o->err, line));
}

/* Reported by default too, and then the process is over. */
static void expect_error(const char *behaviour, const char *before, const char *after) {
    struct outcome o = run_reporting(behaviour);
    expect_success(&o);
    expect_line(&o, before, after);
    cr_assert(eq(str, (char *)word(&o, "survived"), "yes"));

    o = subject_run(behaviour);
    cr_assert(eq(int, o.status, CHILD_SIGNALLED + SIGABRT));
    expect_line(&o, before, after);
    cr_assert(eq(sz, count(o.out, "survived"), 0));
}

Test(errors, double_free_is_reported) {
    expect_error("double_free", "double free: free",
                 " of a block of 8388608 bytes that is free already");
}

Test(errors, free_inside_a_block_is_reported) {
    expect_error("free_inside_a_block", "invalid pointer: free",
                 ", 5000 bytes inside a block of 8388608 bytes");
}

Test(errors, free_inside_the_second_granule_of_a_block_is_reported) {
    expect_error("free_inside_the_second_granule_of_a_block", "invalid pointer: free",
                 ", 2097152 bytes inside a block of 8388608 bytes");
}

Test(errors, free_inside_a_freed_block_is_reported) {
    expect_error("free_inside_a_freed_block", "invalid pointer: free",
                 ", 16 bytes inside a block of 8388608 bytes");
}

Test(errors, free_where_no_block_ever_was_is_reported) {
    expect_error("free_where_no_block_ever_was", "invalid pointer: free",
                 ", where no block ever was");
}

Test(errors, realloc_of_a_freed_block_is_reported) {
    expect_error("realloc_of_a_freed_block", "double free: realloc",
                 " of a block of 8388608 bytes that is free already");
}

Test(errors, realloc_inside_a_block_is_reported) {
    expect_error("realloc_inside_a_block", "invalid pointer: realloc",
                 ", 64 bytes inside a block of 8388608 bytes");
}

Test(errors, usable_size_of_a_freed_block_is_reported) {
    expect_error("usable_size_of_a_freed_block", "double free: malloc_usable_size",
                 " of a block of 8388608 bytes that is free already");
}

Test(errors, the_thread_is_the_one_that_did_it) {
    struct outcome o = run_reporting("double_free_in_a_thread");
    expect_success(&o);
    cr_assert(eq(str, o.err,
                 format("bigmalloc: double free: free(%s) of a block of 8388608 bytes that is free "
                        "already, thread %s (worker)\n",
                        word(&o, "pointer"), word(&o, "thread"))));
}

Test(errors, of_eight_threads_that_free_a_block_seven_are_told) {
    struct outcome o = run_reporting("eight_threads_free_one_block");
    expect_success(&o);
    cr_assert(eq(sz, lines(o.err), 7));
    cr_assert(eq(sz, count(o.err, "bigmalloc: double free: free("), 7));
}

Test(errors, the_pool_is_not_harmed) {
    struct outcome o = run_reporting("errors_do_not_harm_the_pool");
    expect_success(&o);
    cr_assert(eq(sz, lines(o.err), 1));
}

Test(errors, are_found_in_a_drained_block_too) {
    struct outcome o = child_run(
        (struct child){.arguments = {"double_free"},
                       .environment = {"BIGMALLOC_ON_ERROR=report", "BIGMALLOC_CACHE_MAX=0"}});
    expect_success(&o);
    expect_line(&o, "double free: free", " of a block of 8388608 bytes that is free already");
}
