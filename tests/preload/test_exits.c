/*
 * test_exits.c - the last word of a process, however it ends: once, and with its own status.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>

#include "tests/preload/child.h"

static struct outcome run_with_text(const char *behaviour) {
    return child_run(
        (struct child){.arguments = {behaviour}, .environment = {"BIGMALLOC_STATS=text"}});
}

static void expect_end(const char *behaviour, int status, size_t dumps) {
    struct outcome o = run_with_text(behaviour);
    cr_assert(eq(int, o.status, status), "%s", o.err);
    cr_assert(eq(sz, count(o.err, "bigmalloc: subject (pid "), dumps), "%s", o.err);
}

Test(exits, by_return) {
    expect_end("end_by_return", 0, 1);
}

Test(exits, by_exit) {
    expect_end("end_by_exit", 7, 1);
}

Test(exits, by_underscore_exit) {
    expect_end("end_by_underscore_exit", 7, 1);
}

Test(exits, by_capital_exit) {
    expect_end("end_by_capital_exit", 7, 1);
}

Test(exits, by_quick_exit) {
    expect_end("end_by_quick_exit", 7, 1);
}

Test(exits, by_abort_without_a_word) {
    expect_end("end_by_abort", CHILD_SIGNALLED + SIGABRT, 0);
}

Test(exits, by_a_signal_without_a_word) {
    expect_end("end_by_a_signal", CHILD_SIGNALLED + SIGTERM, 0);
}

Test(exits, by_exit_in_a_thread) {
    expect_end("end_by_exit_in_a_thread", 7, 1);
}

Test(exits, by_the_last_pthread_exit) {
    expect_end("end_by_the_last_pthread_exit", 0, 1);
}

Test(exits, while_threads_are_busy) {
    for (int i = 0; i < 10; i++) {
        expect_end("end_while_threads_are_busy", 7, 1);
    }
}

Test(exits, with_handlers_that_allocate) {
    expect_end("end_with_handlers_that_allocate", 0, 1);
    expect_end("quick_exit_with_handlers_that_allocate", 0, 1);
}

Test(exits, with_a_destructor_that_frees) {
    expect_end("end_with_a_destructor_that_frees", 0, 1);
}

/* exec is no end; the next program speaks for itself, of one request. */
Test(exits, by_exec_only_the_next_program_speaks) {
    expect_end("end_by_exec", 0, 1);
    struct outcome o = run_with_text("end_by_exec");
    cr_assert(eq(sz, count(o.err, "  1 large requests for 8 MiB"), 1), "%s", o.err);
}

Test(exits, a_forked_child_speaks_for_itself) {
    expect_end("a_forked_child_ends_by_underscore_exit", 0, 2);
    expect_end("a_forked_child_ends_by_exit", 0, 2);
}

/* It runs in its parent's memory; the parent's own word is still to come. */
Test(exits, a_vfork_child_has_no_word) {
    struct outcome o = run_with_text("a_vfork_child_ends_by_underscore_exit");
    expect_success(&o);
    cr_assert(eq(sz, count(o.err, "bigmalloc: subject (pid "), 1), "%s", o.err);
    cr_assert(eq(sz, count(o.err, "  2 large requests for 16 MiB"), 1), "%s", o.err);
}

Test(exits, programs_that_are_started_make_no_noise) {
    struct outcome o = run_with_text("programs_can_be_started");
    expect_success(&o);
    cr_assert(eq(sz, count(o.err, "bigmalloc: "), 1), "%s", o.err);
}

Test(exits, with_nobody_to_read_the_last_word) {
    struct outcome o = child_run((struct child){
        .program = "sh",
        .arguments = {"-c", "\"$1\" end_by_exit 2>&-; test $? = 7", "sh", subject_path("subject")},
        .environment = {"BIGMALLOC_STATS=text"}});
    expect_success(&o);
}

/* The reader of a pipe who leaves early must not turn the end of a program into SIGPIPE. */
Test(exits, with_a_reader_who_has_left) {
    struct outcome o = child_run((struct child){
        .program = "bash",
        .arguments = {"-c", "\"$1\" end_by_exit 2> >(exec 0<&-; sleep 1) ; test $? = 7", "bash",
                      subject_path("subject")},
        .environment = {"BIGMALLOC_STATS=text"}});
    expect_success(&o);
}
