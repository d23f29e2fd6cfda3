#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "pool/resize.h"
#include "pool/sample.h"
#include "tests/pool/fake_pool.h"
#include "tests/pool/memory.h"

TestSuite(sample, .init = start_without_memory);

static struct sample sample(void) {
    struct sample s;
    sample_take(&s, &pool);
    return s;
}

Test(sample, the_first_knows_the_peak_of_all_before) {
    release(fill(8 * MIB), 1);
    struct sample s = sample();
    cr_expect(eq(sz, s.live, 0));
    cr_expect(eq(sz, s.live_peak, 8 * MIB));
    cr_expect(eq(sz, s.reserved_peak, 8 * MIB));
    cr_expect(eq(sz, s.idle, 8 * MIB));
}

Test(sample, each_has_the_peak_since_the_one_before) {
    (void)sample();
    release(fill(8 * MIB), 1);
    struct block *b = acquire(8 * MIB);
    release(fill(4 * MIB), 1);
    release(b, 1);
    cr_expect(eq(sz, sample().live_peak, 12 * MIB));
    release(acquire(4 * MIB), 1);
    cr_expect(eq(sz, sample().live_peak, 4 * MIB));
    cr_expect(eq(sz, sample().live_peak, 0));
}

Test(sample, misses_no_peak_that_somebody_else_looked_at) {
    (void)sample();
    release(fill(8 * MIB), 1);
    stock_lock(&pool);
    cr_expect(eq(sz, stock_look(&pool, LOOK_OF_RETENTION).live, 8 * MIB));
    cr_expect(eq(sz, stock_look(&pool, LOOK_OF_RETENTION).live, 0));
    stock_unlock(&pool);
    cr_expect(eq(sz, sample().live_peak, 8 * MIB));
}

Test(sample, what_lives_on_counts_for_the_next) {
    struct block *b = fill(8 * MIB);
    (void)sample();
    release(b, 1);
    cr_expect(eq(sz, sample().live_peak, 8 * MIB));
}

Test(sample, memory_that_grows_in_place_counts) {
    struct block *b = fill(8 * MIB);
    cr_assert(resize_in_place(&pool, b, 4 * MIB));
    resize_shed(&pool, b, 1);
    (void)sample();
    cr_assert(resize_in_place(&pool, b, 8 * MIB));
    release(b, 1);
    cr_expect(eq(sz, sample().live_peak, 8 * MIB));
}

Test(sample, memory_made_resident_in_advance_is_reserved) {
    start_with_memory();
    (void)sample();
    cr_assert(pool_prefault(&pool, 4 * MIB, 1));
    struct sample s = sample();
    cr_expect(eq(sz, s.reserved_peak, 4 * MIB));
    cr_expect(eq(sz, s.live_peak, 0));
}

Test(sample, counts_requests_of_all_classes) {
    release(fill(8 * MIB), 1);
    release(acquire(8 * MIB), 1);
    release(fill(1 * MIB), 1);
    struct sample s = sample();
    cr_expect(eq(sz, s.hits, 1));
    cr_expect(eq(sz, s.misses, 2));
    cr_expect(eq(sz, s.missed, 9 * MIB));
    cr_expect(eq(sz, s.requested, 0));
}

/* Whatever happens: no peak falls between two samples. */
Test(sample, the_highest_of_all_is_the_peak_of_the_statistics) {
    struct block *live[8] = {NULL};
    uint32_t state = 1;
    size_t highest = 0;
    size_t highest_reserved = 0;
    for (int i = 0; i < 2000; i++) {
        state = state * 1664525 + 1013904223;
        struct block **b = &live[state >> 24 & 7];
        if (*b != NULL) {
            release(*b, (uint64_t)i);
            *b = NULL;
        } else {
            size_t bytes = (state >> 16 & 31) * MIB + 1 * MIB;
            *b = acquire(bytes);
            *b = *b != NULL ? *b : fill(bytes);
        }
        if ((state >> 8 & 15) == 0) {
            struct sample s = sample();
            highest = size_max(highest, s.live_peak);
            highest_reserved = size_max(highest_reserved, s.reserved_peak);
        }
    }
    struct sample s = sample();
    cr_expect(eq(sz, size_max(highest, s.live_peak), figure(&pool.own.stats.allocated_bytes.peak)));
    cr_expect(eq(sz, size_max(highest_reserved, s.reserved_peak),
                 figure(&pool.own.stats.reserved_bytes.peak)));
}

Test(sample, a_child_starts_with_what_it_inherits) {
    struct block *live = fill(8 * MIB);
    struct block *freed = fill(16 * MIB);
    (void)sample();
    release(freed, 1);
    pool_before_fork(&pool);
    pool_after_fork_in_child(&pool);
    pool_adopt(&pool, live);
    struct sample s = sample();
    cr_expect(eq(sz, s.live, 8 * MIB));
    cr_expect(eq(sz, s.live_peak, 8 * MIB));
}
