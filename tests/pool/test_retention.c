#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "pool/retention.h"

static struct retention allowing(size_t cache_max, size_t memory_limit) {
    return (struct retention){.cache_max = cache_max, .memory_limit = memory_limit};
}

static size_t idle_max(size_t cache_max, size_t memory_limit, size_t live) {
    struct retention r = allowing(cache_max, memory_limit);
    return retention_idle_max(&r, live);
}

Test(retention, allows_what_the_option_says_while_there_is_room) {
    cr_expect(eq(sz, idle_max(80, 1000, 0), 80));
    cr_expect(eq(sz, idle_max(80, 1000, 820), 80));
    cr_expect(eq(sz, idle_max(0, 1000, 0), 0));
    cr_expect(eq(sz, idle_max(SIZE_MAX, SIZE_MAX, 0), SIZE_MAX - SIZE_MAX / 10));
}

Test(retention, leaves_a_tenth_of_the_limit_to_others) {
    cr_expect(eq(sz, idle_max(SIZE_MAX, 1000, 0), 900));
    cr_expect(eq(sz, idle_max(80, 1000, 821), 79));
    cr_expect(eq(sz, idle_max(SIZE_MAX, 1000, 899), 1));
}

Test(retention, allows_nothing_once_what_is_live_comes_near_the_limit) {
    cr_expect(eq(sz, idle_max(SIZE_MAX, 1000, 900), 0));
    cr_expect(eq(sz, idle_max(SIZE_MAX, 1000, 5000), 0));
    cr_expect(eq(sz, idle_max(SIZE_MAX, 0, 0), 0));
}

Test(retention, allows_a_64th_beyond_the_peak_and_more_where_little_is_needed) {
    cr_expect(eq(sz, retention_slack(0), 16 * MIB));
    cr_expect(eq(sz, retention_slack(32 * MIB), 12 * MIB));
    cr_expect(eq(sz, retention_slack(96 * MIB), 4 * MIB));
    cr_expect(eq(sz, retention_slack(128 * MIB), 2 * MIB));
    cr_expect(eq(sz, retention_slack(1 * GIB), 16 * MIB));
}

Test(retention, of_growing_memory_is_a_little_more_than_the_peak_less_what_is_live) {
    struct retention r = allowing(SIZE_MAX, SIZE_MAX);
    cr_expect(eq(sz, retention_idle_max_growing(&r, 0, 320 * MIB), 325 * MIB));
    cr_expect(eq(sz, retention_idle_max_growing(&r, 320 * MIB, 320 * MIB), 5 * MIB));
    cr_expect(eq(sz, retention_idle_max_growing(&r, 325 * MIB, 320 * MIB), 0));
    cr_expect(eq(sz, retention_idle_max_growing(&r, 1 * GIB, 320 * MIB), 0), "never below");
}

Test(retention, of_growing_memory_keeps_the_reserve) {
    struct retention r = allowing(SIZE_MAX, SIZE_MAX);
    r.reserve = 500 * MIB;
    cr_expect(eq(sz, retention_idle_max_growing(&r, 320 * MIB, 320 * MIB), 180 * MIB));
    cr_expect(eq(sz, retention_idle_max_growing(&r, 320 * MIB, 640 * MIB), 330 * MIB));
}

Test(retention, of_growing_memory_is_never_more_than_of_other) {
    struct retention r = allowing(100, 1000);
    r.reserve = 5000;
    cr_expect(eq(sz, retention_idle_max_growing(&r, 0, 9000), 100));
    cr_expect(eq(sz, retention_idle_max_growing(&r, 850, 9000), 50));
}

Test(retention, age_leaves_the_reserve_alone_as_far_as_it_is_not_live) {
    struct retention r = {.reserve = 500};
    cr_expect(eq(sz, retention_idle_min(&r, 0), 500));
    cr_expect(eq(sz, retention_idle_min(&r, 499), 1));
    cr_expect(eq(sz, retention_idle_min(&r, 500), 0));
    cr_expect(eq(sz, retention_idle_min(&r, 9000), 0));
}

Test(retention, takes_what_was_idle_for_longer_than_the_decay_time) {
    cr_expect(eq(u64, retention_cutoff_ms(10000, 10001), 1), "freed at 0 is before that");
    cr_expect(eq(u64, retention_cutoff_ms(10000, 10000), 0), "and here nothing is");
    cr_expect(eq(u64, retention_cutoff_ms(10000, 9999), 0));
    cr_expect(eq(u64, retention_cutoff_ms(0, 7), 7), "at once, but for this millisecond");
    cr_expect(eq(u64, retention_cutoff_ms(NEVER, 1000000), 0));
}

Test(retention, comes_again_when_the_oldest_is_due) {
    cr_expect(eq(u64, retention_due_ms(10000, 5), 10006));
    cr_expect(eq(u64, retention_due_ms(0, 5), 6));
    cr_expect(eq(u64, retention_due_ms(NEVER, 5), NEVER));
}

Test(retention, what_is_due_is_before_the_cutoff_of_that_moment_and_not_of_the_one_before) {
    uint64_t due = retention_due_ms(10000, 5);
    cr_expect(lt(u64, 5, retention_cutoff_ms(10000, due)));
    cr_expect(not(lt(u64, 5, retention_cutoff_ms(10000, due - 1))));
}

/* ---- when to look again ---- */

Test(retention, looks_again_when_a_block_is_due_or_a_shortage_may_have_come) {
    cr_expect(eq(u64, retention_next_ms(5500, 1000, 5000), 5500));
    cr_expect(eq(u64, retention_next_ms(7000, 1000, 5000), 6000));
    cr_expect(eq(u64, retention_next_ms(NEVER, 1000, 5000), 6000));
}

Test(retention, never_looks_again_at_once) {
    cr_expect(eq(u64, retention_next_ms(5001, 1000, 5000), 5100), "blocks that are due together");
    cr_expect(eq(u64, retention_next_ms(4000, 1000, 5000), 6000), "one that cannot be had");
    cr_expect(eq(u64, retention_next_ms(NEVER, 10, 5000), 5100));
}
