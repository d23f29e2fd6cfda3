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

/* ---- what was needed lately ---- */

/* In periods of 1000 ms from 5000 ms on, beside others that hold so much. */
static struct needed needed_beside(struct needed n, ptrdiff_t others, size_t live,
                                   uint64_t now_ms) {
    n.others = others;
    return needed_at(n, live, now_ms, 1000);
}

Test(retention, as_much_is_needed_as_was_live_at_most) {
    struct needed n = needed_beside((struct needed){0}, 0, 100, 5000);
    n = needed_beside(n, 0, 40, 5001);
    cr_expect(eq(sz, needed_bytes(&n), 100));
    n = needed_beside(n, 0, 120, 5002);
    cr_expect(eq(sz, needed_bytes(&n), 120));
}

Test(retention, as_others_grow_less_is_needed_until_it_is_live_again) {
    struct needed n = needed_beside((struct needed){0}, 50, 100, 5000);
    cr_expect(eq(sz, needed_bytes(&n), 100));
    n = needed_beside(n, 70, 40, 5001);
    cr_expect(eq(sz, needed_bytes(&n), 80), "150 in all");
    n = needed_beside(n, 70, 100, 5002);
    cr_expect(eq(sz, needed_bytes(&n), 100), "170 in all");
    n = needed_beside(n, 60, 0, 5003);
    cr_expect(eq(sz, needed_bytes(&n), 110));
    n = needed_beside(n, 500, 0, 5004);
    cr_expect(eq(sz, needed_bytes(&n), 0));
}

Test(retention, live_memory_that_was_not_touched_is_no_more_than_it_is) {
    struct needed n = needed_beside((struct needed){0}, -80, 100, 5000);
    cr_expect(eq(sz, needed_bytes(&n), 100));
    n = needed_beside(n, -80, 20, 5001);
    cr_expect(eq(sz, needed_bytes(&n), 100));
}

Test(retention, what_was_needed_is_forgotten_after_two_periods) {
    struct needed n = needed_beside((struct needed){0}, 0, 100, 5000);
    n = needed_beside(n, 0, 10, 6000);
    cr_expect(eq(sz, needed_bytes(&n), 100));
    n = needed_beside(n, 0, 20, 6999);
    cr_expect(eq(sz, needed_bytes(&n), 100));
    n = needed_beside(n, 0, 5, 7000);
    cr_expect(eq(sz, needed_bytes(&n), 20));
    n = needed_beside(n, 0, 3, 90000);
    cr_expect(eq(sz, needed_bytes(&n), 3), "and at once after longer ones");
}

Test(retention, what_was_needed_is_not_forgotten_where_nothing_ages) {
    struct needed n = needed_at((struct needed){0}, 100, 5000, NEVER);
    n = needed_at(n, 10, 900000, NEVER);
    cr_expect(eq(sz, needed_bytes(&n), 100));
}

Test(retention, what_is_expected_counts_until_the_period_ends) {
    struct needed n = {.expected = 300, .period_start_ms = 5000};
    n = needed_beside(n, 50, 100, 5500);
    cr_expect(eq(sz, needed_bytes(&n), 300));
    n = needed_beside(n, 50, 100, 6000);
    cr_expect(eq(sz, needed_bytes(&n), 100));
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

Test(retention, shares_are_right_for_all_pools_together_if_each_keeps_to_its_own) {
    struct retention all = {.cache_max = 100, .memory_limit = 1000, .decay_ms = 10};
    struct retention share = retention_share(&all, 4);
    cr_expect(eq(sz, retention_idle_max(&share, 0), 25));
    cr_expect(eq(sz, retention_idle_max(&share, 210), 15));
    cr_expect(eq(u64, share.decay_ms, 10));
    struct retention same = retention_share(&all, 1);
    cr_expect(eq(sz, retention_idle_max(&same, 850), retention_idle_max(&all, 850)));
}

Test(retention, a_tenth_of_the_limit_is_not_usable) {
    struct retention r = {.memory_limit = 1000};
    cr_expect(eq(sz, retention_usable(&r), 900));
}

Test(retention, demand_is_what_was_asked_for_in_this_period_or_the_last) {
    struct demand d = demand_at((struct demand){0}, 5000, 1000);
    d.current += 100;
    cr_expect(eq(sz, demand_bytes(demand_at(d, 5999, 1000)), 100));
    d = demand_at(d, 6000, 1000);
    cr_expect(eq(sz, demand_bytes(d), 100), "the period has just ended");
    d.current += 30;
    cr_expect(eq(sz, demand_bytes(demand_at(d, 6999, 1000)), 100));
    d = demand_at(d, 7000, 1000);
    cr_expect(eq(sz, demand_bytes(d), 30));
    cr_expect(eq(sz, demand_bytes(demand_at(d, 8000, 1000)), 0));
}

Test(retention, demand_is_over_after_a_whole_period_without_requests) {
    struct demand d = demand_at((struct demand){0}, 5000, 1000);
    d.current += 100;
    cr_expect(eq(sz, demand_bytes(demand_at(d, 7000, 1000)), 0));
    cr_expect(eq(sz, demand_bytes(demand_at(d, 900000, 1000)), 0));
}

Test(retention, demand_that_never_ages_stays) {
    struct demand d = demand_at((struct demand){0}, 5000, NEVER);
    d.current += 100;
    cr_expect(eq(sz, demand_bytes(demand_at(d, 900000, NEVER)), 100));
    cr_expect(eq(sz, demand_bytes(demand_at(d, 900000, 0)), 0), "and none stays where nothing may");
}
