#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "pool/stats.h"

Test(stats, a_fresh_gauge_is_zero) {
    struct gauge g = {0};
    cr_expect(eq(sz, gauge_current(&g), 0));
    cr_expect(eq(sz, stats_read(&g.peak), 0));
}

Test(stats, a_gauge_holds_what_came_less_what_went) {
    struct gauge g = {0};
    gauge_add(&g, 100);
    gauge_sub(&g, 30);
    gauge_add(&g, 5);
    cr_expect(eq(sz, gauge_current(&g), 75));
    cr_expect(eq(sz, stats_read(&g.allocated), 105));
    cr_expect(eq(sz, stats_read(&g.freed), 30));
}

Test(stats, the_peak_is_the_highest_current_and_stays) {
    struct gauge g = {0};
    gauge_add(&g, 100);
    gauge_sub(&g, 60);
    gauge_add(&g, 50);
    cr_expect(eq(sz, stats_read(&g.peak), 100));
    gauge_add(&g, 11);
    cr_expect(eq(sz, stats_read(&g.peak), 101));
}

Test(stats, a_reader_that_sees_more_freed_than_allocated_is_told_zero) {
    struct gauge g = {0};
    gauge_add(&g, 10);
    gauge_sub(&g, 20);
    cr_expect(eq(sz, gauge_current(&g), 0));
}

Test(stats, adding_returns_the_sum) {
    _Atomic size_t counter = 40;
    cr_expect(eq(sz, stats_add(&counter, 2), 42));
    cr_expect(eq(sz, stats_read(&counter), 42));
}
