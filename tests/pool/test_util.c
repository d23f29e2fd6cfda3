#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "pool/util.h"

Test(util, rounds_up_to_the_next_multiple_and_keeps_multiples) {
    cr_expect(eq(sz, round_up(0, PAGE), 0));
    cr_expect(eq(sz, round_up(1, PAGE), 4096));
    cr_expect(eq(sz, round_up(4096, PAGE), 4096));
    cr_expect(eq(sz, round_up(4097, PAGE), 8192));
    cr_expect(eq(sz, round_up(SIZE_MAX, PAGE), 0), "wraps at the top");
}

Test(util, rounds_down_to_the_multiple_below) {
    cr_expect(eq(sz, round_down(0, PAGE), 0));
    cr_expect(eq(sz, round_down(4095, PAGE), 0));
    cr_expect(eq(sz, round_down(4096, PAGE), 4096));
    cr_expect(eq(sz, round_down(SIZE_MAX, PAGE), SIZE_MAX - 4095));
}

Test(util, knows_powers_of_two) {
    cr_expect(not(is_power_of_two(0)));
    cr_expect(is_power_of_two(1));
    cr_expect(is_power_of_two(64));
    cr_expect(not(is_power_of_two(65)));
    cr_expect(is_power_of_two((size_t)1 << 63));
}

Test(util, subtracts_down_to_zero_only) {
    cr_expect(eq(sz, size_minus(5, 3), 2));
    cr_expect(eq(sz, size_minus(3, 3), 0));
    cr_expect(eq(sz, size_minus(3, 5), 0));
}

Test(util, picks_the_smaller_and_the_larger) {
    cr_expect(eq(sz, size_min(1, 2), 1));
    cr_expect(eq(sz, size_min(2, 1), 1));
    cr_expect(eq(sz, size_max(1, 2), 2));
    cr_expect(eq(sz, size_max(2, 1), 2));
}
