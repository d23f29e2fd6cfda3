/*
 * test_forks.c - what a fork costs, and what the child says of itself; the rest is in subject.def.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <glob.h>
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

/* ---- the helper ---- */

static void expect_success_with(const char *behaviour, const char *option) {
    struct outcome o = child_run(
        (struct child){.arguments = {behaviour},
                       .environment = {option, "MALLOC_CONF=dirty_decay_ms:300,muzzy_decay_ms:0"}});
    expect_success(&o);
}

Test(forks, leave_one_thread_in_parent_and_child) {
    expect_success_with("forks_leave_one_thread", NULL);
    expect_success_with("forks_amid_idle_memory_leave_one_thread", "BIGMALLOC_DECAY_MS=2");
}

Test(forks, leave_a_child_without_a_helper_until_it_has_work_for_one) {
    expect_success_with("a_child_starts_a_helper_of_its_own", "BIGMALLOC_DECAY_MS=300");
}

Test(forks, do_not_keep_memory_from_going_back) {
    expect_success_with("memory_goes_back_after_many_forks", "BIGMALLOC_DECAY_MS=300");
}

/* Python 3.12 warns of a fork with several threads, and this program takes warnings as errors. It has to
 * see the helper before each, or else it proves nothing. */
static const char FORKING_PYTHON[] =
    "import os\n"
    "def threads():\n"
    "    return int(open('/proc/self/stat').read().rpartition(')')[2].split()[17])\n"
    "for i in range(20):\n"
    "    array = bytearray(64 << 20)\n"
    "    del array\n"
    "    assert threads() == 2\n"
    "    pid = os.fork()\n"
    "    if pid == 0:\n"
    "        os._exit(0)\n"
    "    assert threads() == 1\n"
    "    assert os.waitpid(pid, 0)[1] == 0\n"
    "print('forked=20')\n";

static bool warns_of_forks(const char *python) {
    struct outcome o = child_run(
        (struct child){.program = python,
                       .arguments = {"-c", "import sys; sys.exit(sys.version_info < (3, 12))"},
                       .bare = true});
    return o.status == 0;
}

/* In PATH, or among the versions that pyenv keeps; NULL: there is none. */
static const char *python_that_warns(void) {
    static const char *const names[] = {"python3", "python3.12", "python3.13", "python3.14"};
    for (int i = 0; i < 4; i++) {
        if (warns_of_forks(names[i])) {
            return names[i];
        }
    }
    glob_t found;
    if (glob("~/.pyenv/versions/3.1[2-9]*/bin/python3", GLOB_TILDE, NULL, &found) == 0 &&
        warns_of_forks(found.gl_pathv[0])) {
        return found.gl_pathv[0];
    }
    return NULL;
}

Test(forks, make_no_python_warn_of_threads) {
    const char *python = python_that_warns();
    if (python == NULL) {
        cr_skip_test("there is no Python from 3.12 up, which warns of a fork with several threads");
    }
    struct outcome o = child_run(
        (struct child){.program = python, .arguments = {"-W", "error", "-c", FORKING_PYTHON}});
    expect_success(&o);
    cr_assert(eq(sz, fact(&o, "forked"), 20));
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

/* ---- what else is for processes of one thread ---- */

Test(namespaces, can_be_new_while_memory_is_idle) {
    struct outcome o = subject_run("a_new_user_namespace_amid_idle_memory");
    skip_if_forbidden(&o);
    expect_success(&o);
}

Test(namespaces, can_be_joined_while_memory_is_idle) {
    struct outcome o = subject_run("an_old_namespace_amid_idle_memory");
    skip_if_forbidden(&o);
    expect_success(&o);
}
