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

/* ---- what was live lately ---- */

static struct recent recent;

/* The program has asked for so many MiB more; the most that was live meanwhile. Nothing is now. */
static size_t recent_peak_after(size_t asked_mib, size_t peak) {
    static size_t asked;
    asked += asked_mib * MIB;
    recent = recent_at(recent, (struct recent_look){.peak = peak, .asked = asked});
    return recent_peak(&recent);
}

Test(retention, a_peak_is_forgotten_after_two_windows_of_four_times_as_much) {
    cr_expect(eq(sz, recent_peak_after(100, 100 * MIB), 100 * MIB));
    cr_expect(eq(sz, recent_peak_after(300, 10 * MIB), 100 * MIB), "the first window ends");
    cr_expect(eq(sz, recent_peak_after(399, 10 * MIB), 100 * MIB));
    cr_expect(eq(sz, recent_peak_after(1, 10 * MIB), 10 * MIB), "and the second");
}

Test(retention, what_is_live_when_a_window_begins_counts_in_it) {
    recent = recent_at(recent,
                       (struct recent_look){.peak = 8 * MIB, .live = 6 * MIB, .asked = 32 * MIB});
    cr_expect(eq(sz, recent.previous, 8 * MIB));
    cr_expect(eq(sz, recent.current, 6 * MIB));
}

Test(retention, a_loop_whose_steps_are_longer_than_a_window_makes_windows_longer) {
    for (int step = 0; step < 4; step++) {
        (void)recent_peak_after(100, 100 * MIB);
        for (int i = 0; i < 19; i++) {
            (void)recent_peak_after(100, 50 * MIB);
        }
    }
    cr_expect(eq(uint, recent.doubled, 2), "16 times 100 MiB twice over are more than a step");
    (void)recent_peak_after(100, 100 * MIB);
    for (int i = 0; i < 19; i++) {
        cr_expect(eq(sz, recent_peak_after(100, 50 * MIB), 100 * MIB));
    }
}

Test(retention, a_peak_that_comes_back_a_little_higher_than_what_is_known_costs_little) {
    (void)recent_peak_after(400, 100 * MIB);
    (void)recent_peak_after(400, 90 * MIB);
    cr_assert(eq(sz, recent_peak_after(0, 90 * MIB), 90 * MIB));
    (void)recent_peak_after(10, 100 * MIB);
    cr_expect(eq(uint, recent.doubled, 0), "10 MiB of 360 asked for");
}

Test(retention, a_peak_higher_than_all_before_was_not_forgotten) {
    (void)recent_peak_after(10, 10 * MIB);
    (void)recent_peak_after(10, 1 * GIB);
    cr_expect(eq(uint, recent.doubled, 0));
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
