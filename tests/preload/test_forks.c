/*
 * test_forks.c - what a fork costs, and what the child says of itself; the rest is in subject.def.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "tests/preload/child.h"

Test(forks, idle_memory_is_not_inherited) {
    struct outcome o = subject_run("idle_memory_is_not_inherited");
    expect_success(&o);
    cr_assert(lt(sz, fact(&o, "child"), 32 * MIB));
    cr_assert(gt(sz, fact(&o, "parent"), 256 * MIB));
}

/* On small pages, where each page that was shared with the child would be a fault. */
Test(forks, the_first_step_after_a_fork_takes_no_faults) {
    struct outcome o =
        child_run((struct child){.arguments = {"the_first_step_after_a_fork_takes_no_faults"},
                                 .environment = {"BIGMALLOC_THP=off"}});
    expect_success(&o);
}

Test(forks, handlers_of_other_libraries_may_allocate) {
    static const char *const behaviours[] = {
        "a_child_has_the_blocks_of_its_parent", "a_grandchild_has_what_its_parent_wrote",
        "fork_without_a_large_request", "children_of_children_go_on"};
    for (int i = 0; i < 4; i++) {
        struct outcome o =
            child_run((struct child){.arguments = {behaviours[i]}, .preload = "lib_atfork.so"});
        expect_success(&o);
    }
}

Test(forks, handlers_of_other_libraries_may_allocate_among_busy_threads) {
    struct outcome o = child_run(
        (struct child){.arguments = {"two_threads_fork_at_once"}, .preload = "lib_atfork.so"});
    expect_success(&o);
}

/* ---- figures ---- */

Test(forks, a_child_is_silent_unless_asked) {
    struct outcome o = subject_run("a_forked_child_works_much");
    expect_success(&o);
    cr_assert(eq(str, o.err, ""));
}

/* The parent was served 20 blocks of 16 MiB; the child, which did nothing, was served none. */
Test(forks, a_child_counts_from_nothing) {
    struct outcome o = child_run((struct child){.arguments = {"a_forked_child_does_nothing"},
                                                .environment = {"BIGMALLOC_STATS=json"}});
    expect_success(&o);
    cr_assert(eq(sz, count(o.err, "\"schema\""), 1), "%s", o.err);
    cr_assert(eq(sz, figure(&o, "totals.requests"), 20));
}

Test(forks, a_child_reports_what_it_did_itself) {
    struct outcome o = child_run((struct child){.arguments = {"a_forked_child_works_much"},
                                                .environment = {"BIGMALLOC_STATS=json"}});
    expect_success(&o);
    cr_assert(eq(sz, count(o.err, "\"schema\""), 1), "%s", o.err);
    cr_assert(eq(sz, figure(&o, "totals.requests"), 20));
    cr_assert(eq(sz, figure(&o, "totals.misses"), 1));
}
