#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "pool/clock.h"

static uint64_t exact_ms(void) {
    struct timespec now;
    cr_assert(eq(int, clock_gettime(CLOCK_MONOTONIC, &now), 0));
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

Test(clock, is_at_most_a_tick_behind_the_exact_one) {
    uint64_t before = exact_ms();
    uint64_t coarse = clock_coarse_ms();
    uint64_t after = exact_ms();
    cr_expect(le(u64, coarse, after));
    cr_expect(ge(u64, coarse + 10, before), "a tick is 10 ms at 100 Hz");
}

Test(clock, never_goes_back) {
    uint64_t last = clock_coarse_ms();
    for (int i = 0; i < 100000; i++) {
        uint64_t now = clock_coarse_ms();
        cr_assert(ge(u64, now, last));
        last = now;
    }
}
