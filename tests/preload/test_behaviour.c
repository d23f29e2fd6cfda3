/*
 * test_behaviour.c - the behaviours of subject.def that need no more than the subject's own word:
 * as it is with libc's malloc, so it is with ours.
 */
#include <criterion/criterion.h>

#include "tests/preload/child.h"

static void expect_success_bare(const char *behaviour) {
    struct outcome o = child_run((struct child){.arguments = {behaviour}, .bare = true});
    expect_success(&o);
}

static void expect_success_preloaded(const char *behaviour) {
    struct outcome o = subject_run(behaviour);
    expect_success(&o);
}

#define SUBJECT_SAME(group, name) \
    Test(group, name) { \
        expect_success_bare(#name); \
        expect_success_preloaded(#name); \
    }
#define SUBJECT_OURS(group, name) \
    Test(group, name) { \
        expect_success_preloaded(#name); \
    }
#define SUBJECT(name)
#include "tests/preload/subject.def"
#undef SUBJECT_SAME
#undef SUBJECT_OURS
#undef SUBJECT

/* ---- the same behaviours, where the library has been told to work otherwise ---- */

static void expect_success_with(const char *behaviour, const char *option) {
    struct outcome o = child_run((struct child){.arguments = {behaviour}, .environment = {option}});
    expect_success(&o);
}

Test(family, free_leaves_errno_when_nothing_may_stay_idle) {
    expect_success_with("free_leaves_errno", "BIGMALLOC_CACHE_MAX=0");
}

Test(family, success_leaves_errno_when_nothing_may_stay_idle) {
    expect_success_with("success_leaves_errno", "BIGMALLOC_CACHE_MAX=0");
}

Test(contents, realloc_keeps_contents_when_nothing_may_stay_idle) {
    expect_success_with("realloc_keeps_contents_in_any_order", "BIGMALLOC_CACHE_MAX=0");
}

Test(contents, calloc_is_zero_when_little_may_stay_idle) {
    expect_success_with("calloc_is_zero_in_every_size", "BIGMALLOC_CACHE_MAX=20m");
}

Test(contents, calloc_is_zero_with_a_low_threshold) {
    expect_success_with("calloc_is_zero_after_dirty_use", "BIGMALLOC_THRESHOLD=64k");
}

Test(contents, realloc_keeps_contents_with_a_low_threshold) {
    expect_success_with("realloc_keeps_contents_in_any_order", "BIGMALLOC_THRESHOLD=64k");
}

Test(contents, realloc_keeps_contents_with_a_high_threshold) {
    expect_success_with("realloc_keeps_contents_in_any_order", "BIGMALLOC_THRESHOLD=8m");
}

Test(contents, realloc_keeps_contents_without_pools) {
    expect_success_with("realloc_keeps_contents_in_any_order", "BIGMALLOC=off");
}

Test(contents, calloc_is_zero_on_huge_pages_everywhere) {
    expect_success_with("calloc_is_zero_in_every_size", "BIGMALLOC_THP=on");
}

Test(forks, a_grandchild_has_what_its_parent_wrote_when_little_may_stay_idle) {
    expect_success_with("a_grandchild_has_what_its_parent_wrote", "BIGMALLOC_CACHE_MAX=20m");
}

Test(family, all_of_the_usable_size_can_be_used_without_pools) {
    expect_success_with("all_of_the_usable_size_can_be_used", "BIGMALLOC=off");
}

/* ---- C++ ---- */

Test(cxx, every_new_and_delete_works) {
    struct outcome o = child_run((struct child){.program = subject_path("subject_cxx")});
    expect_success(&o);
}

Test(cxx, new_reaches_the_pools) {
    struct outcome o = child_run((struct child){.program = subject_path("subject_cxx"),
                                                .environment = {"BIGMALLOC_STATS=json"}});
    expect_success(&o);
    cr_assert(figure(&o, "totals.requests") > 300);
}
