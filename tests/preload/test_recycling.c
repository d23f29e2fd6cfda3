/*
 * test_recycling.c - blocks lend each other their pages, and nobody is the worse for it.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "tests/preload/child.h"

/* ---- registered memory ---- */

static void expect_no_change_unheard_of(const char *option) {
    struct outcome o = child_run(
        (struct child){.arguments = {"registered_memory_changes_only_before_a_witness"},
                       .environment = {"BIGMALLOC_STATS=json", "BIGMALLOC_DECAY_MS=30", option},
                       .preload = "lib_witness.so"});
    skip_if_forbidden(
        &o); /* the frames of one's pages: /proc/self/pagemap tells those with CAP_SYS_ADMIN */
    expect_success(&o);
    cr_assert(gt(sz, fact(&o, "changes"), 500), "or nothing was put to the test");
    cr_assert(gt(sz, figure(&o, "pools.moves"), 100));
}

Test(recycling, changes_no_registered_memory_unheard_of) {
    expect_no_change_unheard_of(NULL);
}

Test(recycling, changes_no_registered_memory_unheard_of_on_small_pages) {
    expect_no_change_unheard_of("BIGMALLOC_THP=off");
}

/* ---- resident memory ---- */

static struct outcome run_shuffled(const char *live_mib, const char *option) {
    struct outcome o =
        child_run((struct child){.arguments = {"tell_peaks_of_shuffled_sizes", live_mib},
                                 .environment = {"BIGMALLOC_STATS=json", option}});
    expect_success(&o);
    return o;
}

Test(recycling, keeps_resident_memory_at_the_peak_of_what_is_live) {
    static const char *const live_mib[] = {"100", "300", "600"};
    for (int i = 0; i < 3; i++) {
        struct outcome o = run_shuffled(live_mib[i], NULL);
        size_t live = fact(&o, "live");
        cr_assert(le(sz, fact(&o, "resident"), live + live / 10 + 8 * MIB));
        cr_assert(gt(sz, figure(&o, "pools.moves"), 100));
    }
}

Test(recycling, may_be_off) {
    struct outcome o = run_shuffled("300", "BIGMALLOC_RECYCLE=off");
    cr_assert(eq(sz, figure(&o, "pools.moves"), 0));
    cr_assert(eq(sz, figure(&o, "pools.recycled_blocks"), 0));
    cr_assert(eq(sz, figure(&o, "pools.recycled_bytes"), 0));
    cr_assert(gt(sz, fact(&o, "resident"), fact(&o, "live")));
}

/* ---- where the kernel does not move, or not these pages ---- */

Test(recycling, gives_way_where_mremap_is_refused) {
    static const char *const errors[] = {"ENOSYS", "EPERM", "EINVAL", "ENOMEM", "EFAULT", "EAGAIN"};
    static const char *const behaviours[] = {"four_threads_keep_their_contents",
                                             "calloc_is_zero_in_lent_pages",
                                             "realloc_keeps_contents_in_any_order"};
    for (int i = 0; i < 6; i++) {
        for (int k = 0; k < 3; k++) {
            struct outcome o = child_run(
                (struct child){.arguments = {"where_system_calls_are_refused", "mremap", errors[i],
                                             behaviours[k], k == 0 ? "500" : NULL}});
            cr_assert(eq(int, o.status, 0), "%s, %s: %s", errors[i], behaviours[k], o.err);
        }
    }
}

static void expect_no_harm(const char *behaviour, const char *quirk) {
    struct outcome o = child_run(
        (struct child){.arguments = {behaviour, quirk}, .environment = {"BIGMALLOC_STATS=json"}});
    skip_if_forbidden(&o);
    cr_assert(eq(int, o.status, 0), "%s: %s", quirk, o.err);
    cr_assert(eq(sz, figure(&o, "pools.lost_blocks"), 0), "%s", quirk);
}

Test(recycling, takes_blocks_that_were_locked_and_advised) {
    expect_no_harm("a_quirk_of_a_former_owner_does_no_harm", "lock");
    expect_no_harm("a_quirk_of_a_former_owner_does_no_harm", "dontfork");
    expect_no_harm("a_quirk_of_a_former_owner_does_no_harm", "wipeonfork");
    expect_no_harm("a_quirk_of_a_former_owner_does_no_harm", "nohugepage");
    expect_no_harm("a_quirk_of_a_former_owner_does_no_harm", "protect");
    expect_no_harm("a_quirk_of_a_former_owner_does_no_harm", "key");
}

Test(recycling, takes_blocks_with_guard_pages) {
    expect_no_harm("a_quirk_of_a_former_owner_does_no_harm", "guard");
}

Test(recycling, makes_blocks_whole_again) {
    static const char *const quirks[] = {"lock", "dontfork", "wipeonfork", "nohugepage",
                                         "key",  "random",   "sequential"};
    for (size_t i = 0; i < sizeof quirks / sizeof *quirks; i++) {
        expect_no_harm("a_quirk_of_a_former_owner_leaves_no_mappings", quirks[i]);
    }
}

Test(recycling, makes_blocks_whole_again_that_were_bound_to_a_node) {
    expect_no_harm("a_quirk_of_a_former_owner_leaves_no_mappings", "bind");
}

/* ---- realloc ---- */

Test(resizing, a_shrunk_block_gives_up_the_rest) {
    struct outcome o = child_run((struct child){.arguments = {"a_shrunk_block_gives_up_the_rest"},
                                                .environment = {"BIGMALLOC_STATS=json"}});
    expect_success(&o);
    cr_assert(lt(sz, fact(&o, "faults"), 50), "its pages are taken as they are");
}

Test(resizing, gives_up_the_rest_where_nothing_is_lent) {
    struct outcome o = child_run((struct child){.arguments = {"a_shrunk_block_gives_up_the_rest"},
                                                .environment = {"BIGMALLOC_RECYCLE=off"}});
    expect_success(&o);
}

Test(recycling, leaves_children_what_is_their_parents) {
    expect_no_harm("a_quirk_of_a_former_owner_does_not_reach_children", "lock");
    expect_no_harm("a_quirk_of_a_former_owner_does_not_reach_children", "wipeonfork");
    expect_no_harm("a_quirk_of_a_former_owner_does_not_reach_children", "nohugepage");
    expect_no_harm("a_quirk_of_a_former_owner_does_not_reach_children", "protect");
    expect_no_harm("a_quirk_of_a_former_owner_does_not_reach_children", "dontfork");
}

/* A refused move may leave nothing at its destination: the block is lost. Not again and again. */
Test(recycling, loses_few_blocks_where_mremap_is_refused) {
    static const char *const errors[] = {"ENOSYS", "EPERM", "EINVAL", "ENOMEM", "EFAULT", "EAGAIN"};
    for (int i = 0; i < 6; i++) {
        struct outcome o = child_run(
            (struct child){.arguments = {"where_system_calls_are_refused", "mremap", errors[i],
                                         "tell_peaks_of_shuffled_sizes", "300"},
                           .environment = {"BIGMALLOC_STATS=json"}});
        expect_success(&o);
        cr_assert(lt(sz, figure(&o, "pools.lost_blocks"), 100), "%s", errors[i]);
    }
}
